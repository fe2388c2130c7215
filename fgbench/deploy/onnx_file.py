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
from fgbench.deploy.agreement import judge
from fgbench.deploy.onnx_export import INPUT, Exported, ExportError, data_of, export_onnx
from fgbench.deploy.pictures import drawn_pictures
from fgbench.errors import FgbenchError
from fgbench.models.model import Model
from fgbench.models.outputs import Outputs, to_arrays
from fgbench.packages import why_missing
from fgbench.results.recipe import resized_side

PICTURES = 4  # that the file is compared with torch on
Colours = Sequence[float]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFile:
    """A file that was written."""

    exported: Exported
    agreement: Mapping[str, Any] | None  # with torch in float32, in ONNX Runtime; None: it is not installed
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
    pictures = drawn_pictures(PICTURES, side, side)
    with tempfile.TemporaryDirectory(dir=_folder(path), prefix=".fgbench-") as folder:
        draft = Path(folder) / path.name
        exported = export_onnx(model, pictures[:2], draft, metadata)
        agreement = None if why_missing("onnx", ["onnxruntime"]) else _agreement(model, draft, pictures)
        data = data_of(draft)  # weights beyond 2 GB; the model comes after them
        for file in (*data, draft):
            file.replace(path.with_name(file.name))
        for file in data_of(path):
            if file.name not in {one.name for one in data}:  # of the file that was there
                file.unlink()
    return ModelFile(exported=exported, agreement=agreement, labels=len(json.loads(metadata["labels"])))


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
        why = getattr(error, "strerror", None) or "it is no UTF-8 text"
        raise FgbenchError(
            "cannot read the labels in", str(path), f"{why}; give a text file with a label per line"
        ) from error
    labels = [line.strip() for line in lines if line.strip()]
    if len(labels) != classes:
        do = f"give --num-classes {len(labels)}, or as many labels"
        raise FgbenchError(f"{path} has {len(labels)} labels, and the model has this number of classes:", classes, do)
    return labels


def digest(path: Path) -> str:
    """The SHA-256 of a file."""
    sha = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(2**20):
            sha.update(block)
    return sha.hexdigest()


def _agreement(model: Model, path: Path, pictures: Any) -> dict[str, Any]:
    """The agreement of a file with torch. Raises :class:`ExportError` where it computes something else."""
    import onnxruntime
    import torch

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    found = dict(zip(names, session.run(names, {INPUT: pictures.numpy()}), strict=True))
    with torch.inference_mode():
        wanted = to_arrays(Outputs(model)(pictures))
    agreement, wrong = judge(found, wanted, "float32")
    if wrong:
        raise ExportError(f"the exported file computes something else: {wrong.partition(': ')[2]}")
    return agreement


def _folder(path: Path) -> Path:
    folder = path.absolute().parent
    if not folder.is_dir():
        raise FgbenchError("there is no folder", str(path.parent), "make it first")
    return folder
