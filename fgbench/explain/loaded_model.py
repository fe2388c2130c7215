"""A model with its weights, ready to be applied to pictures, and notes on these weights."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

import timm
import torch

from fgbench.datasets.dataset import HALF, IMAGENET_MEAN, IMAGENET_STD
from fgbench.errors import BrokenPluginError, FgbenchError, LeftOutNotice, OnProblem, UnknownNameError
from fgbench.explain.request import VisualizeRequest
from fgbench.models.build import create_model, model_class
from fgbench.models.checkpoints.file_kinds import SAFETENSORS, kind_of
from fgbench.models.checkpoints.files import read_metadata
from fgbench.models.checkpoints.load import ClassCountError, LoadReport, load_checkpoint
from fgbench.models.model import Model
from fgbench.models.vision_transformer import VisionTransformerModel
from fgbench.plugins.kinds import models
from fgbench.results.reduced_name import is_function
from fgbench.results.shipped import FAMILIES, IMAGE_SIZE, SHIPPED, is_shipped

CLASSES = 200
SHOWN = 3  # number of weights that a note names
BACKBONE_FORMATS = ("timm ", "Google")  # files of these formats hold a backbone alone
NORMALISED_BY_HALF = ("synthetic", "dafb", "moe")  # data sets

Colours = tuple[float, float, float]


class WeightsRequest(Protocol):
    """What a request says of a model and its weights."""

    @property
    def image_size(self) -> int | None: ...  # noqa: D102
    @property
    def impl(self) -> str: ...  # noqa: D102
    @property
    def model_options(self) -> Mapping[str, Any]: ...  # noqa: D102
    @property
    def pretrained(self) -> bool: ...  # noqa: D102
    @property
    def begins_shipped(self) -> bool: ...  # noqa: D102
    @property
    def checkpoint(self) -> Path | None: ...  # noqa: D102
    @property
    def reading(self) -> Mapping[str, str | None]: ...  # noqa: D102
    @property
    def seed(self) -> int: ...  # noqa: D102
    @property
    def norm(self) -> str | None: ...  # noqa: D102


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedModel:
    """A model with its weights."""

    model: Model  # in eval mode, on its device
    name: str
    backbone: str  # timm's name
    weights: str  # in words, for a caption
    is_random: bool  # no weight was learned
    predicts: bool  # every weight that a prediction rests on was learned
    mean: Colours  # red, green and blue; pictures are normalised by mean and std
    std: Colours
    notes: Sequence[str] = field(default=())  # on the weights, for a caption

    @property
    def selects(self) -> bool:
        """Whether the model may have a selection of its own, see :func:`selects`."""
        return selects(self.model)


def models_that_fit(request: VisualizeRequest, on_problem: OnProblem) -> list[tuple[str, str | None]]:
    """Pairs of a model and a backbone that fit; every pair is built without weights first.

    A pair that does not fit is reported and left out if its model fits another backbone and its backbone another
    model: ``--model glsim cal --backbones vit_base_patch16_224 resnet101`` is two models. A model of a broken plug-in
    is reported and left out.

    Args:
        request: Models, backbones and options.
        on_problem: Receives a problem for every pair that is left out.

    Raises:
        UnknownNameError: A name is not known.
        FgbenchError: A model or a backbone fits no other one, or one checkpoint is given for several models.
        BrokenPluginError: All models are of broken plug-ins.
    """
    fit, misfits = [], []
    broken: dict[str, BrokenPluginError] = {}
    for pair in _pairs(request):
        try:
            with torch.device("meta"):
                _build(request, *pair, CLASSES, pretrained=False)
        except UnknownNameError:
            raise
        except BrokenPluginError as error:
            broken[pair[0]] = error
        except FgbenchError as error:
            misfits.append((pair, error))
        else:
            fit.append(pair)
    if broken and not (fit or misfits):
        raise next(iter(broken.values()))
    for problem in broken.values():
        on_problem(problem)
    for (name, backbone), why in misfits:
        if name not in {pair[0] for pair in fit} or backbone not in {pair[1] for pair in fit}:
            raise why
        on_problem(LeftOutNotice(f"left out: {name} on {backbone}: {why}"))
    if request.checkpoint is not None and len(fit) > 1:
        raise FgbenchError(
            f"one checkpoint cannot be that of {len(fit)} models:",
            str(request.checkpoint),
            "name one model and backbone",
        )
    return fit


def sized(request: VisualizeRequest) -> VisualizeRequest:
    """The request with an image size: that of the shipped backbone where it is the only one."""
    if request.image_size is not None:
        return request
    only_shipped = all(is_shipped(backbone) for _, backbone in _pairs(request))
    return replace(request, image_size=IMAGE_SIZE if only_shipped else request.side)


def _pairs(request: VisualizeRequest) -> list[tuple[str, str | None]]:
    """Pairs of a model and a backbone; the shipped one where neither a backbone nor weights were named."""
    default = SHIPPED if request.begins_shipped and not request.pretrained else None
    return [
        (name, default if default and backbone is None and _takes_shipped(name) else backbone)
        for name, backbone in itertools.product(request.models, request.backbones)
    ]


def _takes_shipped(name: str) -> bool:
    """Whether a model is built on any plain vision transformer."""
    try:
        return issubclass(model_class(name), VisionTransformerModel)
    except BrokenPluginError:  # reported where the model is built
        return False


def load_model(
    request: WeightsRequest,
    name: str,
    backbone: str | None,
    device: torch.device,
    on_problem: OnProblem,
    classes: int = CLASSES,
) -> LoadedModel:
    """Build a model and load the weights that were asked for.

    Weights that the checkpoint lacks are drawn from the seed.

    Args:
        request: Image size, checkpoint and other options.
        name: Name of the model.
        backbone: timm's name; None for the model's default.
        device: The device that the model is moved to.
        on_problem: Receives a notice that says which of several sets of weights in the file is read.
        classes: Of the head, where no checkpoint says how many there are.

    Raises:
        CannotMeasureError: Pretrained weights cannot be downloaded.
        FgbenchError: The checkpoint does not fit the model.
    """
    begins_shipped = request.begins_shipped and is_shipped(backbone)
    pretrained = request.pretrained or begins_shipped
    model = _build(request, name, backbone, FAMILIES if begins_shipped else classes, pretrained=pretrained)
    backbone_name = _backbone_name(model, backbone)
    if request.checkpoint is None:
        weights, notes, predicts = f"random, seed {request.seed}", [], False
        if pretrained:
            whose = "shipped, of a drawn world:" if begins_shipped else "timm's"
            weights = f"{whose} {_full_name(backbone_name)}"
            if selects(model):
                of = "the shipped" if begins_shipped else "timm's"
                notes = [f"{of} weights are the backbone's alone; what else the model has is random"]
        norm = _timm_norm(backbone_name) if pretrained else None
        if is_function(name):
            weights = f"those that {name} returns"
    else:
        model, report = _load(request, model, name, backbone)
        metadata = read_metadata(request.checkpoint) if kind_of(request.checkpoint) == SAFETENSORS else {}
        weights, predicts = request.checkpoint.name, report.complete
        weights += "" if report.weights is None else f" ({report.weights})"
        notes = _notes_on(report)
        for note in report.notes:
            on_problem(LeftOutNotice(f"{request.checkpoint}: {note}"))
        norm = _timm_norm(backbone_name) if report.format.startswith(BACKBONE_FORMATS) else None
        norm = (HALF, HALF) if metadata.get("dataset") in NORMALISED_BY_HALF else norm
    if request.norm is not None:
        norm = (HALF, HALF) if request.norm == "half" else None
    mean, std = norm or (IMAGENET_MEAN, IMAGENET_STD)
    return LoadedModel(
        model=model.eval().to(device),
        name=name,
        backbone=backbone_name,
        weights=weights,
        is_random=not (pretrained or is_function(name)) and request.checkpoint is None,
        predicts=predicts,
        mean=mean,
        std=std,
        notes=notes,
    )


def selects(model: Model) -> bool:
    """Whether a model may have a selection of its own: not a vision transformer without a selector and scores."""
    return model.selector is not None or not isinstance(model, VisionTransformerModel) or bool(model.score_shape)


def guarded(name: str) -> AbstractContextManager[None]:
    """A context in which an error of a plug-in's model becomes a :class:`BrokenPluginError` with its name."""
    return models.blame(name, FgbenchError)


