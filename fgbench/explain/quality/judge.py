"""Quality of selections on one trained model: a row per selector, all from the same passes over the same images."""

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
from fgbench.explain.boxes import Patches, patches_to_crop
from fgbench.explain.cost import SelectionCost
from fgbench.explain.quality.figures import ImageFigures, Parts
from fgbench.explain.quality.perturbation import deletion_curve, insertion_curve
from fgbench.explain.scores import ScoreSource, score_source
from fgbench.models.model import Model
from fgbench.models.options import one_of, whole_number
from fgbench.plugins.registry import selectors as registered
from fgbench.results.records import QualityRow
from fgbench_selectors.blind import near_middle
from fgbench_selectors.entries import RULES

# Images (B, 3, S, S) as the network takes them, and the boxes of each image's parts in pixels of them: none where no
# part is visible; None in place of the list where the parts of these images are not known.
Batch = tuple[Tensor, "Sequence[Sequence[Box]] | None"]

BASELINES = ("random", "centre")  # scores that need no model


@dataclass(frozen=True, slots=True, kw_only=True)
class QualityOptions:
    """How selections are judged; the same for all selectors of a model.

    Raises:
        FgbenchError: A value is out of its range.
    """

    top_k: int | None = None  # patches to crop around; None: 8 at 224 pixels and in proportion, as GLSim crops
    rule: str = "enclosing"  # of top_k_boxes; "released" leaves out the last selected row and column
    tolerance: float = 0.0  # pixels from a part at which the peak still counts as on it
    steps: int = 20  # equal shares of the pixels, at which the two curves have a value
    perturbed_images: int = 64  # number of images that the two curves are the mean of; 0 for none
    perturb_every: int = 1  # one image out of this many: files are often sorted by class
    baselines: bool = False  # rows of BASELINES

    def __post_init__(self) -> None:
        """Refuse values out of range before a model is run."""
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
    """Judge selectors on a trained model.

    Batches go through the model's own encoder once, up to where it selects, and every selector reads that pass; for
    the curves the whole model predicts. A model without such an encoder is judged by its own map (``own``).

    Args:
        model: The model; it keeps its mode.
        images_with_boxes: Batches, on any device.
        selectors: Names; None for all that are registered and the model's own.
        model_name: Name of the model in rows and problems.
        dataset: Name of the data set in rows.
        on_problem: Receives a problem for a selector that does not fit, for a broken plug-in and for a model without
            a selection; these have no row.
        seed: Seed of the training in rows.
        checkpoint: File of the weights in rows.
        options: How selections are judged.
        progress: Receives the number of images that are done.

    Returns:
        A row per selector, in the order asked for.

    Raises:
        FgbenchError: There are no images, or ``top_k`` exceeds the number of patches.
        UnknownNameError: A name is not registered.
    """
    judge = _Judge(model, score_source(model, model_name, selectors, on_problem), options or QualityOptions())
    weights = next(model.parameters())  # images are moved to where these are
    with evaluating(model):
        for images, boxes in images_with_boxes:
            judge.add(images.to(weights), boxes)
            progress(judge.images)
            if not judge.source.names:
                return []
    if not judge.images:
        raise FgbenchError("there are no images to judge selectors on")
    return judge.rows({"model": model_name, "dataset": dataset, "seed": seed, "checkpoint": checkpoint})


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


def baseline_scores(
    batch: int, first: int, grid: tuple[int, int], device: torch.device | str = "cpu"
) -> dict[str, Tensor]:
    """Scores that need no model, as a lower bound for selectors.

    Args:
        batch: Number of images, B.
        first: Number of the first image, counted over all batches.
        grid: Rows and columns of patches.
        device: Device of the scores.

    Returns:
        Scores (B, G²) by name. ``random``: uniform between 0 and 1, drawn for each image by its number. ``centre``:
        minus the squared distance of a patch to the middle of the grid.
    """
    rows, columns = grid
    drawn = [torch.rand(rows * columns, generator=torch.Generator().manual_seed(first + i)) for i in range(batch)]
    return {"random": torch.stack(drawn).to(device), "centre": near_middle(grid).expand(batch, -1).to(device)}


