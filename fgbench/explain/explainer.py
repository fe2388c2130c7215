"""A model and selectors look at one picture: scores, heat and boxes of everyone, from one pass of the encoder."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from fgbench.errors import BrokenPluginError, FeaturesError, FgbenchError, LeftOutNotice, OnProblem
from fgbench.explain.geometry import InputGeometry, network_input, view_of
from fgbench.explain.loaded_model import LoadedModel, guarded
from fgbench.explain.picture import Picture
from fgbench.explain.quality.panel import Cost, Patches, SelectorScores
from fgbench.explain.records import OWN, Box, ImageResult, Prediction, SelectorResult, flat
from fgbench.explain.request import VisualizeRequest
from fgbench.models.model import Explanation, Model
from fgbench.models.vit import VisionTransformerModel
from fgbench.plugins.registry import usable_selectors
from fgbench_selectors import Features, Selector
from fgbench_selectors.heat import heat_map, patch_scores
from fgbench_selectors.regions import top_k_boxes

HEAT_SIDE = 256  # pixels that heat is kept in: more than a cell of a picture has


class Panel(SelectorScores):
    """Selectors on one model's encoder, by either implementation; nothing is counted, and reasons are kept."""

    def __init__(self, model: VisionTransformerModel, names: Sequence[str], impl: str, on_problem: OnProblem) -> None:
        self._impl = impl
        self.reasons: dict[str, str] = {}  # why a selector has nothing to show
        self.untaught: list[str] = []  # selectors that learn, and have learned nothing

        def keep(problem: FgbenchError) -> None:
            if isinstance(problem, BrokenPluginError):
                self.reasons[problem.name] = problem.why
            on_problem(problem)

        super().__init__(model, names, keep)

    def _make(self, name: str) -> None:
        super()._make(name)
        if name in self._selectors and self._selectors[name].learned:
            self.untaught.append(name)

    def _admit(self, name: str, selector: Selector) -> None:
        super()._admit(name, selector)
        if name in self._selectors:
            self._selectors[name].impl = self._impl

    def _leave_out(self, name: str, why: str) -> None:
        self.reasons[name] = why
        super()._leave_out(name, why)

    def _count(self, name: str, selector: Selector, features: Features) -> Cost:
        return Cost()


class Explainer:
    """An onlooker with the selectors that look through it. ``reasons`` and ``notes`` grow while it looks."""

    def __init__(self, onlooker: LoadedModel, request: VisualizeRequest, on_problem: OnProblem) -> None:
        self.onlooker, self._request, self._report = onlooker, request, on_problem
        names = asked_selectors(onlooker, request)
        self.columns = [*([OWN] if onlooker.selects else []), *names]
        self.reasons: dict[str, str] = {}
        self.panel: Panel | None = None
        if isinstance(onlooker.model, VisionTransformerModel):
            self.panel = Panel(onlooker.model, names, request.impl, on_problem)
        elif names:
            for name in usable_selectors(names, on_problem):
                self._leave_out(name, f"model {onlooker.name!r} has no tokens for selectors to read")

    @property
    def left_out(self) -> dict[str, str]:
        """Why somebody has nothing to show, by name."""
        return self.reasons | (self.panel.reasons if self.panel else {})

    @property
    def untaught(self) -> list[str]:
        """Selectors that learn, and have learned nothing."""
        return self.panel.untaught if self.panel else []

    @torch.inference_mode()
    def look(self, picture: Picture) -> ImageResult:
        """Look at a picture."""
        request, onlooker = self._request, self.onlooker
        view = view_of(picture.size, request.image_size, request.view)
        image = network_input(picture.image, view, onlooker.mean, onlooker.std)
        image = image.to(next(onlooker.model.parameters()))
        sights, prediction = {}, None
        if onlooker.selects or onlooker.predicts:
            with guarded(onlooker.name):
                found = onlooker.model.explain(image)
            prediction = _predicted(found.logits) if onlooker.predicts else None
            if onlooker.selects and (own := self._own(found, view)) is not None:
                sights[OWN] = own
        if self.panel is not None and self.panel.names:
            scores, patches = self.panel.scores(image)
            for name, found_scores in scores.items():
                sights[name] = _sight(found_scores, patches, view, self._crop(found_scores, patches), are_crops=True)
        return ImageResult(
            path=picture.path,
            size=picture.size,
            orientation=picture.orientation,
            seen=view.seen,
            sights=sights,
            prediction=prediction,
        )

    def _crop(self, scores: Tensor, patches: Patches) -> list[tuple[float, ...]]:
        count = patches.grid[0] * patches.grid[1]
        top_k = crop_patches(self._request, count)
        where = (patches.grid, top_k, patches.patch_size, self._request.rule)
        return _rows(top_k_boxes(scores, *where, stride=patches.stride))

    def _own(self, found: Explanation, view: InputGeometry) -> SelectorResult | None:
        """The model's own selection, or a word about why it has none."""
        try:
            scores, patches = own_scores(self.onlooker.model, found, view.size)
        except FgbenchError as error:
            self._leave_out(OWN, str(error))
            return None
        boxes = [] if found.boxes is None else _rows(found.boxes[0])
        if found.selected is not None:  # tokens without a place in the picture have all of it
            boxes = [box for box in boxes if box != (0, 0, view.size, view.size)]
        return _sight(scores, patches, view, list(dict.fromkeys(boxes)), are_crops=found.crops is not None)

    def _leave_out(self, name: str, why: str) -> None:
        if name not in self.reasons:
            what = f"{self.onlooker.name}'s own selection" if name == OWN else f"selector {name!r}"
            self._report(LeftOutNotice(f"left out: {what}: {why}"))
        self.reasons[name] = why


