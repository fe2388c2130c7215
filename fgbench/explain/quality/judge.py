"""What every selector finds on one trained model: a row each, all from the same passes over the same images."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from fgbench.datasets.dataset import Box
from fgbench.errors import FgbenchError, OnProblem
from fgbench.explain.quality.baselines import BASELINES, baseline_scores
from fgbench.explain.quality.panel import Cost, Panel, Patches, scores_for
from fgbench.explain.quality.perturbation import deletion_curve, insertion_curve
from fgbench.explain.quality.tally import ImageFigures, Parts
from fgbench.models.model import Model
from fgbench.models.options import one_of, whole_number
from fgbench.plugins.registry import selectors as registered
from fgbench.results.records import QualityRow
from fgbench_selectors.heat import heat_map
from fgbench_selectors.regions import RULES, top_k_boxes

# A batch: images (B, 3, S, S) as the network takes them, and the boxes of each image's parts in pixels of them. No box
# where no part is visible; None in place of the list where the parts of these images are not known.
Batch = tuple[Tensor, "Sequence[Sequence[Box]] | None"]


@dataclass(frozen=True, slots=True, kw_only=True)
class QualityOptions:
    """How selections are judged; the same for all selectors of a model."""

    top_k: int | None = None  # patches to crop around; None: 8 at 224 pixels and in proportion, as GLSim crops
    rule: str = "enclosing"  # of top_k_boxes; "released" leaves out the last selected row and column
    tolerance: float = 0.0  # pixels from a part at which the peak still counts as on it
    steps: int = 20  # shares of the pixels that the two curves are taken at
    perturbed_images: int = 64  # that the two curves are the mean of; 0 for none
    perturb_every: int = 1  # every how-manieth image is one of those: files are often sorted by class
    baselines: bool = False  # rows of what needs no model, see BASELINES

    def __post_init__(self) -> None:
        """Refuse what means nothing, before a model is run."""
        one_of(self.rule, "box rule", RULES)
        for name, low in (("steps", 1), ("perturbed_images", 0), ("perturb_every", 1)):
            whole_number(getattr(self, name), name, low)
        if self.top_k is not None:
            whole_number(self.top_k, "top_k", 1)
        if self.tolerance < 0:
            raise FgbenchError("tolerance is a distance in pixels, got", self.tolerance)


def judge_selectors(
    model: Model,
    images_with_boxes: Iterable[Batch],
    selectors: Sequence[str] | None = None,
    *,
    model_name: str,
    dataset: str,
    on_problem: OnProblem,
    seed: int | None = None,
    checkpoint: str | None = None,
    options: QualityOptions | None = None,
    progress: Callable[[int], None] = lambda _: None,
) -> list[QualityRow]:
    """Judge selectors, all that are registered by default, on a trained model; a row each, in the order asked for.

    Batches go through the model's own encoder once, up to where it selects, and every selector reads that pass; for the
    curves the whole model predicts. A selector that does not fit, and a plug-in that breaks, is handed to
    ``on_problem`` by name and has no row. A model without such an encoder is judged by its own map (``own``); where it
    has none, it has no rows, which is reported. ``progress`` is told how many images are
    done. The model keeps its mode.

    Raises :class:`FgbenchError` where there are no images or ``top_k`` exceeds the patches, and
    :class:`UnknownNameError`.
    """
    judge = _Judge(model, scores_for(model, model_name, selectors, on_problem), options or QualityOptions())
    weights = next(model.parameters())  # images go where these are
    with evaluating(model):
        for images, boxes in images_with_boxes:
            judge.look(images.to(weights), boxes)
            progress(judge.images)
            if not judge.panel.names:
                return []
    if not judge.images:
        raise FgbenchError("there are no images to judge selectors on")
    named = {"model": model_name, "dataset": dataset, "seed": seed, "checkpoint": checkpoint}
    return judge.rows(named)


@contextmanager
def evaluating(model: Model) -> Iterator[None]:
    """The model in eval mode; afterwards every module is in the mode it was in."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


