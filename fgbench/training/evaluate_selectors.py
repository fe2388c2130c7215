"""What every selector finds on a trained model, as a row each in the store."""

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
from fgbench.models.vit import VisionTransformerModel
from fgbench.plugins.registry import is_own
from fgbench.plugins.registry import selectors as registered
from fgbench.training.context import TrainingContext
from fgbench.training.rows import Row
from fgbench.training.runs import Finished
from fgbench.training.shared_store import QUALITY

RECORDED_BYTES = 2**30  # queries and keys of all blocks that are held at once
LARGEST_BATCH, OTHER_BATCH = 64, 16
TRAINING = ("backbone", "begun_from", "epochs", "weights")  # of a run, in every row that is judged on it
PERTURBED = 64  # images that the curves are taken of, spread over the split


def judge(
    session: TrainingContext, finished: Finished, selectors: Sequence[str] | None, tell: Callable[[int, int], None]
) -> list[Row]:
    """Judge selectors on the test images of a finished run, on the main process alone, unless it was done before.

    ``tell`` is told how many images of how many are done. A run whose weights are gone is reported and has no rows.
    """
    row, shared_store = finished.row, session.shared_store
    test = session.dataset.test
    options = QualityOptions(baselines=True, perturbed_images=PERTURBED, perturb_every=max(1, len(test) // PERTURBED))
    others = [name for name in registered.names() if not is_own(name)]  # a plug-in is one more to judge
    key = f"{finished.key}:{','.join(selectors or ['all', *others])}:{asdict(options)}"
    training = {name: row.get(name) for name in TRAINING}
    if (kept := shared_store.get_alone(QUALITY, key)) is not None:
        return [{**each, **training} for each in kept["rows"]]  # those from before a field was there lack it
    checkpoint = Path(row["checkpoint"])
    if not checkpoint.is_file():
        session.on_problem(
            LeftOutNotice("the weights of a run are gone, and no selector is judged on them:", str(checkpoint))
        )
        return []
    model = finished.config.build(session.dataset.num_classes)
    how = session.request.position_interpolation if session.request.test_only else None
    load_checkpoint(model, checkpoint, weights=row.get("weights"), interpolation=how)
    broken: list[FgbenchError] = []

    def report(problem: FgbenchError) -> None:
        broken.extend([problem] if isinstance(problem, BrokenPluginError) else [])
        session.on_problem(problem)

    found = judge_selectors(
        model.to(session.device),
        batches(session.dataset, finished.config.image_size, batch_for(model)),
        selectors,
        model_name=row["model"],
        dataset=row["dataset"],
        on_problem=report,
        seed=row["seed"],
        checkpoint=row["checkpoint"],
        options=options,
        progress=lambda done: tell(done, len(test)),
    )
    rows: list[dict[str, Any]] = [
        {**replace(each, trained_with=model.selector_name).as_dict(), **training} for each in found
    ]
    if not broken:  # what is mended is judged next time
        shared_store.add(QUALITY, key, {"rows": rows})
    return rows


def batch_for(model: Model) -> int:
    """How many images are judged at once: as many as their queries and keys leave room for."""
    if not isinstance(model, VisionTransformerModel):
        return OTHER_BATCH
    encoder = model.encoder
    per_image = 4 * 2 * encoder.depth * encoder.num_tokens * encoder.embed_dim
    return max(1, min(LARGEST_BATCH, RECORDED_BYTES // per_image))


def batches(dataset: DataSet, image_size: int, size: int) -> Iterator[Batch]:
    """The test images as a network reads them, with the boxes of their parts; unreadable ones are left out."""
    transform, test = eval_transform(dataset, image_size), dataset.test
    images, boxes = [], []
    for index in range(len(test)):
        try:
            picture = test.open(index)
        except Exception:  # decoders raise whatever they trip over; the test has counted them
            continue
        images.append(transform(picture))
        boxes.append(_boxes(test.parts(index), (picture.height, picture.width), image_size))
        if len(images) == size:
            yield torch.stack(images), None if None in boxes else [found for found in boxes if found is not None]
            images, boxes = [], []
    if images:
        yield torch.stack(images), None if None in boxes else [found for found in boxes if found is not None]


def _boxes(parts: list[Box] | None, stored: tuple[int, int], image_size: int) -> list[Box] | None:
    return None if parts is None else input_geometry(stored, image_size).to_input(parts)
