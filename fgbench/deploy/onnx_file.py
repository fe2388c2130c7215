"""The ONNX file that people deploy: a model with its labels and its preprocessing, checked against torch."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fgbench
from fgbench.deploy.onnx_export import Exported, ExportError, export_onnx
from fgbench.deploy.packages import why_missing
from fgbench.deploy.pictures import drawn_pictures
from fgbench.errors import FgbenchError
from fgbench.models.model import Model
from fgbench.results.recipe import resized_side

Colours = Sequence[float]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFile:
    """A file that was written."""

    exported: Exported
    largest_difference: float | None  # of logits in ONNX Runtime from torch's; None: it is not installed
    labels: int  # how many


def write_model(model: Model, path: Path, metadata: Mapping[str, str]) -> ModelFile:
    """Write a model as an ONNX file, whole or not at all.

    Args:
        model: In evaluation mode, on the CPU, with square images.
        path: The file; one that is there is replaced.
        metadata: As :func:`metadata_of` makes it.

    Returns:
        What was written.

    Raises:
        ExportError: If it cannot be exported, or the file computes something else.
        FgbenchError: If a package is not installed, or the file cannot be written.

    """
    side = int(model.image_size)  # type: ignore[arg-type]
    pictures = drawn_pictures(4, side, side)
    with tempfile.TemporaryDirectory(dir=_folder(path), prefix=".fgbench-") as folder:
        draft = Path(folder) / path.name
        exported = export_onnx(model, pictures[:2], draft, metadata)
        difference = None if why_missing("onnx", ["onnxruntime"]) else _difference(model, draft, pictures)
        for file in draft.parent.iterdir():  # weights beyond 2 GB lie in a second file
            file.replace(path.with_name(file.name))
    return ModelFile(exported=exported, largest_difference=difference, labels=len(json.loads(metadata["labels"])))


def metadata_of(
    model: Model, name: str, backbone: str, mean: Colours, std: Colours, labels: Sequence[str], weights: str
) -> dict[str, str]:
    """The metadata of an exported model, values as text: JSON where they are more than a word.

    Args:
        model: The model.
        name: As it is typed.
        backbone: timm's name.
        mean: Of red, green and blue, which is subtracted.
        std: Deviation, which is divided by.
        labels: Names of the classes in the order of the logits; none where they are not known.
        weights: Where they come from, in words.

    """
    side = int(model.image_size)  # type: ignore[arg-type]
    resized = resized_side(side)
    preprocessing = {
        "colours": "RGB",
        "layout": "NCHW",
        "resize": [resized, resized],
        "interpolation": "bicubic",
        "centre_crop": [side, side],
        "scale": 1 / 255,
        "mean": [float(value) for value in mean],
        "std": [float(value) for value in std],
    }
    about = {"model": name, "backbone": backbone, "selector": model.selector_name or "", "impl": model.impl}
    return {
        **about,
        "options": json.dumps(model.options, default=str),
        "weights": weights,
        "preprocessing": json.dumps(preprocessing),
        "labels": json.dumps(list(labels)),
        "fgbench": fgbench.__version__,
    }


def read_labels(path: Path, classes: int) -> list[str]:
    """Read the names of classes, one a line.

    Args:
        path: The file.
        classes: How many there must be.

    Raises:
        FgbenchError: If the file cannot be read, or does not have as many lines.

    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise FgbenchError(f"labels cannot be read: {error}") from error
    labels = [line.strip() for line in lines if line.strip()]
    if len(labels) != classes:
        raise FgbenchError(f"{path} has {len(labels)} labels, and the model has this number of classes:", classes)
    return labels


def digest(path: Path) -> str:
    """The SHA-256 of a file."""
    sha = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(2**20):
            sha.update(block)
    return sha.hexdigest()


def _difference(model: Model, path: Path, pictures: Any) -> float:
    """The largest difference of logits. Raises :class:`ExportError` where the file computes something else."""
    import numpy as np
    import onnxruntime
    import torch

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    (logits,) = session.run(["logits"], {"images": pictures.numpy()})
    with torch.inference_mode():
        wanted = model(pictures).numpy()
    difference = float(np.abs(logits - wanted).max())
    if not difference <= 1e-3 * max(1.0, float(np.abs(wanted).max())):
        raise ExportError("the exported file computes something else; logits differ by", difference)
    return difference


def _folder(path: Path) -> Path:
    folder = path.absolute().parent
    if not folder.is_dir():
        raise FgbenchError("there is no folder", str(path.parent), "make it first")
    return folder
