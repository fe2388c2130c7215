"""Patch scores of selectors on one model, and of the model itself, for the same images."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

from fgbench.errors import BrokenPluginError, FeaturesError, FgbenchError, LeftOutNotice, OnProblem
from fgbench.explain.boxes import Patches
from fgbench.explain.cost import SelectionCost, backbone_flops, selection_flops, without_data
from fgbench.explain.records import OWN
from fgbench.models.encoder import Encoder
from fgbench.models.model import Explanation, Model
from fgbench.models.vision_transformer import VisionTransformerModel
from fgbench.plugins.registry import is_own, make_selector, selectors, usable_selectors
from fgbench.results.image_size import height_width
from fgbench_selectors import Features, Selector
from fgbench_selectors.heat import patch_scores
from fgbench_selectors.selector import score_breach


class ScoreSource(Protocol):
    """Patch scores by name, all of the same images."""

    @property
    def names(self) -> list[str]:
        """Names of those that have scores; one that fails is removed."""

    def scores(self, images: Tensor) -> tuple[dict[str, Tensor], Patches]:
        """Images (B, 3, S, S) → finite scores (B, G²) by name, and where the patches lie."""

    def cost(self, name: str) -> SelectionCost:
        """Cost of the scores of one image."""


class SelectorScores:
    """Scores of several selectors on one model; all of them read the same pass of its encoder.

    A selector of the name that the model selects by is the model's own, with its weights and options. The others are
    made anew; those that learn have learned nothing.

    Args:
        model: The model, in eval mode.
        names: Names of selectors; None for all that are registered and the model's own.
        on_problem: Receives a problem for every selector that is left out, and for every broken plug-in.
        impl: ``published`` or ``fast``.

    Attributes:
        left_out: Reasons by name of selectors that are left out.
        untrained: Names of selectors that learn and have learned nothing.

    Raises:
        UnknownNameError: A name is not registered.
    """

    def __init__(
        self,
        model: VisionTransformerModel,
        names: Sequence[str] | None,
        on_problem: OnProblem,
        *,
        impl: str = "fast",
    ) -> None:
        self._model, self._on_problem, self._impl = model, on_problem, impl
        self.left_out: dict[str, str] = {}
        self.untrained: list[str] = []
        self._selectors: dict[str, Selector] = {}
        self._features: dict[str, Features] = {}  # by selector, without data: their shapes give the cost
        self._backbone_flops: int | None = None
        own = model.selector
        own_name = None if own is None else model.selector_name or type(own).__name__.lower()
        registered = (*selectors.names(), *([own_name] if own_name else []))
        for name in dict.fromkeys(registered if names is None else names):
            if own is not None and name == own_name:
                self._add(name, copy.deepcopy(own))
            elif usable_selectors([name], self._report):
                self._make(name)

    @property
    def names(self) -> list[str]:
        """Names of the selectors that have scores so far."""
        return list(self._selectors)

    def scores(self, images: Tensor) -> tuple[dict[str, Tensor], Patches]:
        """Run the encoder once, then every selector.

        A selector that fails is reported and left out from then on.

        Args:
            images: Images (B, 3, S, S) as the network takes them.

        Returns:
            Finite scores (B, G²) by selector, and where the patches lie.
        """
        found = {}
        running = list(self._selectors.items())
        recorded = self._model.record(images, [selector.needs for _, selector in running]) if running else []
        for (name, selector), features in zip(running, recorded, strict=True):
            scores = self._score(name, selector, features)
            if scores is None:
                del self._selectors[name]
                continue
            found[name] = scores
            if name not in self._features:
                self._features[name] = without_data(features)
        return found, patches_of(self._model.encoder)

    def cost(self, name: str) -> SelectionCost:
        """Cost of a selector's fast implementation for one image; known once it has scored a batch."""
        try:
            with selectors.blame(name):
                flops = selection_flops(self._selectors[name], self._features[name])
        except BrokenPluginError as error:
            self._on_problem(LeftOutNotice(f"the work of selector {name!r} cannot be counted: {error.why}"))
            return SelectionCost()
        if self._backbone_flops is None:
            self._backbone_flops = backbone_flops(self._model)
        return SelectionCost(flops=flops, percent_of_backbone=100 * flops / self._backbone_flops)

    def _make(self, name: str) -> None:
        try:
            with torch.random.fork_rng(devices=[]):  # weights that are drawn are the same ones every time
                torch.default_generator.manual_seed(0)
                selector = make_selector(name, "fast", self._model.selection_depth)
        except BrokenPluginError as error:
            self._report(error)
        except FgbenchError as error:
            self._fail(name, str(error))
        else:
            self._add(name, selector)
            if name in self._selectors and selector.learned:
                self.untrained.append(name)

    def _add(self, name: str, selector: Selector) -> None:
        """Add a selector, unless the model has nothing that it reads."""
        model, needs = self._model, selector.needs
        if needs.class_logits and not model.classifies_tokens:
            self._fail(name, "the head of the model does not classify single tokens")
            return
        has_tokens = needs.tokens or needs.class_logits
        if not has_tokens and not model.encoder.recorded_blocks(needs, model.depth_for(needs)):
            self._fail(name, f"it reads none of the {model.encoder.depth} blocks that the backbone has")
            return
        selector.impl = self._impl
        self._selectors[name] = selector.eval().to(next(model.parameters()).device)

    def _score(self, name: str, selector: Selector, features: Features) -> Tensor | None:
        """Scores (B, G²); None where the selector fails, which is reported."""
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
        self._fail(name, why)
        return None

    def _fail(self, name: str, why: str) -> None:
        """Leave out a selector that does not work; one of a plug-in is reported as broken."""
        if name in selectors.entries() and not is_own(name):
            self._report(BrokenPluginError(name, selectors.entries()[name].origin, why))
        else:
            self.left_out[name] = why
            self._on_problem(selector_left_out(name, why))

    def _report(self, problem: FgbenchError) -> None:
        if isinstance(problem, BrokenPluginError):
            self.left_out[problem.name] = problem.why
        self._on_problem(problem)


