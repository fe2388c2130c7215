"""The plan of a study, for ``--dry-run``: runs, time, disk, money."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fgbench_reports.data import Row
from fgbench_reports.tables.column import Column
from fgbench_reports.tables.numbers import how_many, with_prefix
from fgbench_reports.tables.render import RowTables
from fgbench_reports.tables.table import Table


def duration(seconds: float) -> str:
    """``40 s``, ``12 min``, ``3.4 h``, ``2.1 days``."""
    for size, unit, limit in ((1, "s", 100), (60, "min", 6000), (3600, "h", 172_800)):
        if seconds < limit:
            return f"{seconds / size:.{0 if size < 3600 else 1}f} {unit}"
    return f"{seconds / 86_400:.1f} days"


COLUMNS = (
    Column("dataset", "dataset", is_name=True),
    Column("condition", "condition", is_name=True),
    Column("runs", "runs"),
    Column("finished", "finished"),
    Column("rates", "rates_to_search", note="rates: learning rates that are searched first"),
    Column("epochs", "epochs"),
    Column("FLOPs", "flops", with_prefix, unit="FLOP"),
    Column("a run", "seconds_per_run", duration, unit="s"),
    Column("left", "seconds", duration, unit="s"),
)


def plan_tables(rows: Sequence[Row], totals: Mapping[str, Any]) -> RowTables:
    """The plan of a study as each format shows it.

    Args:
        rows: A row per condition.
        totals: Of the study.

    """
    columns = [column for column in COLUMNS if column.heading != "rates" or any(row["rates_to_search"] for row in rows)]
    notes = [_sentence(totals), "Times are those of two short epochs of each condition, taken now."]
    notes += [f"{column.note}." for column in columns if column.note]
    title = f"Plan of {totals['study']}"
    table = Table.from_rows("plan", title, columns, rows, marked=False, notes=notes)
    return RowTables(rows=[*rows, {"total": True, **totals}], narrow=[table], wide=[table], notes=notes)


def _sentence(totals: Mapping[str, Any]) -> str:
    left = totals["runs"] - totals["finished"]
    words = [f"{how_many(totals['runs'], 'run')}, {totals['finished']} of them finished"]
    if left:
        seconds = totals["seconds"]
        at_once = f", {totals['jobs']} at once" if totals["jobs"] > 1 else ""
        words.append("no time is known" if seconds is None else f"about {duration(seconds)}{at_once}")
        words.append(f"up to {with_prefix(totals['disk_bytes'])}B on disk")
    if totals["price"] is not None:
        words.append(f"about {totals['price']:.2f} of money")
    return "; ".join(words) + "."