def _build(request: WeightsRequest, name: str, backbone: str | None, classes: int, *, pretrained: bool) -> Model:
    options: dict[str, Any] = {"img_size": request.image_size, "num_classes": classes, "impl": request.impl}
    options |= {"pretrained": pretrained, **request.model_options}
    torch.manual_seed(request.seed)
    return create_model(name, backbone, **options)


def _load(request: WeightsRequest, model: Model, name: str, backbone: str | None) -> tuple[Model, LoadReport]:
    assert request.checkpoint is not None
    try:
        return model, load_checkpoint(model, request.checkpoint, **request.reading)  # type: ignore[arg-type]
    except ClassCountError as error:  # the file says how many classes there are
        model = _build(request, name, backbone, error.given, pretrained=False)
    return model, load_checkpoint(model, request.checkpoint, **request.reading)  # type: ignore[arg-type]


def _notes_on(report: LoadReport) -> list[str]:
    notes = list(report.notes)
    if report.trained_as is not None:
        notes.append(f"the file is that of a {report.trained_as}; only what both have was loaded")
    notes += [*report.variants, *report.differences]
    if random := [*report.missing, *report.started]:
        notes.append(f"{len(random)} weights are not in the file and were not learned: {_first(random)}")
    if report.unread and report.trained_as is None:
        notes.append(f"{len(report.unread)} weights of the file have no place in the model: {_first(report.unread)}")
    if report.resized:
        how = f"{report.interpolation} interpolation"
        notes.append(f"the position embeddings are those of another image size or overlap, and were resized ({how})")
    return notes


def _first(names: Sequence[str]) -> str:
    return ", ".join(names[:SHOWN]) + (", …" if len(names) > SHOWN else "")


def _backbone_name(model: Model, asked: str | None) -> str:
    encoder = getattr(model, "encoder", None)
    return str(getattr(encoder, "name", None) or asked or model.default_backbone)


def _full_name(backbone: str) -> str:
    """The name with the tag of the weights that timm loads by default."""
    cfg = timm.get_pretrained_cfg(backbone)
    tag = getattr(cfg, "tag", None)
    return backbone if "." in backbone or not tag else f"{backbone}.{tag}"


def _timm_norm(backbone: str) -> tuple[Colours, Colours] | None:
    cfg = timm.get_pretrained_cfg(backbone)
    return None if cfg is None else (_three(cfg.mean), _three(cfg.std))


def _three(colours: Sequence[float]) -> Colours:
    red, green, blue = colours
    return red, green, blue
