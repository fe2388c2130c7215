"""How far repeats of a point lie apart: a table, its notes, and the figures."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from statistics import median
from typing import TYPE_CHECKING, Any

from fgbench_reports.cost_table import Row, grouped
from fgbench_reports.sweep_rows import (
    by_contender,
    by_mode,
    common_title,
    empty_table,
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
from fgbench_reports.tables.numbers import milliseconds, short_percent

if TYPE_CHECKING:
    from rich.table import Table


def spread_table(rows: Sequence[Row]) -> Table:
    """Per point the latencies of its repeats, how far they lie apart, and whether their intervals overlap."""
    from rich.text import Text

    repeated = [row for row in rows if row.get("repeat") is not None]
    modes, varying = by_mode(repeated), varying_fields(repeated)
    title = common_title(repeated, "repeats", *(mode_name(mode, modes) for mode in modes if len(modes) == 1))
    failed = any(row["status"] != "ok" for row in repeated)
    right = ("size", "batch", "latency ms", "spread %")
    table = empty_table(title, ("model", *right, "intervals", *(["status"] if failed else [])), right)
    width = max((len(milliseconds(row["latency_s"])) for row in repeated), default=0)
    for mode, ordered in by_contender(repeated):
        points = _by_point(ordered)
        labels = [*label_lines(ordered[0][0], varying), *([f" {mode_name(mode, modes)}"] if len(modes) > 1 else [])]
        for label, size, point in zip(on_lines(labels, len(points)), shown_sizes(points), points, strict=True):
            spread = _spread(point)
            latencies = " ".join(milliseconds(row["latency_s"]).rjust(width) for row in point)
            cells = [label, size, str(point[0]["batch_size"]), latencies, short_percent(spread), _overlap(point)]
            if failed:
                cells.append(", ".join(dict.fromkeys(status_word(row) for row in point if row["status"] != "ok")))
            colour = "yellow" if spread is not None and spread > 1 else ""
            table.add_row(*(Text(cell, colour if 3 <= index <= 5 else "") for index, cell in enumerate(cells)))
        table.add_section()
    return table


def spread_notes(rows: Sequence[Row]) -> list[str]:
    """The spread over all points, what the columns are, and the points that have none."""
    repeated = [row for row in rows if row.get("repeat") is not None]
    if not repeated:
        return ["No row was measured repeatedly: there is no spread to tell."]
    found, notes = spread_summary(rows), []
    if found["points"]:
        middle, largest = short_percent(found["median_percent"]), short_percent(found["largest_percent"])
        within = f"{found['within_1_percent']} of {found['points']}"
        notes.append(f"Spread: median {middle} %, largest {largest} %; points within 1 %: {within}.")
    notes.append(
        "latency: of one batch, a figure per repeat; spread: the slowest over the fastest, less 1; intervals: whether "
        "the repeats' 95 % intervals have a value in common."
    )
    lacking = [point[0] for point in _points(repeated) if _spread(point) is None]
    if lacking:
        notes.append(f"No spread, for want of two figures: {places_of(lacking, sites_of(rows))}.")
    return [*notes, *reason_notes(repeated), *environment_notes(repeated)]


def spread_summary(rows: Sequence[Row]) -> dict[str, Any]:
    """Over all points: how many have a spread, its median and largest in percent, how many stay within 1 %."""
    points = _points([row for row in rows if row.get("repeat") is not None])
    spreads = [spread for point in points if (spread := _spread(point)) is not None]
    return {
        "points": len(spreads),
        "points_without_spread": len(points) - len(spreads),
        "median_percent": median(spreads) if spreads else None,
        "largest_percent": max(spreads, default=None),
        "within_1_percent": sum(spread <= 1 for spread in spreads),
        "overlapping": sum(_overlap(point) == "overlap" for point in points),
    }


def _points(rows: Sequence[Row]) -> list[list[Row]]:
    return [point for _, ordered in by_contender(rows) for point in _by_point(ordered)]


def _by_point(ordered: Iterable[tuple[Row, bool]]) -> list[list[Row]]:
    return list(grouped([row for row, _ in ordered], "image_size", "batch_size").values())


def _spread(point: Sequence[Row]) -> float | None:
    """The slowest repeat over the fastest, less 1, in percent."""
    latencies = [row["latency_s"] for row in point if row["latency_s"]]
    return (max(latencies) / min(latencies) - 1) * 100 if len(latencies) > 1 else None


def _overlap(point: Sequence[Row]) -> str:
    bounds = [(row["latency_ci95_low_s"], row["latency_ci95_high_s"]) for row in point if row["latency_ci95_low_s"]]
    if len(bounds) < 2:
        return "–"
    return "overlap" if max(low for low, _ in bounds) <= min(high for _, high in bounds) else "apart"
