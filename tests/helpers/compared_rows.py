"""Rows of runs with predictions per image, drawn from models whose true accuracy is known."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from fgbench.results.predictions import PredictionsRow, digest_of_test_set, packed
from fgbench.results.records import AccuracyRow
from fgbench_reports.data import Data
from fgbench_reports.statistics import Answers

CLASSES = 20


def predicted(model: str, seed: int | None, classes: Sequence[int], targets: Sequence[int], **fields) -> PredictionsRow:
    names = [f"image {index}" for index in range(len(targets))]
    values = {
        "run": f"{model}{seed}",
        "model": model,
        "selector": None,
        "dataset": "synthetic",
        "image_size": 96,
        "seed": seed,
        "images": len(targets),
        "test_set": digest_of_test_set(names, targets),
        "predicted": packed(classes),
        "targets": packed(targets),
    }
    return PredictionsRow(**{**values, **fields})


def run(model: str, seed: int | None, marks: Sequence[int], **fields) -> tuple[AccuracyRow, PredictionsRow]:
    """A run with so many test images: 1 for a right answer, 0 for a wrong one, -1 where it could not be read."""
    targets = np.arange(len(marks)) % CLASSES
    known = np.array(marks)
    classes = np.where(known < 0, -1, np.where(known == 1, targets, (targets + 1) % CLASSES))
    values = {
        "model": model,
        "selector": None,
        "dataset": "synthetic",
        "image_size": 96,
        "seed": seed,
        "lr": 0.001,
        "epochs": 24,
        "top1_percent": 100 * float((known == 1).sum() / max((known >= 0).sum(), 1)),
        "top5_percent": None,
        "images": int((known >= 0).sum()),
        "seconds": 60.0,
        "checkpoint": None,
        "backbone": "test_vit",
        "num_classes": CLASSES,
        "train_images": 2000,
        "begun_from": "random",
        "recipe": {"epochs": 24, "batch_size": 32},
        "run": f"{model}{seed}",
        "environment": {"device": "cpu"},
    }
    row = AccuracyRow(**{**values, **fields})
    return row, predicted(model, seed, classes.tolist(), targets.tolist(), run=row.run)


def data_of(*runs: tuple[AccuracyRow, PredictionsRow], kept: bool = True) -> Data:
    return Data(accuracy=[row for row, _ in runs], predictions=[row for _, row in runs] if kept else [])


def drawn(
    draw: np.random.Generator,
    accuracies: Sequence[float],
    *,
    tables: int,
    seeds: int,
    images: int = 400,
    seed_deviation: float,
    shared: float = 0.0,
) -> NDArray[np.int8]:
    """Marks (tables, models, seeds, images) of models with these true accuracies.

    An answer is right where the sum of four normal numbers is positive: of the image (the same for all models), of the
    image and the model, of the run, and of the answer. The accuracy of a run deviates by ``seed_deviation`` around the
    model's, a share of images; ``shared`` is the correlation of runs of the same seed.
    """
    models = len(accuracies)
    of_image = draw.normal(size=(tables, 1, 1, images))
    of_model = draw.normal(scale=0.6, size=(tables, models, 1, images))
    middle = ndtri(float(np.mean(accuracies)))
    others = np.sqrt(2 + 0.6**2)
    scale = seed_deviation * others / (np.exp(-(middle**2) / 2) / np.sqrt(2 * np.pi))
    of_seed = np.sqrt(shared) * draw.normal(size=(tables, 1, seeds, 1))
    of_seed = scale * (of_seed + np.sqrt(1 - shared) * draw.normal(size=(tables, models, seeds, 1)))
    mean = ndtri(np.array(accuracies))[:, None, None] * np.sqrt(others**2 + scale**2)
    answer = draw.normal(size=(tables, models, seeds, images))
    return (mean + of_image + of_model + of_seed + answer > 0).astype(np.int8)


def answers_of(marks: NDArray[np.int8], seeds: Sequence[int] | None = None) -> list[Answers]:
    """Marks (seeds, images) of one model as answers."""
    numbers = range(len(marks)) if seeds is None else seeds
    return [
        Answers(seed=seed, top1_percent=100 * float(one.mean()), marks=one, test_set="the same")
        for seed, one in zip(numbers, marks, strict=True)
    ]


def tables_of(marks: NDArray[np.int8]) -> Iterator[list[list[Answers]]]:
    """The answers of every model, table by table."""
    for table in marks:
        yield [answers_of(model) for model in table]
