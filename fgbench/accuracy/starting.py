"""Weights that a run begins from, or that are tested."""

from __future__ import annotations

import hashlib
from pathlib import Path

from fgbench.accuracy.datasets.dataset import DataSet
from fgbench.errors import FgbenchError, LeftOutNotice, Report
from fgbench.models.checkpoints.load import ClassCountError, LoadReport, load_checkpoint
from fgbench.models.model import Model

SHOWN = 3
CHUNK = 2**20  # bytes


def load_to_begin(model: Model, path: Path, dataset: DataSet, report: Report) -> None:
    """Begin from a file: a backbone's weights, or a whole model's for as many classes as the data set has."""
    found = _load(model, path, dataset)
    if found.missing:
        report(LeftOutNotice(f"{len(found.missing)} weights are not in {path} and begin anew: {_some(found)}"))


def load_for_test(model: Model, path: Path, dataset: DataSet, report: Report) -> None:
    """Load all that a model is tested with.

    Raises :class:`FgbenchError` where the file was trained for another number of classes, or lacks weights: random ones
    would be tested.
    """
    found = _load(model, path, dataset)
    if found.missing or found.started:
        raise FgbenchError(
            f"{len(found.missing) + len(found.started)} weights of the model ({_some(found)}) are not in",
            str(path),
            "random ones would be tested; is it a file of this model?",
        )
    if found.resized:
        report(LeftOutNotice(f"the position embeddings of {path} are those of another image size, and were resized"))


def _load(model: Model, path: Path, dataset: DataSet) -> LoadReport:
    try:
        return load_checkpoint(model, path)
    except ClassCountError as error:
        raise FgbenchError(
            f"{path} was trained for {error.given} classes; data set {dataset.name!r} has",
            dataset.num_classes,
            "choose the data set that it was trained on",
        ) from error


def _some(found: LoadReport) -> str:
    names = [*found.missing, *found.started]
    return ", ".join(names[:SHOWN]) + (", …" if len(names) > SHOWN else "")


def file_digest(path: Path) -> str:
    """What a file holds, in 16 digits."""
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while chunk := file.read(CHUNK):
                digest.update(chunk)
    except OSError as error:
        raise FgbenchError("cannot read the checkpoint", str(path), error.strerror or str(error)) from error
    return digest.hexdigest()[:16]