class ModelScores:
    """Scores of a model that has no tokens for selectors to read, such as CAL's mean attention map.

    Args:
        model: The model, in eval mode.
        name: Name of the model in problems.
        on_problem: Receives a problem where the model has no scores.
    """

    def __init__(self, model: Model, name: str, on_problem: OnProblem) -> None:
        self._model, self._name, self._on_problem = model, name, on_problem
        self.names = [OWN]

    def scores(self, images: Tensor) -> tuple[dict[str, Tensor], Patches]:
        """Images (B, 3, S, S) → the model's own scores (B, G²); none, and no names, where it has no such scores."""
        size, explanation = images.shape[-1], self._model.explain(images)
        try:
            scores, patches = own_scores(self._model, explanation, size)
        except FgbenchError as error:
            self._on_problem(LeftOutNotice(f"left out: model {self._name!r} has no selection to judge: {error}"))
            self.names = []
            return {}, Patches(grid=(1, 1), patch_size=size, stride=size, image_size=size)
        return {OWN: scores}, patches

    def cost(self, name: str) -> SelectionCost:
        """Unknown: the scores are a by-product of the prediction."""
        return SelectionCost()


def score_source(model: Model, model_name: str, names: Sequence[str] | None, on_problem: OnProblem) -> ScoreSource:
    """Scores that a model allows: of selectors on its tokens, or its own where it has no tokens.

    Args:
        model: The model, in eval mode.
        model_name: Name of the model in problems.
        names: Names of selectors; None for all.
        on_problem: Receives a problem for everything that is left out.

    Raises:
        UnknownNameError: A name is not registered.
    """
    if isinstance(model, VisionTransformerModel):
        return SelectorScores(model, names, on_problem)
    leave_out_without_tokens(model_name, [name for name in names or () if name != OWN], on_problem)
    return ModelScores(model, model_name, on_problem)


def leave_out_without_tokens(model_name: str, names: Sequence[str], on_problem: OnProblem) -> dict[str, str]:
    """Report selectors that a model without tokens cannot have.

    Returns:
        The reason by name, for ``names`` that can be loaded.

    Raises:
        UnknownNameError: A name is not registered.
    """
    why = f"model {model_name!r} has no tokens for selectors to read"
    reasons = dict.fromkeys(usable_selectors(names, on_problem), why)
    for name in reasons:
        on_problem(selector_left_out(name, why))
    return reasons


def selector_left_out(name: str, why: str) -> LeftOutNotice:
    """The notice that a selector is left out."""
    return LeftOutNotice(f"left out: selector {name!r}: {why}")


def own_scores(model: Model, explanation: Explanation, size: int) -> tuple[Tensor, Patches]:
    """A model's own patch scores.

    Args:
        model: The model.
        explanation: The result of ``model.explain`` for B images.
        size: Side of these images, pixels.

    Returns:
        Scores (B, G²), finite, and where the patches lie.

    Raises:
        FgbenchError: The model has no such scores; the message says why.
    """
    scores = explanation.scores
    if scores is None:
        raise FgbenchError("it selects nothing")
    if isinstance(model, VisionTransformerModel) and (model.selector is not None or model.score_shape):
        axes = model.score_shape if model.selector is None else model.selector.score_shape
        prefix = scores.shape[-1] - model.encoder.num_patches if "patches" not in axes else 0
        scores, patches = patch_scores(scores, axes, prefix), patches_of(model.encoder)
    else:
        side = math.isqrt(scores.shape[1]) if scores.ndim == 2 else 0
        if not 1 <= side <= size or side * side != scores.shape[1]:
            raise FgbenchError(f"its scores are no square map of the image, but of shape {tuple(scores.shape)}")
        patches = Patches(grid=(side, side), patch_size=size // side, stride=size // side, image_size=size)
    if scores.shape[1] != patches.count:
        rows, columns = patches.grid
        raise FeaturesError(f"its scores are not one per patch: {scores.shape[1]} for {rows} × {columns}")
    if not scores.isfinite().all():
        raise FgbenchError("its scores are not finite")
    return scores, patches


def patches_of(encoder: Encoder) -> Patches:
    """Where the patches of an encoder's images lie."""
    side, _ = height_width(encoder.image_size)  # pictures are explained as squares
    return Patches(grid=encoder.grid, patch_size=encoder.patch_size, stride=encoder.stride, image_size=side)
