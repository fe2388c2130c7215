"""Rows of selection quality by training, and words that tell trainings apart."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from fgbench.results.records import AccuracyRow, QualityRow
from fgbench.results.shipped import BEGUN_FROM
from fgbench_reports.sweep_rows import as_text
from fgbench_reports.tables.numbers import how_many

JUDGED = (
    "selector",
    "checkpoint",
    "images",
    "perturbed_images",
    "top_k",
)  # fields of one judgement


class Training(NamedTuple):
    """The fields that all seeds of one training share; None where rows lack them."""

    model: str
    trained_with: str | None
    dataset: str
    image_size: int
    backbone: str | None
    begun_from: str | None
    epochs: int | None
    weights: str | None  # of several sets in a file that was only tested


def by_training(rows: Iterable[QualityRow]) -> dict[Training, list[QualityRow]]:
    """Group rows by training; all seeds of a training are in one group."""
    groups: dict[Training, list[QualityRow]] = {}
    for row in rows:
        values: list[Any] = [getattr(row, name) for name in Training._fields]
        groups.setdefault(Training(*values), []).append(row)
    return groups


def each_judged_once(rows: Sequence[QualityRow]) -> list[QualityRow]:
    """Leave out rows of a selector that was judged again on the same seed.

    Args:
        rows: Rows of quality.

    Returns:
        The last row of each selector, training and seed, and all rows without a seed.

    """
    keyed = [((*(getattr(row, name) for name in (*Training._fields, *JUDGED)), row.seed), row) for row in rows]
    last = {key: row for key, row in keyed if row.seed is not None}
    return [row for key, row in keyed if last.get(key, row) is row]


def telling_words(one: Training, others: Iterable[Training]) -> list[str]:
    """The fields in which a training differs from others of its model, selector, data set and size, in words."""
    alike = [other for other in others if other[:4] == one[:4]]
    words = [("backbone", as_text(one.backbone or "unknown backbone")), ("begun_from", _start(one.begun_from))]
    words.append(("epochs", "unknown epochs" if one.epochs is None else how_many(one.epochs, "epoch")))
    words.append(("weights", f"weights {as_text(one.weights)}"))
    return [word for field, word in words if _differ(field, alike)]


def is_of_training(row: QualityRow, run: AccuracyRow) -> bool:
    """Whether a row of quality fits a run: no field that it has differs from that of the run."""
    return all(
        getattr(row, name) in (None, getattr(run, name)) for name in ("backbone", "begun_from", "epochs", "weights")
    )


def _differ(field: str, trainings: Sequence[Training]) -> bool:
    values: set[Any] = {getattr(one, field) for one in trainings}
    return len(values) > 1


def _start(begun_from: str | None) -> str:
    return "unknown start" if begun_from is None else start_in_words(begun_from)


def start_in_words(begun_from: str) -> str:
    """What a training began from: random weights, those that are shipped, timm's, or a file."""
    words = {"random": "from scratch", BEGUN_FROM: "from the shipped weights"}
    return words.get(begun_from, f"begun from {as_text(begun_from)}")
