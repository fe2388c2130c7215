"""Weights that a run begins from, or that are tested."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import timm

from fgbench.datasets.dataset import DataSet
from fgbench.errors import FgbenchError, LeftOutNotice, OnProblem
from fgbench.models.checkpoints.load import CLASS_WEIGHTS, ClassCountError, LoadReport, load_checkpoint
from fgbench.models.checkpoints.sniff import kind_of
from fgbench.models.model import Model

READING = 2  # how weights become predictions; it grows where a file that was read before gives other ones
SHOWN = 3
CHUNK = 2**20  # bytes


def load_to_begin(model: Model, path: Path, dataset: DataSet, on_problem: OnProblem, **reading: str | None) -> None:
    """Begin from a file: a backbone's weights, or a whole model's for as many classes as the data set has.

    ``reading`` is how the file is read, as :func:`fgbench.load_checkpoint` takes it.
    """
    found = _load(model, path, dataset, on_problem, reading)
    if found.missing:
        on_problem(LeftOutNotice(f"{len(found.missing)} weights are not in {path} and begin anew: {_some(found)}"))
    _tell(found, path, on_problem)


def load_for_test(
    model: Model, path: Path, dataset: DataSet, on_problem: OnProblem, **reading: str | None
) -> LoadReport:
    """Load all that a model is tested with; ``reading`` is how, as :func:`fgbench.load_checkpoint` takes it.

    Raises :class:`FgbenchError` where the file was trained for another number of classes or is of another model, lacks
    weights, so that random ones would be tested, or has some that the model leaves out.
    """
    found = _load(model, path, dataset, on_problem, reading)
    lacking = (*found.missing, *found.started)
    if found.other_classes is not None and all(map(CLASS_WEIGHTS.search, lacking)):
        raise _of_other_classes(path, found.other_classes, dataset)
    if lacking:
        others = [name for name in found.unread if not CLASS_WEIGHTS.search(name)]
        has = f"it has {_shown(others)}, for which the model has no place; " if others else ""
        raise FgbenchError(
            f"{len(lacking)} weights of the model ({_some(found)}) are not in",
            str(path),
            f"random ones would be tested; {has}is it a file of this model and backbone?",
        )
    if found.trained_as is not None and not found.backbone_only:
        raise FgbenchError(
            f"{path} holds the weights of a {found.trained_as}; the model to be tested is a", type(model).__name__
        )
    if found.unread:
        raise FgbenchError(
            f"{len(found.unread)} weights of {path} have no place in the model ({_shown(found.unread)}); without them "
            "another network would be tested than was trained:",
            type(model).__name__,
            "name the model and the backbone that the file was trained with",
        )
    _tell(found, path, on_problem)
    if found.backbone_only:
        _tell_colours(model, dataset, on_problem)
    return found


def _tell(found: LoadReport, path: Path, on_problem: OnProblem) -> None:
    """Report what of a file was not taken as it stands."""
    if found.grids is not None:
        given, wanted = found.grids
        sizes = f"{given}×{given} patches, the model {wanted}×{wanted}"
        how = f"resized by {found.interpolation} interpolation"
        on_problem(LeftOutNotice(f"{path} has positions for {sizes} (another image size or overlap); they were {how}"))
    if found.trained_as is not None:
        on_problem(LeftOutNotice(f"{path} holds the weights of a {found.trained_as}, and the model adds to it"))
    for words in (*found.variants, *found.differences):
        on_problem(LeftOutNotice(f"{path}: {words}"))


def _tell_colours(model: Model, dataset: DataSet, on_problem: OnProblem) -> None:
    """Report images that are normalised otherwise than those on which timm's own weights were trained."""
    name = getattr(getattr(model, "encoder", None), "name", None) or model.default_backbone
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
        found = load_checkpoint(model, path, **reading)  # type: ignore[arg-type]  # its names, none of them a flag
    except ClassCountError as error:
        raise _of_other_classes(path, error.given, dataset) from error
    for note in found.notes:
        on_problem(LeftOutNotice(f"{path}: {note}"))
    return found


def _of_other_classes(path: Path, given: int, dataset: DataSet) -> FgbenchError:
    return FgbenchError(
        f"{path} was trained for {given} classes; data set {dataset.name!r} has",
        dataset.num_classes,
        "choose the data set that it was trained on",
    )


def _some(found: LoadReport) -> str:
    return _shown([*found.missing, *found.started])


def _shown(names: Sequence[str]) -> str:
    return ", ".join(names[:SHOWN]) + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")


def file_digest(path: Path) -> str:
    """What a file of weights holds, in 16 digits; one that is none is refused before it is read."""
    kind_of(path)
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while chunk := file.read(CHUNK):
                digest.update(chunk)
    except OSError as error:
        raise FgbenchError("cannot read the checkpoint", str(path), error.strerror or str(error)) from error
    return digest.hexdigest()[:16]