class _Judge:
    """Figures of every image by selector, added batch by batch."""

    def __init__(self, model: Model, source: ScoreSource, options: QualityOptions) -> None:
        if options.baselines and (taken := set(BASELINES) & set(registered.names())):
            raise FgbenchError("a registered selector has the name of a baseline:", min(taken), "judge without these")
        self.model, self.source, self.options = model, source, options
        self.images = self.perturbed = 0
        self._images_with_known_parts = self._images_without_parts = 0
        self._top_k = self._size = 0
        self._figures: dict[str, ImageFigures] = defaultdict(ImageFigures)

    @torch.inference_mode()
    def add(self, images: Tensor, boxes: Sequence[Sequence[Box]] | None) -> None:
        """Judge all selectors on one batch."""
        self._size = images.shape[-1]
        if boxes is not None and len(boxes) != len(images):
            raise FgbenchError(f"{len(images)} images come with boxes for", len(boxes))
        scores_by_name, patches = self.source.scores(images)
        if not scores_by_name:
            return
        self._top_k = patches_to_crop(self.options.top_k, patches)
        parts = None if boxes is None else Parts.of(boxes, self._size, images.device)
        if self.options.baselines:
            blind = baseline_scores(len(images), self.images, patches.grid, images.device)
            scores_by_name = blind | scores_by_name  # a model that selects at random is judged by its own choice
        chosen = self._to_perturb(len(images))
        classes = self.model(images[chosen]).argmax(dim=-1) if chosen else None
        for name, scores in scores_by_name.items():
            if parts is not None:
                crops = patches.crop_boxes(scores, self._top_k, self.options.rule).tolist()
                self._figures[name].add_parts(scores, crops, patches, parts, self.options.tolerance)
            if classes is not None:
                self._perturb(self._figures[name], images[chosen], scores[chosen], patches, classes)
        self.images += len(images)
        self.perturbed += len(chosen)
        if parts is not None:
            self._images_with_known_parts += len(images)
            self._images_without_parts += sum(not boxes for boxes in parts.boxes)

    def rows(self, fields: Mapping[str, Any]) -> list[QualityRow]:
        """A row for every selector with scores for all images; ``fields`` are the same in all rows."""
        baselines = [name for name in BASELINES if self.options.baselines and name not in self.source.names]
        return [
            *(self._row(name, fields, self.source.cost(name)) for name in self.source.names),
            *(self._row(name, fields, SelectionCost()) for name in baselines),
        ]

    def _row(self, name: str, fields: Mapping[str, Any], cost: SelectionCost) -> QualityRow:
        return QualityRow(
            **fields,
            **self._figures[name].means(),
            selector=name,
            image_size=self._size,
            images=self.images,
            images_without_parts=self._images_without_parts if self._images_with_known_parts else None,
            perturbed_images=self.perturbed,
            top_k=self._top_k,
            selector_flops=cost.flops,
            percent_of_backbone=cost.percent_of_backbone,
        )

    def _to_perturb(self, batch: int) -> list[int]:
        """Indices in a batch of the images that the curves are the mean of, counted over all batches."""
        due = [index for index in range(batch) if (self.images + index) % self.options.perturb_every == 0]
        return due[: self.options.perturbed_images - self.perturbed]

    def _perturb(
        self, figures: ImageFigures, images: Tensor, scores: Tensor, patches: Patches, classes: Tensor
    ) -> None:
        heat, steps = patches.heat(scores), self.options.steps
        figures.insertion += insertion_curve(self.model, images, heat, classes, steps).cpu().unbind()
        figures.deletion += deletion_curve(self.model, images, heat, classes, steps).cpu().unbind()
