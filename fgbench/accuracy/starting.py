"""Weights that a run begins from, or that are tested."""

from __future__ import annotations

import hashlib
from pathlib import Path

from fgbench.accuracy.datasets.dataset import DataSet
from fgbench.errors import FgbenchError, LeftOutNotice, Report
from fgbench.models.checkpoints.load import ClassCountError, LoadReport, load_checkpoint
from fgbench.models.checkpoints.sniff import kind_of
from fgbench.models.model import Model

SHOWN = 3
CHUNK = 2**20  # bytes


def load_to_begin(model: Model, path: Path, dataset: DataSet, report: Report, weights: str | None = None) -> None:
    """Begin from a file: a backbone's weights, or a whole model's for as many classes as the data set has.

    ``weights`` chooses one of several sets in the file, as :func:`fgbench.load_checkpoint` does.
    """
    found = _load(model, path, dataset, report, weights)
    if found.missing:
        report(LeftOutNotice(f"{len(found.missing)} weights are not in {path} and begin at random: {_some(found)}"))


def load_for_test(model: Model, path: Path, dataset: DataSet, report: Report, weights: str | None = None) -> LoadReport:
    """Load all that a model is tested with; ``weights`` chooses one of several sets in the file.

    Raises :class:`FgbenchError` where the file was trained for another number of classes, or lacks weights: random ones
    would be tested.
    """
    found = _load(model, path, dataset, report, weights)
    if found.missing or found.started:
        raise FgbenchError(
            f"{len(found.missing) + len(found.started)} weights of the model ({_some(found)}) are not in",
            str(path),
            "random ones would be tested; is it a file of this model?",
        )
    if found.resized:
        report(LeftOutNotice(f"the position embeddings of {path} are those of another image size, and were resized"))
    return found


def _load(model: Model, path: Path, dataset: DataSet, report: Report, weights: str | None) -> LoadReport:
    try:
        found = load_checkpoint(model, path, weights=weights)
    except ClassCountError as error:
        raise FgbenchError(
            f"{path} was trained for {error.given} classes; data set {dataset.name!r} has",
            dataset.num_classes,
            "choose the data set that it was trained on",
        ) from error
    for note in found.notes:
        report(LeftOutNotice(f"{path}: {note}"))
    return found


def _some(found: LoadReport) -> str:
    names = [*found.missing, *found.started]
    return ", ".join(names[:SHOWN]) + (", …" if len(names) > SHOWN else "")


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
