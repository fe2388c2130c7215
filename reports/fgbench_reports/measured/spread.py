"""How far repeats of a point lie apart: the table, its notes, and the figures."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from statistics import median
from typing import Any

from fgbench.results.records import ThroughputRow
from fgbench_reports.data import Row, group_by, records
from fgbench_reports.sweep_rows import (
    by_environment,
    by_series,
    common_title,
    environment_notes,
    label_lines,
    mode_name,
    on_lines,
    places_of,
    reason_notes,
    shown_sizes,
    sites_of,
    status_word,
    varying_fields,
)
from fgbench_reports.tables.column import MISSING, Cell, figure, word
from fgbench_reports.tables.numbers import milliseconds, short_percent
from fgbench_reports.tables.render import RowTables
from fgbench_reports.tables.table import Layout, Table

LATENCY = "latency ms"
COLOURED = (LATENCY, "spread %", "intervals")  # where repeats lie more than 1 % apart


def spread_tables(rows: Sequence[Row]) -> RowTables:
    """How far repeats lie apart, for a terminal. Programs and documents have it in the rows themselves.

    Args:
        rows: Rows of throughput.

    """
    timed = [row for row in records(ThroughputRow, rows) if row.part is None]
    return RowTables(rows=[], narrow=[spread_table(timed)], wide=[], notes=spread_notes(timed))


def spread_table(rows: Sequence[ThroughputRow]) -> Table:
    """Per point the latencies of its repeats, how far they lie apart, and whether their intervals overlap."""
    repeated = [row for row in rows if row.repeat is not None]
    environments, varying = by_environment(repeated), varying_fields(repeated)
    one = [mode_name(key, environments) for key in environments if len(environments) == 1]
    failed = any(not row.status.is_ok for row in repeated)
    headings = ["model", "size", "batch", *COLOURED, *(["status"] if failed else [])]
    width = max((len(milliseconds(row.latency_s)) for row in repeated), default=0)
    lines: list[dict[str, Cell]] = []
    styles: dict[tuple[int, str], str] = {}
    block_ends = []
    for key, ordered in by_series(repeated):
        points = _by_point(ordered)
        labels = label_lines(ordered[0][0], varying)
        labels += [f" {mode_name(key, environments)}"] if len(environments) > 1 else []
        for label, size, point in zip(on_lines(labels, len(points)), shown_sizes(points), points, strict=True):
            spread, first = _spread(point), point[0]
            if spread is not None and spread > 1:
                styles |= {(len(lines), heading): "yellow" for heading in COLOURED}
            latencies = [row.latency_s for row in point]
            line = {"model": Cell(first.model, label), "size": Cell(first.image_size, size)}
            line |= {"batch": word(first.batch_size), "spread %": figure(spread, short_percent)}
            line |= {LATENCY: Cell(latencies, " ".join(milliseconds(seconds).rjust(width) for seconds in latencies))}
            line |= {"intervals": word(_overlap(point))}
            statuses = [status_word(row) for row in point if not row.status.is_ok]
            line |= {"status": word(", ".join(dict.fromkeys(statuses)))}
            lines.append(line)
        block_ends.append(len(lines) - 1)
    layout = Layout(styles=styles, block_ends=block_ends, wrapped=(LATENCY,))
    title = common_title(repeated, "repeats", *one)
    names = ("model", "intervals", "status")
    return Table.from_cells("spread", title, lines, names=names, headings=headings, layout=layout)


def spread_notes(rows: Sequence[ThroughputRow]) -> list[str]:
    """The spread over all points, what the columns are, and the points that have none."""
    repeated = [row for row in rows if row.repeat is not None]
    if not repeated:
        return ["No row was measured repeatedly: there is no spread to tell."]
    summary, notes = spread_summary(rows), []
    if summary["points"]:
        middle, largest = short_percent(summary["median_percent"]), short_percent(summary["largest_percent"])
        within = f"{summary['within_1_percent']} of {summary['points']}"
        notes.append(f"Spread: median {middle} %, largest {largest} %; points within 1 %: {within}.")
    notes.append(
        "latency: of one batch, a figure per repeat; spread: the slowest over the fastest, less 1; intervals: whether "
        "the repeats' 95 % intervals have a value in common."
    )
    lacking = [point[0] for point in _points(repeated) if _spread(point) is None]
    if lacking:
        notes.append(f"No spread, for want of two figures: {places_of(lacking, sites_of(rows))}.")
    return [*notes, *reason_notes(repeated), *environment_notes(repeated)]


def spread_summary(rows: Sequence[ThroughputRow]) -> dict[str, Any]:
    """Over all points: how many have a spread, its median and largest in percent, how many stay within 1 %."""
    points = _points([row for row in rows if row.repeat is not None])
    spreads = [spread for point in points if (spread := _spread(point)) is not None]
    return {
        "points": len(spreads),
        "points_without_spread": len(points) - len(spreads),
        "median_percent": median(spreads) if spreads else None,
        "largest_percent": max(spreads, default=None),
        "within_1_percent": sum(spread <= 1 for spread in spreads),
        "overlapping": sum(_overlap(point) == "overlap" for point in points),
    }


def _points(rows: Sequence[ThroughputRow]) -> list[list[ThroughputRow]]:
    return [point for _, ordered in by_series(rows) for point in _by_point(ordered)]


def _by_point(ordered: Iterable[tuple[ThroughputRow, bool]]) -> list[list[ThroughputRow]]:
    return list(group_by([row for row, _ in ordered], "image_size", "batch_size").values())


def _spread(point: Sequence[ThroughputRow]) -> float | None:
    """The slowest repeat over the fastest, less 1, in percent."""
    latencies = [row.latency_s for row in point if row.latency_s]
    return (max(latencies) / min(latencies) - 1) * 100 if len(latencies) > 1 else None


def _overlap(point: Sequence[ThroughputRow]) -> str:
    ends = [(row.latency_ci95_low_s, row.latency_ci95_high_s) for row in point]
    bounds = [(low, high) for low, high in ends if low and high is not None]
    if len(bounds) < 2:
        return MISSING
    return "overlap" if max(low for low, _ in bounds) <= min(high for _, high in bounds) else "apart"
