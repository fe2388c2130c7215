"""Files of weights: those that a run begins with, and those that are tested."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import timm
import torch
from torch import Tensor

from fgbench.datasets.dataset import DataSet
from fgbench.errors import FgbenchError, LeftOutNotice, OnProblem
from fgbench.models.checkpoints.file_kinds import kind_of
from fgbench.models.checkpoints.load import CLASS_WEIGHTS, ClassCountError, LoadReport, load_checkpoint
from fgbench.models.model import Model

READING = 2  # version of reading files: it grows where predictions from the same file change
SHOWN = 3  # number of weights that a message names
CHUNK = 2**20  # bytes


def load_initial_weights(
    model: Model, path: Path, dataset: DataSet, on_problem: OnProblem, **reading: str | None
) -> None:
    """Load the weights that a run begins with: a backbone's, or a whole model's.

    Args:
        model: The model; weights that the file lacks stay as they are, which is reported.
        path: The file.
        dataset: The data set, whose number of classes must be that of the file.
        on_problem: Receives a notice for everything that is not taken as it stands in the file.
        **reading: Options of :func:`fgbench.load_checkpoint`.

    Raises:
        FgbenchError: The file cannot be read, or is for another number of classes.
    """
    report = _load(model, path, dataset, on_problem, reading)
    if report.missing:
        on_problem(LeftOutNotice(f"{len(report.missing)} weights are not in {path} and begin anew: {_missing(report)}"))
    _report_changes(report, path, on_problem)


def load_weights_to_test(
    model: Model, path: Path, dataset: DataSet, on_problem: OnProblem, **reading: str | None
) -> LoadReport:
    """Load the weights of a model that is tested; the file must have all of them.

    Args:
        model: The model.
        path: The file.
        dataset: The data set, whose number of classes must be that of the file.
        on_problem: Receives a notice for everything that is not taken as it stands in the file.
        **reading: Options of :func:`fgbench.load_checkpoint`.

    Returns:
        The report of what was loaded.

    Raises:
        FgbenchError: The file is for another number of classes or of another model, lacks weights, so that random ones
            would be tested, or has weights that the model leaves out.
    """
    report = _load(model, path, dataset, on_problem, reading)
    lacking = (*report.missing, *report.started)
    if report.other_classes is not None and all(map(CLASS_WEIGHTS.search, lacking)):
        raise _class_count_error(path, report.other_classes, dataset)
    if lacking:
        others = [name for name in report.unread if not CLASS_WEIGHTS.search(name)]
        has = f"it has {_first(others)}, for which the model has no place; " if others else ""
        raise FgbenchError(
            f"{len(lacking)} weights of the model ({_missing(report)}) are not in",
            str(path),
            f"random ones would be tested; {has}is it a file of this model and backbone?",
        )
    if report.trained_as is not None and not report.backbone_only:
        raise FgbenchError(
            f"{path} holds the weights of a {report.trained_as}; the model to be tested is a", type(model).__name__
        )
    if report.unread:
        raise FgbenchError(
            f"{len(report.unread)} weights of {path} have no place in the model ({_first(report.unread)}); without "
            "them another network would be tested than was trained:",
            type(model).__name__,
            "name the model and the backbone that the file was trained with",
        )
    _report_changes(report, path, on_problem)
    if report.backbone_only:
        _report_normalisation(model, dataset, on_problem)
    return report


def _report_changes(report: LoadReport, path: Path, on_problem: OnProblem) -> None:
    """Report everything that is not taken as it stands in the file."""
    if report.grids is not None:
        given, wanted = report.grids
        sizes = f"{given}×{given} patches, the model {wanted}×{wanted}"
        how = f"resized by {report.interpolation} interpolation"
        on_problem(LeftOutNotice(f"{path} has positions for {sizes} (another image size or overlap); they were {how}"))
    if report.trained_as is not None:
        on_problem(LeftOutNotice(f"{path} holds the weights of a {report.trained_as}, and the model adds to it"))
    for words in (*report.variants, *report.differences):
        on_problem(LeftOutNotice(f"{path}: {words}"))


def _report_normalisation(model: Model, dataset: DataSet, on_problem: OnProblem) -> None:
    """Report that images are normalised in another way than in the training of timm's weights."""
    part = getattr(model, "encoder", None) or getattr(model, "pyramid", None)
    name = getattr(part, "name", None) or model.default_backbone
    cfg = timm.get_pretrained_cfg(name) if timm.is_model(name) else None
    if cfg is None or (_close(cfg.mean, dataset.mean) and _close(cfg.std, dataset.std)):
        return
    on_problem(
        LeftOutNotice(
            f"images are normalised by mean {_colours(dataset.mean)} and deviation {_colours(dataset.std)}; timm's own "
            f"weights of {name} were trained with {_colours(cfg.mean)} and {_colours(cfg.std)}. Where the data set has "
            "the option, --dataset-options norm=half or norm=imagenet changes it"
        )
    )


def _close(one: Sequence[float], other: Sequence[float]) -> bool:
    return all(abs(a - b) < 0.002 for a, b in zip(one, other, strict=True))


def _colours(values: Sequence[float]) -> str:
    return ", ".join(f"{value:g}" for value in values)


def _load(
    model: Model, path: Path, dataset: DataSet, on_problem: OnProblem, reading: Mapping[str, str | None]
) -> LoadReport:
    try:
        report = load_checkpoint(model, path, **reading)  # type: ignore[arg-type]  # its names, none of them a flag
    except ClassCountError as error:
        raise _class_count_error(path, error.given, dataset) from error
    for note in report.notes:
        on_problem(LeftOutNotice(f"{path}: {note}"))
    return report


def _class_count_error(path: Path, given: int, dataset: DataSet) -> FgbenchError:
    return FgbenchError(
        f"{path} was trained for {given} classes; data set {dataset.name!r} has",
        dataset.num_classes,
        "choose the data set that it was trained on",
    )


def _missing(report: LoadReport) -> str:
    return _first([*report.missing, *report.started])


def _first(names: Sequence[str]) -> str:
    return ", ".join(names[:SHOWN]) + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")


def built_digest(build: Callable[[], Model]) -> str:
    """SHA-256 of the structure and the weights of a network that a function builds, its first 16 digits.

    Weights that torch's seed changes begin anew in every run and are left out; the others come from a file.

    Args:
        build: Builds the model, its weights drawn from torch's generator.
    """
    (model, weights), (_, others) = (_built_with(build, seed) for seed in (0, 1))
    digest = hashlib.sha256(model.built_structure.encode())
    for name, content in weights.items():
        if content == others.get(name):
            digest.update(name.encode() + content)
    return digest.hexdigest()[:16]


def _built_with(build: Callable[[], Model], seed: int) -> tuple[Model, dict[str, bytes]]:
    with torch.random.fork_rng([]):
        torch.default_generator.manual_seed(seed)
        model = build()
    return model, {name: _bytes(tensor) for name, tensor in model.state_dict().items() if isinstance(tensor, Tensor)}


def _bytes(tensor: Tensor) -> bytes:
    return tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()


def file_digest(path: Path) -> str:
    """SHA-256 of a file of weights, its first 16 digits.

    Raises:
        FgbenchError: The file is not there, cannot be read, or is no file of weights.
    """
    kind_of(path)
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while chunk := file.read(CHUNK):
                digest.update(chunk)
    except OSError as error:
        raise FgbenchError("cannot read the checkpoint", str(path), error.strerror or str(error)) from error
    return digest.hexdigest()[:16]
