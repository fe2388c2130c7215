"""Parts of the paper's data sets: a run on one is a data set of its own, called ``cub, 20 of 200 classes``."""

from __future__ import annotations

from functools import cache

from fgbench_reports.data import Row
from fgbench_reports.published import misprints_table9, table9

COUNTS = {"classes": "classes", "test_images": "test images"}  # of Table 9, in words


def tested_on(row: Row) -> str:
    """The data set of a row of accuracy, and how much of it was tested where that is less than Table 9 counts."""
    images = row["images"] + (row.get("unreadable_images") or 0)
    for what, count in (("classes", row.get("num_classes")), ("test_images", images)):
        whole = _whole().get((row["dataset"], what))
        if whole is not None and count is not None and count < whole:
            return f"{row['dataset']}, {count:,} of {whole:,} {COUNTS[what]}"
    return str(row["dataset"])


def without_part(name: str) -> str:
    """The data set that :func:`tested_on` names a part of; any other name as it is."""
    dataset, apart, told = name.partition(", ")
    is_part = apart and any(dataset == known and told.endswith(f" {COUNTS[what]}") for known, what in _whole())
    return dataset if is_part else name


@cache
def _whole() -> dict[tuple[str, str], int]:
    """(data set, what) → how many there are at least: of a misprint and its correction the smaller."""
    counts = {(row["dataset"], what): int(row[what]) for row in table9() for what in COUNTS}
    for row in misprints_table9():
        key = (row["dataset"], row["field"])
        counts[key] = min(counts[key], int(row["correct"]))
    return counts