class _Judge:
    """Batches in, figures of every image kept by selector, rows out."""

    def __init__(self, model: Model, panel: Panel, options: QualityOptions) -> None:
        if options.baselines and (taken := set(BASELINES) & set(registered.names())):
            raise FgbenchError("a registered selector has the name of a baseline:", min(taken), "judge without these")
        self.model, self.panel, self.options = model, panel, options
        self.images = self.perturbed = 0
        self._known = self._without_parts = 0
        self._top_k = self._size = 0
        self._tallies: dict[str, ImageFigures] = defaultdict(ImageFigures)

    @torch.inference_mode()
    def look(self, images: Tensor, boxes: Sequence[Sequence[Box]] | None) -> None:
        """Judge everyone on one batch."""
        self._size = images.shape[-1]
        if boxes is not None and len(boxes) != len(images):
            raise FgbenchError(f"{len(images)} images come with boxes for", len(boxes))
        scores, patches = self.panel.scores(images)
        if not scores:
            return
        self._top_k = self._patches_to_crop(patches)
        parts = None if boxes is None else Parts.of(boxes, self._size, images.device)
        if self.options.baselines:
            scores |= baseline_scores(len(images), self.images, patches.grid, images.device)
        chosen = self._to_perturb(len(images))
        classes = self.model(images[chosen]).argmax(dim=-1) if chosen else None
        for name, found in scores.items():
            if parts is not None:
                self._compare(self._tallies[name], found, patches, parts)
            if classes is not None:
                self._perturb(self._tallies[name], images[chosen], found[chosen], patches, classes)
        self.images += len(images)
        self.perturbed += len(chosen)
        if parts is not None:
            self._known += len(images)
            self._without_parts += sum(not each for each in parts.boxes)

    def rows(self, named: Mapping[str, Any]) -> list[QualityRow]:
        """A row for everyone who was judged on all images."""
        judged = [*self.panel.names, *(BASELINES if self.options.baselines else ())]
        return [self._row(name, named) for name in judged]

    def _row(self, name: str, named: Mapping[str, Any]) -> QualityRow:
        cost = Cost() if name in BASELINES and self.options.baselines else self.panel.cost(name)
        return QualityRow(
            **named,
            **self._tallies[name].means(),
            selector=name,
            image_size=self._size,
            images=self.images,
            images_without_parts=self._without_parts if self._known else None,
            perturbed_images=self.perturbed,
            top_k=self._top_k,
            selector_flops=cost.flops,
            percent_of_backbone=cost.percent_of_backbone,
        )

    def _patches_to_crop(self, patches: Patches) -> int:
        number = patches.grid[0] * patches.grid[1]
        if self.options.top_k is None:
            return max(1, min(round(8 * patches.image_size / 224), number))
        return whole_number(self.options.top_k, "top_k", 1, number)

    def _to_perturb(self, batch: int) -> list[int]:
        """The images of a batch that the curves are taken of, counted over all batches."""
        due = [index for index in range(batch) if (self.images + index) % self.options.perturb_every == 0]
        return due[: self.options.perturbed_images - self.perturbed]

    def _compare(self, tally: ImageFigures, scores: Tensor, patches: Patches, parts: Parts) -> None:
        where = (patches.grid, self._top_k, patches.patch_size, self.options.rule)
        crops = top_k_boxes(scores, *where, stride=patches.stride).tolist()
        tally.add_parts(scores, crops, patches, parts, self.options.tolerance)

    def _perturb(self, tally: ImageFigures, images: Tensor, scores: Tensor, patches: Patches, classes: Tensor) -> None:
        heat = heat_map(scores, patches.grid, patches.image_size, patches.patch_size, patches.stride)
        steps = self.options.steps
        tally.insertion += insertion_curve(self.model, images, heat, classes, steps).cpu().unbind()
        tally.deletion += deletion_curve(self.model, images, heat, classes, steps).cpu().unbind()