def asked_selectors(onlooker: LoadedModel, request: VisualizeRequest) -> list[str]:
    """Who looks through a model: all selectors through a plain backbone, those that were named through any other."""
    from fgbench.plugins.registry import selectors

    if request.selectors is not None:
        return list(request.selectors)
    return [] if onlooker.selects else selectors.names()


def crop_patches(request: VisualizeRequest, patches: int) -> int:
    """How many patches a crop is made around: 8 at 224 pixels and in proportion, unless a number was asked for."""
    if request.top_k is None:
        return max(1, min(round(8 * request.image_size / 224), patches))
    if request.top_k > patches:
        raise FgbenchError(
            f"--top-k must be at most {patches}, which is how many patches there are; got", request.top_k
        )
    return request.top_k


def own_scores(model: Model, found: Explanation, size: int) -> tuple[Tensor, Patches]:
    """A model's own scores, one per patch (1, G²), and where those lie.

    Raises :class:`FgbenchError` with the reason where the model has no such scores.
    """
    scores = found.scores
    if scores is None:
        raise FgbenchError("it selects nothing")
    if isinstance(model, VisionTransformerModel) and model.selector is not None:
        encoder, axes = model.encoder, model.selector.score_shape
        prefix = scores.shape[-1] - encoder.num_patches if "patches" not in axes else 0
        scores = patch_scores(scores, axes, prefix)
        grid, cell, stride = encoder.grid, encoder.patch_size, encoder.stride
    else:
        side = round(scores.shape[-1] ** 0.5) if scores.ndim == 2 else 0
        if not 1 <= side <= size or side * side != scores.shape[1]:
            raise FgbenchError(f"its scores are no square map of the image, but of shape {tuple(scores.shape)}")
        grid, cell, stride = (side, side), size // side, size // side
    if scores.shape[1] != grid[0] * grid[1]:
        raise FeaturesError(f"its scores are not one per patch: {scores.shape[1]} for {grid[0]} × {grid[1]}")
    if not scores.isfinite().all():
        raise FgbenchError("its scores are not finite")
    return scores, Patches(grid=grid, patch_size=cell, stride=stride, image_size=size)


def _sight(
    scores: Tensor, patches: Patches, view: InputGeometry, boxes: Sequence[Any], *, are_crops: bool
) -> SelectorResult:
    rows, columns = patches.grid
    numbers = scores[0].view(rows, columns).cpu().numpy()
    nothing = flat(numbers)
    row, column = divmod(int(numbers.argmax()), columns)
    top, left = row * patches.stride, column * patches.stride
    best: list[Box] = view.to_picture([(top, left, top + patches.patch_size, left + patches.patch_size)])
    return SelectorResult(
        scores=numbers,
        heat=_heat(scores, patches, flat_=nothing),
        best=(row, column),
        best_box=best[0],
        boxes=[] if nothing else view.to_picture(boxes),
        are_crops=are_crops,
    )


def _heat(scores: Tensor, patches: Patches, *, flat_: bool) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Scores between 0 and 1 by pixel; their own scale may be beyond what float32 holds."""
    low, high = scores.min(), scores.max()
    share = torch.zeros_like(scores) if flat_ else (scores - low) / (high - low)
    heat = heat_map(share.float(), patches.grid, patches.image_size, patches.patch_size, patches.stride)
    if patches.image_size > HEAT_SIDE:
        heat = functional.adaptive_avg_pool2d(heat, HEAT_SIDE)
    found: np.ndarray[Any, np.dtype[np.float32]] = heat[0].cpu().numpy()
    return found


def _predicted(logits: Tensor) -> Prediction:
    probabilities = logits[0].float().softmax(dim=-1)
    index = int(probabilities.argmax())
    return Prediction(index=index, probability=float(probabilities[index]))


def _rows(boxes: Tensor) -> list[tuple[float, ...]]:
    return [tuple(row) for row in boxes.tolist()]


def columns_of(lookings: Sequence[Explainer]) -> Iterator[str]:
    """Everyone who was asked for, once, in order."""
    yield from dict.fromkeys(name for looking in lookings for name in looking.columns)
