"""Evaluation of selectors on a trained model: a row per selector, kept in the store."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch

from fgbench.datasets.dataset import Box, DataSet
from fgbench.datasets.transforms import eval_transform
from fgbench.errors import BrokenPluginError, FgbenchError, LeftOutNotice
from fgbench.explain.boxes import input_geometry
from fgbench.explain.quality.judge import Batch, QualityOptions, judge_selectors
from fgbench.models.checkpoints.load import load_checkpoint
from fgbench.models.model import Model
from fgbench.models.vision_transformer import VisionTransformerModel
from fgbench.plugins.registry import is_own
from fgbench.plugins.registry import selectors as registered
from fgbench.results.decoding import decode
from fgbench.results.records import QualityRow
from fgbench.training.context import TrainingContext
from fgbench.training.runs import Finished
from fgbench.training.shared_store import QUALITY

RECORDED_BYTES = 2**30  # most bytes of queries and keys of all blocks that are held at once
LARGEST_BATCH, OTHER_BATCH = 64, 16
TRAINING_FIELDS = ("backbone", "begun_from", "epochs", "weights")  # of a run's row, in every row of a selector
PERTURBED_IMAGES = 64  # number of images that the curves are the mean of, spread over the split


def evaluate_selectors(
    context: TrainingContext, finished: Finished, selectors: Sequence[str] | None, tell: Callable[[int, int], None]
) -> list[QualityRow]:
    """Evaluate selectors on the test images of a finished run. The main process alone calls it.

    Rows that the store has are returned without an evaluation.

    Args:
        context: The data set, the store and the device.
        finished: The run.
        selectors: Names; None for all that are registered.
        tell: Receives the number of images that are done, and the number of all.

    Returns:
        A row per selector; none where the weights of the run are gone, which is reported.
    """
    row, shared_store, test = finished.row, context.shared_store, context.dataset.test
    every = max(1, len(test) // PERTURBED_IMAGES)
    options = QualityOptions(baselines=True, perturbed_images=PERTURBED_IMAGES, perturb_every=every)
    plugins = [name for name in registered.names() if not is_own(name)]
    key = f"{finished.key}:{','.join(selectors or ['all', *plugins])}:{asdict(options)}"
    training: dict[str, Any] = {name: getattr(row, name) for name in TRAINING_FIELDS}
    if (kept := shared_store.get_alone(QUALITY, key)) is not None:
        # Rows of earlier versions lack fields of the training.
        return [decode(QualityRow, {**each, **training, "environment": kept["environment"]}) for each in kept["rows"]]
    checkpoint = Path(row.checkpoint or "")
    if not checkpoint.is_file():
        message = "the weights of a run are gone, and no selector is judged on them:"
        context.on_problem(LeftOutNotice(message, str(checkpoint)))
        return []
    model = finished.config.build(context.dataset.num_classes)
    how = context.request.position_interpolation if context.request.test_only else None
    load_checkpoint(model, checkpoint, weights=row.weights, interpolation=how)
    broken: list[FgbenchError] = []

    def report(problem: FgbenchError) -> None:
        broken.extend([problem] if isinstance(problem, BrokenPluginError) else [])
        context.on_problem(problem)

    quality_rows = judge_selectors(
        model.to(context.device),
        batches(context.dataset, finished.config.image_size, batch_for(model)),
        selectors,
        model_name=row.model,
        dataset=row.dataset,
        on_problem=report,
        seed=row.seed,
        checkpoint=row.checkpoint,
        options=options,
        progress=lambda done: tell(done, len(test)),
    )
    rows = [replace(quality, trained_with=model.selector_name, **training) for quality in quality_rows]
    if not broken:  # a plug-in that is mended is evaluated next time
        shared_store.add(QUALITY, key, {"rows": [each.as_dict() for each in rows]})
    return rows


def batch_for(model: Model) -> int:
    """Number of images in a batch: as many as the memory for their queries and keys allows."""
    if not isinstance(model, VisionTransformerModel):
        return OTHER_BATCH
    encoder = model.encoder
    per_image = 4 * 2 * encoder.depth * encoder.num_tokens * encoder.embed_dim
    return max(1, min(LARGEST_BATCH, RECORDED_BYTES // per_image))


def batches(dataset: DataSet, image_size: int, size: int) -> Iterator[Batch]:
    """Batches of the test images, without those that cannot be read.

    Args:
        dataset: The data set.
        image_size: Side of the network's input, pixels.
        size: Number of images in a batch.

    Yields:
        Images (B, 3, S, S), and boxes of their parts in pixels of them; None in place of these where they are unknown.
    """
    transform, test = eval_transform(dataset, image_size), dataset.test
    images, boxes = [], []
    for index in range(len(test)):
        try:
            picture = test.open(index)
        except Exception:  # decoders raise errors of any type; the test has counted these images
            continue
        images.append(transform(picture))
        boxes.append(_boxes(test.parts(index), (picture.height, picture.width), image_size))
        if len(images) == size:
            yield torch.stack(images), None if None in boxes else [parts for parts in boxes if parts is not None]
            images, boxes = [], []
    if images:
        yield torch.stack(images), None if None in boxes else [parts for parts in boxes if parts is not None]


def _boxes(parts: list[Box] | None, stored: tuple[int, int], image_size: int) -> list[Box] | None:
    return None if parts is None else input_geometry(stored, image_size).to_input(parts)
