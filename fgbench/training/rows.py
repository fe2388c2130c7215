"""What a run becomes: its row, the rows over seeds, what it ran on."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import PartialState

from fgbench.datasets.dataset import DataSet, Split
from fgbench.models.model import Model
from fgbench.results.environment import processor, software
from fgbench.results.predictions import UNREADABLE, PredictionsRow, digest_of_test_set, packed
from fgbench.results.proportions import wilson_of_percent
from fgbench.results.records import AccuracyRow
from fgbench.training.config import TrainingConfig
from fgbench.training.metrics import Predictions
from fgbench.training.state import Progress

Row = dict[str, Any]

# What rows of one summary share.
SAME = ("model", "selector", "dataset", "image_size", "epochs", "backbone", "impl", "num_classes", "flip", "begun_from")


def run_row(
    config: TrainingConfig,
    dataset: DataSet,
    model: Model,
    predictions: Predictions,
    *,
    checkpoint: Path | None,
    weights: str | None = None,
    flip: bool,
    trained: Progress | None = None,
    lr: float | None = None,
    seed: int | None = None,
    begun_from: str | None = None,
) -> AccuracyRow:
    """The row of one run, without its environment; ``trained`` is None where a checkpoint was only tested."""
    seconds = trained.seconds if trained else predictions.seconds
    low, high = wilson_of_percent(predictions.top1_percent, predictions.images)
    return AccuracyRow(
        model=config.model,
        selector=model.selector_name,
        dataset=dataset.name,
        image_size=config.image_size,
        seed=seed,
        lr=lr,
        epochs=config.recipe.epochs if trained else None,
        top1_percent=predictions.top1_percent,
        top5_percent=predictions.top5_percent,
        images=predictions.images,
        seconds=seconds,
        checkpoint=None if checkpoint is None else str(checkpoint),
        best_top1_percent=trained.best_top1_percent if trained else None,
        best_epoch=trained.best_epoch if trained else None,
        backbone=config.backbone or type(model).default_backbone,
        impl=model.impl if model.two_impls else None,
        num_classes=dataset.num_classes,
        train_images=len(dataset.train) if trained else None,
        unreadable_images=len(predictions.unreadable),
        unreadable_train_images=len(trained.unreadable) if trained else 0,
        test_img_s=predictions.images / predictions.seconds if predictions.seconds else None,
        flip=flip,
        begun_from=begun_from,
        weights=weights,
        recipe={**asdict(config.recipe), **config.options} if trained else dict(config.options),
        top1_ci95_low_percent=low,
        top1_ci95_high_percent=high,
    )


def predictions_row(row: AccuracyRow, key: str, split: Split, predictions: Predictions) -> PredictionsRow:
    """The predicted class of every test image of a run, without an environment.

    Args:
        row: The row of the run.
        key: The key of the run in the store.
        split: The test images.
        predictions: Of those that could be read.

    """
    predicted = np.full(len(split), UNREADABLE)
    predicted[predictions.indices] = predictions.ranked[:, 0]
    names = [split.name(index) for index in range(len(split))]
    return PredictionsRow(
        run=key,
        model=row.model,
        selector=row.selector,
        dataset=row.dataset,
        image_size=row.image_size,
        seed=row.seed,
        images=len(split),
        test_set=digest_of_test_set(names, split.targets),
        predicted=packed(predicted),
        targets=packed(split.targets),
    )


def summaries(rows: Sequence[AccuracyRow]) -> list[AccuracyRow]:
    """A row per model and set that was trained with several seeds: mean, standard deviation, the sum of seconds."""
    groups: dict[tuple[Any, ...], list[AccuracyRow]] = {}
    for row in rows:
        if row.seed is not None:
            groups.setdefault(tuple(getattr(row, name) for name in SAME), []).append(row)
    return [_summary(group) for group in groups.values() if len({row.seed for row in group}) > 1]


def _summary(rows: Sequence[AccuracyRow]) -> AccuracyRow:
    def over(name: str, of: Any) -> Any:
        values = [getattr(row, name) for row in rows]
        return None if None in values else of(values)

    first = rows[0]
    shared: dict[str, Any] = {name: getattr(first, name) for name in SAME}
    return AccuracyRow(
        **shared,
        seed=None,
        lr=first.lr if len({row.lr for row in rows}) == 1 else None,
        top1_percent=over("top1_percent", statistics.fmean),
        top5_percent=over("top5_percent", statistics.fmean),
        top1_std_percent=over("top1_percent", statistics.stdev),
        top5_std_percent=over("top5_percent", statistics.stdev),
        images=first.images,
        seconds=over("seconds", sum),
        checkpoint=None,
        best_top1_percent=over("best_top1_percent", statistics.fmean),
        seeds=[row.seed for row in rows if row.seed is not None],
        train_images=first.train_images,
        unreadable_images=max(row.unreadable_images for row in rows),
        unreadable_train_images=max(row.unreadable_train_images for row in rows),
        test_img_s=over("test_img_s", statistics.fmean),
        recipe=first.recipe,
        environment=first.environment,
    )


def facts(mixed_precision: str) -> Mapping[str, Any]:
    """What models are trained on and with."""
    state = PartialState()
    return {
        **software(),
        **processor(),
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "device": state.device.type,
        "device_name": torch.cuda.get_device_name(state.device) if state.device.type == "cuda" else None,
        "threads": torch.get_num_threads(),
        "processes": state.num_processes,
        "mixed_precision": mixed_precision,
    }
