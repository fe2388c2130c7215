"""Who is judged: every selector on one model's encoder, or the map that a model without one makes by itself."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from fgbench.errors import BrokenPluginError, FgbenchError, LeftOutNotice, OnProblem
from fgbench.explain.quality.cost import backbone_flops, selection_flops
from fgbench.explain.records import OWN
from fgbench.models.model import Model
from fgbench.models.vit import VisionTransformerModel
from fgbench.plugins.registry import is_own, make_selector, selectors, usable_selectors
from fgbench_selectors import Features, Selector
from fgbench_selectors.heat import patch_scores
from fgbench_selectors.selector import score_breach


@dataclass(frozen=True, slots=True, kw_only=True)
class Patches:
    """Where patches lie in a square image; pixels."""

    grid: tuple[int, int]
    patch_size: int
    stride: int
    image_size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What a selection costs; None where it cannot be counted."""

    flops: int | None = None
    percent_of_backbone: float | None = None


class Panel(Protocol):
    """Patch scores of everyone who is judged, from the same images."""

    @property
    def names(self) -> list[str]:
        """Who is judged; fewer once somebody has failed."""

    def scores(self, images: Tensor) -> tuple[dict[str, Tensor], Patches]:
        """Images (B, 3, S, S) → finite scores (B, G²) by name; who fails is reported and left out from then on."""

    def cost(self, name: str) -> Cost:
        """What it costs to make the scores of one image."""


class SelectorScores:
    """Selectors on one model's encoder, all of them reading the same pass.

    A selector of the name that the model selects by is the model's own, with its weights and options. Others are made
    anew: of those that learn, nothing has been learned.
    """

    def __init__(self, model: VisionTransformerModel, names: Sequence[str] | None, on_problem: OnProblem) -> None:
        self._model, self._report = model, on_problem
        self._costs: dict[str, Cost] = {}
        self._backbone: int | None = None
        own = model.selector
        own_name = None if own is None else model.selector_name or type(own).__name__.lower()
        self._selectors: dict[str, Selector] = {}
        everyone = (*selectors.names(), *([own_name] if own_name else []))
        for name in dict.fromkeys(everyone if names is None else names):
            if own is not None and name == own_name:
                self._admit(name, copy.deepcopy(own))
            elif usable_selectors([name], on_problem):
                self._make(name)

    @property
    def names(self) -> list[str]:
        """Who is judged."""
        return list(self._selectors)

    def scores(self, images: Tensor) -> tuple[dict[str, Tensor], Patches]:
        """One pass of the encoder, then every selector on what it declares of it."""
        encoder, found = self._model.encoder, {}
        judged = list(self._selectors.items())
        recorded = self._model.record(images, [selector.needs for _, selector in judged]) if judged else []
        for (name, selector), features in zip(judged, recorded, strict=True):
            scores = self._score(name, selector, features)
            if scores is None:
                del self._selectors[name]
                continue
            found[name] = scores
            if name not in self._costs:
                self._costs[name] = self._count(name, selector, features)
        side = self._model.image_size
        return found, Patches(grid=encoder.grid, patch_size=encoder.patch_size, stride=encoder.stride, image_size=side)

    def cost(self, name: str) -> Cost:
        """The fast selection beside the plain backbone."""
        return self._costs[name]

    def _make(self, name: str) -> None:
        try:
            with torch.random.fork_rng(devices=[]):  # weights that are drawn are the same ones every time
                torch.default_generator.manual_seed(0)
                made = make_selector(name, "fast", self._model.selection_depth)
        except BrokenPluginError as error:
            self._report(error)
        except FgbenchError as error:
            self._leave_out(name, str(error))
        else:
            self._admit(name, made)

    def _admit(self, name: str, selector: Selector) -> None:
        """Take a selector in, unless the model has nothing for it to read."""
        model, needs = self._model, selector.needs
        if not needs.tokens and not model.encoder.recorded_blocks(needs, model.depth_for(needs)):
            self._leave_out(name, f"it reads none of the {model.encoder.depth} blocks that the backbone has")
            return
        selector.impl = "fast"
        self._selectors[name] = selector.eval().to(next(model.parameters()).device)

    def _score(self, name: str, selector: Selector, features: Features) -> Tensor | None:
        """Scores (B, G²), or a report of why there are none."""
        try:
            with selectors.blame(name, FgbenchError):
                scores = selector(features)
                why = score_breach(selector, features, scores)
                if why is None and not scores.isfinite().all():
                    why = "its scores are not finite"
                if why is None:
                    return patch_scores(scores, selector.score_shape, features.num_prefix_tokens)
        except BrokenPluginError as error:
            why = error.why
        except FgbenchError as error:
            why = str(error)
        self._leave_out(name, why)
        return None

    def _count(self, name: str, selector: Selector, features: Features) -> Cost:
        try:
            with selectors.blame(name):
                flops = selection_flops(selector, features)
            if self._backbone is None:
                self._backbone = backbone_flops(self._model)
        except BrokenPluginError as error:
            self._report(LeftOutNotice(f"the work of selector {name!r} cannot be counted: {error.why}"))
            return Cost()
        return Cost(flops=flops, percent_of_backbone=100 * flops / self._backbone)

    def _leave_out(self, name: str, why: str) -> None:
        if name in selectors.entries() and not _is_ours(name):
            self._report(BrokenPluginError(name, selectors.entries()[name].origin, why))
        else:
            self._report(LeftOutNotice(f"left out: selector {name!r}: {why}"))


class ModelScores:
    """The map by which a model without an encoder of tokens finds its parts, such as CAL's mean attention map."""

    def __init__(self, model: Model, name: str, on_problem: OnProblem) -> None:
        self._model, self._name, self._report = model, name, on_problem
        self.names = [OWN]

    def scores(self, images: Tensor) -> tuple[dict[str, Tensor], Patches]:
        """The model's own scores (B, h·w), square; nobody is left where there are none."""
        size, scores = images.shape[-1], self._model.explain(images).scores
        why = None
        if scores is None:
            why = "it selects nothing"
        elif scores.ndim != 2 or math.isqrt(scores.shape[1]) ** 2 != scores.shape[1] or scores.shape[1] > size**2:
            why = f"its scores are no square map of the image, but of shape {tuple(scores.shape)}"
        elif not scores.isfinite().all():
            why = "its scores are not finite"
        if scores is None or why:
            self._report(LeftOutNotice(f"left out: model {self._name!r} has no selection to judge: {why}"))
            self.names = []
            return {}, Patches(grid=(1, 1), patch_size=size, stride=size, image_size=size)
        side = math.isqrt(scores.shape[1])
        cell = size // side
        return {OWN: scores}, Patches(grid=(side, side), patch_size=cell, stride=cell, image_size=size)

    def cost(self, name: str) -> Cost:
        """Unknown: the map is a by-product of the prediction."""
        return Cost()


def scores_for(model: Model, model_name: str, names: Sequence[str] | None, on_problem: OnProblem) -> Panel:
    """The panel that a model allows; ``names`` are selectors, all that are registered by default.

    Raises :class:`UnknownNameError` for a name that nobody registered.
    """
    if isinstance(model, VisionTransformerModel):
        return SelectorScores(model, names, on_problem)
    if asked := usable_selectors([name for name in names or () if name != OWN], on_problem):
        message = f"left out: model {model_name!r} has no tokens for selectors to read: {', '.join(asked)}"
        on_problem(LeftOutNotice(message))
    return ModelScores(model, model_name, on_problem)


def _is_ours(name: str) -> bool:
    return name in selectors.entries() and is_own(name)
