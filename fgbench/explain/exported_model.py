"""A model with its weights, labels and preprocessing, written as an ONNX file."""

from __future__ import annotations

from dataclasses import replace

import torch

from fgbench.deploy.onnx_file import ModelFile, digest, metadata_of, read_labels, write_model
from fgbench.deploy.pictures import drawn_pictures
from fgbench.deploy.request import ExportModelRequest
from fgbench.errors import FgbenchError, LeftOutNotice, OnProblem
from fgbench.explain.loaded_model import guarded, load_model
from fgbench.models.build import model_class, model_options
from fgbench.models.checkpoints.file_kinds import SAFETENSORS, kind_of
from fgbench.models.checkpoints.files import read_metadata
from fgbench.models.model import Model
from fgbench.models.outputs import Outputs
from fgbench.packages import need
from fgbench.plugins.files import add_plugin_files
from fgbench.results.reading import parse_json
from fgbench.results.reduced_name import is_function

ASSUMED = "preprocessing_note"  # the key of the metadata that says which part of the preprocessing is not known


def export_to_file(request: ExportModelRequest, on_problem: OnProblem) -> ModelFile:
    """Load a model and write its file.

    Args:
        request: The model and the file.
        on_problem: Receives notes on the weights.

    Raises:
        FgbenchError: If the model cannot be built, loaded or exported.

    """
    need("onnx", "onnx", "onnxscript")
    add_plugin_files(request.plugins, on_problem)
    if request.selector is not None:
        if "selector" not in model_options(model_class(request.subject)):
            raise FgbenchError("this model has no selector:", request.subject, "leave --selectors out")
        request = replace(request, model_options={**request.model_options, "selector": request.selector})
    place = torch.device("cpu")
    loaded = load_model(request, request.subject, request.backbone, place, on_problem, request.num_classes)
    with guarded(request.subject):
        classes = _num_logits(loaded.model)
    weights = loaded.weights
    if request.checkpoint is not None:
        weights += f", sha256 {digest(request.checkpoint)}"
    labels = _labels(request, classes)
    about = loaded.model, request.subject, loaded.backbone, loaded.mean, loaded.std
    assumed = _assumed(request)
    metadata = metadata_of(*about, labels, weights) | ({ASSUMED: assumed} if assumed else {})
    written = write_model(loaded.model, request.path, metadata)
    if assumed:
        on_problem(LeftOutNotice(f"{assumed}; the file's metadata say so under {ASSUMED!r}"))
    return written


def _assumed(request: ExportModelRequest) -> str:
    """Which part of the preprocessing nothing tells, in words: a function does not say how images become its input."""
    file = request.checkpoint
    is_told = file is not None and kind_of(file) == SAFETENSORS and "dataset" in read_metadata(file)
    if is_told or not is_function(request.subject):
        return ""
    colours = "mean and deviation of ImageNet (--norm changes them), " if request.norm is None else ""
    return f"the preprocessing is a default, as a function does not say its own: {colours}resize and crop as fgbench's"


def _num_logits(model: Model) -> int:
    """How many logits a model gives for an image: a network need not have the classes that were asked for."""
    side = int(model.image_size)  # type: ignore[arg-type]
    with torch.inference_mode():
        outputs: dict[str, torch.Tensor] = Outputs(model)(drawn_pictures(2, side, side))
    return outputs["logits"].shape[1]


def _labels(request: ExportModelRequest, classes: int) -> list[str]:
    """The names of the classes: of the file that was given, or of the checkpoint."""
    if request.labels is not None:
        return read_labels(request.labels, classes)
    if request.checkpoint is None or kind_of(request.checkpoint) != SAFETENSORS:
        return []
    try:
        labels = parse_json(read_metadata(request.checkpoint).get("class_names", "[]"))
    except ValueError:  # of somebody else
        return []
    is_list = isinstance(labels, list) and all(isinstance(label, str) for label in labels)
    return labels if is_list and len(labels) == classes else []
