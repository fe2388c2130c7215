"""Tables of ``fgbench choose``: the front, the limits that rule configurations out, the nearest misses."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from fgbench.results.rows import PERCENTS, percentile_field
from fgbench_reports.choose.bounds import (
    NO_UPPER_END,
    Bounds,
    accuracy_bounds,
    latency_bounds,
    tail_bounds,
    throughput_bounds,
)
from fgbench_reports.choose.choice import ACCURACY, Choice, Verdict, counts, nearest_misses
from fgbench_reports.choose.choice_advice import basis_notes, doubt_notes, ends_text, unknown_notes
from fgbench_reports.choose.configurations import PUBLISHED
from fgbench_reports.choose.limits import Breach, cost_bounds, device_name, top1_of
from fgbench_reports.hour_price import price_notes_of, prices_in_words
from fgbench_reports.price import (
    COST,
    DAGGER,
    ENERGY,
    HOURS,
    PUBLISHED_IN,
    hours_per_million,
    kwh_per_million,
    measured_on,
    top1_text,
)
from fgbench_reports.sweep_rows import (
    LOADS,
    SERIES,
    as_text,
    common_title,
    label_lines,
    status_word,
    varying_fields,
)
from fgbench_reports.tables.numbers import gigabytes, how_many, img_per_s, milliseconds, significant
from fgbench_reports.tables.render import RowTables, render
from fgbench_reports.tables.table import Layout, Table
from fgbench_reports.tables.terminal import table_of_lines

if TYPE_CHECKING:
    import pandas as pd
    from rich.table import Table as RichTable

Line = dict[str, str]

# Fields of a row of throughput that stand beside the verdict.
FIELDS = (
    *("model", "selector", "impl", "backbone", "image_size", "batch_size", "device", "dtype", "compiled"),
    *("status", "reason", "throughput_img_s", "latency_s", "latency_ci95_low_s", "latency_ci95_high_s"),
    *map(percentile_field, PERCENTS),
    *("peak_memory_allocated_bytes", "device_memory_bytes", "energy_j_per_image", "mfu"),
)
NAMES = (
    *("model", "selector", "impl", "backbone", "status", "on"),
    *("limit", "nearest miss", "misses", "configuration", "why"),
)
TOP1_ENDS, LATENCY_ENDS = "top-1 from–to", "ms from–to"
MAX_UNCERTAIN = 20  # lines of a table; a note counts the others
STATUSES = {
    "unconverged": "unconverged: the interval of the latency is wider than it should be",
    "contended": "contended: something else used the device",
}


def choice_rows(choice: Choice) -> list[dict[str, object]]:
    """A row per configuration for programs, the cheapest first, with its verdict and why."""
    rows = []
    for verdict in choice.verdicts:
        point, accuracy = verdict.configuration, verdict.configuration.accuracy
        rows.append(
            {name: point.row[name] for name in FIELDS}
            | {"engine": point.row.engine, **{name: point.row.environment.get(name) for name in LOADS}}
            | {"memory_bytes": point.memory_bytes, "device_name": device_name(point), "mode": point.mode_name}
            | {"dataset": choice.dataset, "top1_percent": top1_of(point)}
            | {"accuracy_source": None if accuracy is None else accuracy.source}
            | {"hours_per_million": hours_per_million(point.img_s), "cost_per_million": verdict.cost_per_million}
            | {"kwh_per_million": kwh_per_million(point.energy_j)}
            | {"pareto": verdict.pareto, "satisfies": verdict.satisfies}
            | {"ruled_out_by": _texts([*verdict.breaches, *verdict.doubts])}
            | {"verdict": verdict.word, "uncertain_about": _texts(verdict.doubts)}
            | _judged_ends(verdict, choice)
        )
    return rows


def _texts(breaches: Sequence[Breach]) -> list[str]:
    return [f"{breach.option}: {breach.told}" for breach in breaches]


def _judged_ends(verdict: Verdict, choice: Choice) -> dict[str, float | int | None]:
    """The ends that limits and the front are judged by; None where there is no interval, or it has no end."""
    point, price, percent = verdict.configuration, choice.gpu_hour_price, choice.percentile
    accuracy = None if point.accuracy is None else accuracy_bounds(point.accuracy)
    figures = {"top1{}_percent": accuracy, "latency{}_s": latency_bounds(point)}
    figures |= {} if percent is None else {f"latency_p{percent}{{}}_s": tail_bounds(point, percent)}
    figures |= {"throughput{}_img_s": throughput_bounds(point)}
    figures |= {"cost_per_million{}": None if price is None else cost_bounds(point, price)}
    ends: dict[str, float | int | None] = {}
    for name, bounds in figures.items():
        known = bounds is not None and bounds.known
        for end in ("low", "high"):
            value = getattr(bounds, end) if known else None
            ends[name.format(f"_{end}")] = value if value is not None and math.isfinite(value) else None
    runs, images = (point.accuracy.runs, point.accuracy.images) if point.accuracy else (None, None)
    return {**ends, "accuracy_runs": runs, "accuracy_images": images, "latency_repeats": len(point.repeats) or 1}


def choice_frame(choice: Choice) -> pd.DataFrame:
    """The front as printed cells, a line per configuration, the cheapest first."""
    import pandas as pd

    return pd.DataFrame(
        [
            {name: as_text(verdict.configuration.row[name]) for name in SERIES} | cells
            for verdict, cells in _chosen_lines(choice)
        ]
    )


def limits_frame(choice: Choice) -> pd.DataFrame:
    """Per limit the number of configurations that it rules out, and of those that no other limit rules out."""
    import pandas as pd

    return pd.DataFrame(list(_limit_lines(choice)))


def misses_frame(choice: Choice) -> pd.DataFrame:
    """Per model the nearest miss: its size and batch, and the limits that it misses."""
    import pandas as pd

    return pd.DataFrame(list(_miss_lines(choice)))


def uncertain_frame(choice: Choice) -> pd.DataFrame:
    """The configurations that are too uncertain to judge, and why."""
    import pandas as pd

    return pd.DataFrame(list(_uncertain_lines(choice)))


def choice_tables(choice: Choice, *, wide: bool = True) -> RowTables:
    """The configurations of ``fgbench choose`` as each format shows them.

    The front, those too uncertain to tell, what rules others out, and the nearest misses: a table each, without those
    that have no line.

    Args:
        choice: The verdicts on all configurations.
        wide: Whether the tables of documents are made, which takes pandas.

    """
    notes = choice_notes(choice)
    tables = _wide(choice, notes) if wide else []
    return RowTables(rows=choice_rows(choice), narrow=list(_narrow(choice)), wide=tables, notes=notes)


def _wide(choice: Choice, notes: Sequence[str]) -> list[Table]:
    makers = (choice_frame, uncertain_frame, limits_frame, misses_frame)
    frames = [frame for make in makers if len(frame := make(choice))]
    tables = [Table.from_text("choice", "", frame, names=NAMES) for frame in frames]
    return [*tables[:-1], *(replace(table, notes=notes) for table in tables[-1:])]


def _narrow(choice: Choice) -> Iterator[RichTable]:
    if choice.chosen:
        yield _front_table(choice)
    limits, misses = list(_limit_lines(choice)), list(_miss_lines(choice))
    if uncertain := list(_uncertain_lines(choice)):
        yield _table("Too uncertain to tell whether they keep the limits, the cheapest first", uncertain)
    if limits:
        yield _table("What rules the others out", limits)
    if misses:
        yield _table("The nearest miss of every model", misses)


def choice_notes(choice: Choice) -> list[str]:
    """Notes below the tables: objectives, data set, prices, environments."""
    points = [verdict.configuration for verdict in choice.chosen]
    notes = [_summary(choice)]
    if points:
        better = ", ".join(choice.objectives)
        among = "that keeps the limits " if choice.limits else ""
        notes.append(
            f"On the front: no other one {among}is certainly at least as good in {better}, and certainly better in one."
        )
    notes += doubt_notes(choice)
    left = len(choice.uncertain) - MAX_UNCERTAIN
    if left > 0:
        notes.append(f"{how_many(left, 'more configuration')} too uncertain to tell: --format json lists them all.")
    notes += basis_notes(choice)
    if ACCURACY in choice.objectives:
        notes.append(f"top-1: on {as_text(choice.dataset)}, taken to be the same in every dtype and implementation.")
    if any(point.accuracy and point.accuracy.source == PUBLISHED for point in points):
        notes.append(f"{DAGGER} published, not measured here: {PUBLISHED_IN}.")
    notes += unknown_notes(choice)
    if choice.gpu_hour_price is not None:
        notes.append(f"cost: of a million images {prices_in_words(choice.gpu_hour_price)}.")
        notes += price_notes_of(choice.gpu_hour_price, (verdict.configuration for verdict in choice.verdicts))
    if any(point.row.device == "cpu" for point in points):
        notes.append("On a CPU hours and price are those of one process with its threads, GB is its resident set.")
    if len({point.mode for point in points}) > 1:
        notes.append("The lines come from different environments, which the column 'on' tells apart.")
    met = {verdict.configuration.row.status for verdict in (*choice.chosen, *choice.uncertain[:MAX_UNCERTAIN])}
    notes += [f"{words}." for status, words in STATUSES.items() if status in met]
    return [*notes, *measured_on([point.row for point in points])]


def _summary(choice: Choice) -> str:
    kept, open_, shown = len(choice.satisfying), len(choice.uncertain), len(choice.chosen)
    told = how_many(len(choice.verdicts), "configuration")
    if choice.limits:
        doubtful = f", {open_} {'is' if open_ == 1 else 'are'} too uncertain to tell" if open_ else ""
        told += f", of which the limits together rule out {len(choice.ruled_out)}{doubtful} and {kept} keep them all"
    return f"{told}; {shown} on the front."


def _chosen_lines(choice: Choice) -> Iterator[tuple[Verdict, Line]]:
    """Every figure of the front as it is printed; columns that nothing fills are left out."""
    points = [verdict.configuration for verdict in choice.chosen]
    energy = any(point.energy_j is not None for point in points)
    noisy = any(not point.row.status.is_ok for point in points)
    for verdict in choice.chosen:
        point, accuracy = verdict.configuration, verdict.configuration.accuracy
        cells = {"size": str(point.row.image_size), "batch": str(point.row.batch_size)}
        if ACCURACY in choice.objectives:
            cells[ACCURACY] = top1_text(top1_of(point), None if accuracy is None else accuracy.source)
            cells[TOP1_ENDS] = "–" if accuracy is None else ends_text(accuracy_bounds(accuracy))
        cells |= {"img/s": img_per_s(point.img_s), "latency ms": milliseconds(point.latency_s)}
        cells[LATENCY_ENDS] = _milliseconds_ends(latency_bounds(point))
        if choice.percentile is not None:
            cells |= _percentile_cells(tail_bounds(point, choice.percentile), choice.percentile)
        cells["GB"] = gigabytes(point.memory_bytes)
        if choice.gpu_hour_price is None:
            cells[HOURS] = significant(hours_per_million(point.img_s), decimals=5)
        else:
            cells[COST] = significant(verdict.cost_per_million, decimals=5)
        if energy:
            cells[ENERGY] = significant(kwh_per_million(point.energy_j), decimals=5)
        if noisy:
            cells["status"] = "" if point.row.status.is_ok else status_word(point.row)
        yield verdict, {**cells, "on": as_text(point.mode_name)}


def _milliseconds_ends(figure: Bounds) -> str:
    return f"{milliseconds(figure.low)}–{milliseconds(figure.high)}" if figure.known else "–"


def _percentile_cells(figure: Bounds | None, percent: int) -> Line:
    """The percentile that is limited, and its ends."""
    value, ends = ("–", "–") if figure is None else (milliseconds(figure.value), _milliseconds_ends(figure))
    if figure is not None and figure.basis == NO_UPPER_END:
        ends = f"{milliseconds(figure.low)}–?"
    return {f"p{percent} ms": value, f"p{percent} from–to": ends}


def _limit_lines(choice: Choice) -> Iterator[Line]:
    doubted = [{doubt.option for doubt in verdict.doubts} for verdict in choice.uncertain]
    for limit, ruled_out, alone in counts(choice):
        line = {"limit": f"{limit.option}: {limit.told}", "rules out": str(ruled_out), "alone": str(alone)}
        if doubted:
            line["uncertain"] = str(sum(limit.option in options for options in doubted))
        yield line


def _uncertain_lines(choice: Choice) -> Iterator[Line]:
    varying = varying_fields([verdict.configuration.row for verdict in choice.verdicts])
    for verdict in choice.uncertain[:MAX_UNCERTAIN]:
        why, row = "; ".join(doubt.told for doubt in verdict.doubts), verdict.configuration.row
        told_by_status = not row.status.is_ok and not all(doubt.unknown for doubt in verdict.doubts)
        why += f" ({status_word(row)})" if told_by_status else ""
        on = as_text(verdict.configuration.mode_name)
        yield {"configuration": _place(verdict, varying), "why": why, "on": on}


def _place(verdict: Verdict, varying: Sequence[str]) -> str:
    row = verdict.configuration.row
    label = " ".join(map(str.strip, label_lines(row, varying)))
    return f"{label} at {row.image_size}, batch {row.batch_size}"


def _miss_lines(choice: Choice) -> Iterator[Line]:
    misses = nearest_misses(choice)
    rows = [verdict.configuration.row for verdict in choice.verdicts]
    varying = varying_fields(rows)
    for verdict in misses:
        told = "; ".join(breach.told for breach in verdict.breaches)
        yield {"nearest miss": _place(verdict, varying), "misses": told, "on": as_text(verdict.configuration.mode_name)}


def _front_table(choice: Choice) -> RichTable:
    lines = list(_chosen_lines(choice))
    rows = [verdict.configuration.row for verdict, _ in lines]
    varying = varying_fields(rows)
    labelled = [
        {"model": "\n".join(label_lines(row, varying)), **cells} for (_, cells), row in zip(lines, rows, strict=True)
    ]
    return _table(common_title(rows, "The front, the cheapest first"), labelled)


def _table(title: str, lines: Sequence[Line]) -> RichTable:
    headings = list(lines[0])
    cells = [list(line.values()) for line in lines]
    return table_of_lines(title, headings, cells, NAMES, Layout(wrapped=("latency ms",)))


def choice_text(choice: Choice, style: str, *, to_file: bool) -> str:
    """A choice in a format: table, json, csv, markdown or latex."""
    wide = style not in ("table", "json", "csv")
    return render(choice_tables(choice, wide=wide), style, to_file=to_file)
