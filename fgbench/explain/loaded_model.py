"""A model with its weights, ready to look at pictures; and what has to be said about those weights."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any

import timm
import torch

from fgbench.datasets.dataset import HALF, IMAGENET_MEAN, IMAGENET_STD
from fgbench.errors import BrokenPluginError, FgbenchError, LeftOutNotice, OnProblem, UnknownNameError
from fgbench.explain.request import VisualizeRequest
from fgbench.models.build import create_model
from fgbench.models.checkpoints.files import read_metadata
from fgbench.models.checkpoints.load import ClassCountError, LoadReport, load_checkpoint
from fgbench.models.checkpoints.sniff import SAFETENSORS, kind_of
from fgbench.models.model import Model
from fgbench.models.vit import VisionTransformerModel
from fgbench.plugins.kinds import models

CLASSES = 200
SHOWN = 3  # names of weights in a note
OF_BACKBONES = ("timm ", "Google")  # formats of files that hold a backbone alone
HALF_SETS = ("synthetic", "dafb", "moe")  # data sets that are normalised by one half

Colours = tuple[float, float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedModel:
    """A model that looks at pictures."""

    model: Model  # in eval mode, on its device
    name: str
    backbone: str
    weights: str  # in words
    is_random: bool  # nothing was learned
    predicts: bool  # all that a prediction rests on was learned
    mean: Colours
    std: Colours
    notes: Sequence[str] = field(default=())

    @property
    def selects(self) -> bool:
        """Whether the model is more than a backbone that others look through."""
        return selects(self.model)


def fitting(request: VisualizeRequest, on_problem: OnProblem) -> list[tuple[str, str | None]]:
    """The models and backbones that fit one another, each built without weights before anything is computed.

    Of a broad request, pairs that do not fit are reported and left out as long as each of both fits another one:
    ``--model glsim cal --backbones vit_base_patch16_224 resnet101`` is two models.

    A broken plug-in is reported and left out, too. Raises :class:`FgbenchError` or :class:`UnknownNameError` for what
    fits nowhere, and :class:`BrokenPluginError` where nothing else is left.
    """
    fit, misfits = [], []
    broken: dict[str, BrokenPluginError] = {}
    models.try_out(request.models)
    for pair in itertools.product(request.models, request.backbones):
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


def load_model(
    request: VisualizeRequest, name: str, backbone: str | None, device: torch.device, on_problem: OnProblem
) -> LoadedModel:
    """A model with the weights that were asked for; what the checkpoint lacks is drawn from the seed.

    Which of several sets of weights in a file is read is reported.

    Raises :class:`CannotMeasureError` where pretrained weights cannot be had, :class:`FgbenchError` for a checkpoint
    that does not fit.
    """
    model = _build(request, name, backbone, CLASSES, pretrained=request.pretrained)
    of_backbone = _backbone_name(model, backbone)
    shared: dict[str, Any] = {"name": name, "backbone": of_backbone}
    if request.checkpoint is None:
        words, notes, predicts = f"random, seed {request.seed}", [], False
        if request.pretrained:
            words = f"timm's {_full_name(of_backbone)}"
            if selects(model):
                notes = ["timm's weights are the backbone's alone; what else the model has is random"]
        norm = _timms_norm(of_backbone) if request.pretrained else None
    else:
        model, found = _load(request, model, name, backbone)
        metadata = read_metadata(request.checkpoint) if kind_of(request.checkpoint) == SAFETENSORS else {}
        words, predicts = request.checkpoint.name, found.complete
        words += "" if found.weights is None else f" ({found.weights})"
        notes = _notes_on(found)
        for note in found.notes:
            on_problem(LeftOutNotice(f"{request.checkpoint}: {note}"))
        norm = _timms_norm(of_backbone) if found.format.startswith(OF_BACKBONES) else None
        norm = (HALF, HALF) if metadata.get("dataset") in HALF_SETS else norm
    if request.norm is not None:
        norm = (HALF, HALF) if request.norm == "half" else None
    mean, std = norm or (IMAGENET_MEAN, IMAGENET_STD)
    return LoadedModel(
        model=model.eval().to(device),
        weights=words,
        is_random=not request.pretrained and request.checkpoint is None,
        predicts=predicts,
        mean=mean,
        std=std,
        notes=notes,
        **shared,
    )


def selects(model: Model) -> bool:
    """Whether a model may have a selection of its own: not a vision transformer without a selector."""
    return model.selector is not None or not isinstance(model, VisionTransformerModel)


def guarded(name: str) -> AbstractContextManager[None]:
    """Where a model of somebody else's runs: what it does wrong becomes one line with its name."""
    return models.blame(name, FgbenchError)


def _build(request: VisualizeRequest, name: str, backbone: str | None, classes: int, *, pretrained: bool) -> Model:
    options: dict[str, Any] = {"img_size": request.image_size, "num_classes": classes, "impl": request.impl}
    options |= {"pretrained": pretrained, **request.model_options}
    torch.manual_seed(request.seed)
    return create_model(name, backbone, **options)


def _load(request: VisualizeRequest, model: Model, name: str, backbone: str | None) -> tuple[Model, LoadReport]:
    assert request.checkpoint is not None
    try:
        return model, load_checkpoint(model, request.checkpoint, **request.reading)  # type: ignore[arg-type]
    except ClassCountError as error:  # the file says how many classes there are
        model = _build(request, name, backbone, error.given, pretrained=False)
    return model, load_checkpoint(model, request.checkpoint, **request.reading)  # type: ignore[arg-type]


def _notes_on(found: LoadReport) -> list[str]:
    notes = list(found.notes)
    if found.trained_as is not None:
        notes.append(f"the file is that of a {found.trained_as}; only what both have was loaded")
    notes += [*found.variants, *found.differences]
    if random := [*found.missing, *found.started]:
        some = ", ".join(random[:SHOWN]) + (", …" if len(random) > SHOWN else "")
        notes.append(f"{len(random)} weights are not in the file and were not learned: {some}")
    if found.unread and found.trained_as is None:
        some = ", ".join(found.unread[:SHOWN]) + (", …" if len(found.unread) > SHOWN else "")
        notes.append(f"{len(found.unread)} weights of the file have no place in the model: {some}")
    if found.resized:
        how = f"{found.interpolation} interpolation"
        notes.append(f"the position embeddings are those of another image size or overlap, and were resized ({how})")
    return notes


def _backbone_name(model: Model, asked: str | None) -> str:
    encoder = getattr(model, "encoder", None)
    return str(getattr(encoder, "name", None) or asked or model.default_backbone)


def _full_name(backbone: str) -> str:
    """With the tag of the weights that timm takes where none is named."""
    cfg = timm.get_pretrained_cfg(backbone)
    tag = getattr(cfg, "tag", None)
    return backbone if "." in backbone or not tag else f"{backbone}.{tag}"


def _timms_norm(backbone: str) -> tuple[Colours, Colours] | None:
    cfg = timm.get_pretrained_cfg(backbone)
    return None if cfg is None else (_three(cfg.mean), _three(cfg.std))


def _three(colours: Sequence[float]) -> Colours:
    red, green, blue = colours
    return red, green, blue
