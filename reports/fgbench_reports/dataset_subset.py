"""Parts of the paper's data sets: a run on one is a data set of its own, called ``cub, 20 of 200 classes``."""

from __future__ import annotations

from functools import cache

from fgbench.results.records import AccuracyRow
from fgbench_reports.published import misprints_table9, table9

COUNTS = {"classes": "classes", "test_images": "test images"}  # of Table 9, in words


def tested_on(row: AccuracyRow) -> str:
    """The data set that a run was tested on, by its name in tables.

    Args:
        row: A run.

    Returns:
        The name of the data set. Where the test has fewer classes or images than Table 9 counts, their number follows.

    """
    images = row.images + (row.unreadable_images or 0)
    for field, count in (("classes", row.num_classes), ("test_images", images)):
        whole = _whole().get((row.dataset, field))
        if whole is not None and count is not None and count < whole:
            return f"{row.dataset}, {count:,} of {whole:,} {COUNTS[field]}"
    return row.dataset


def without_part(name: str) -> str:
    """The data set behind a name of :func:`tested_on`; any other name as it is."""
    dataset, comma, rest = name.partition(", ")
    is_part = comma and any(dataset == known and rest.endswith(f" {COUNTS[field]}") for known, field in _whole())
    return dataset if is_part else name


@cache
def _whole() -> dict[tuple[str, str], int]:
    """(data set, field) → its number in Table 9; the smaller one of a misprint and its correction."""
    counts = {(row["dataset"], field): int(row[field]) for row in table9() for field in COUNTS}
    for row in misprints_table9():
        key = (row["dataset"], row["field"])
        counts[key] = min(counts[key], int(row["correct"]))
    return counts
