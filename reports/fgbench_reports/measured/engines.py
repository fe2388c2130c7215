"""Engines, precisions and modes of one device side by side: throughput and agreement of the same models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fgbench.results.records import ThroughputRow
from fgbench.results.rows import has_capacity
from fgbench_reports.choose.bounds import latency_bounds, throughput_bounds
from fgbench_reports.choose.configurations import Configuration
from fgbench_reports.data import Row, group_by, records
from fgbench_reports.measured.agreement import AGREEMENT, LOGITS, agreement_notes
from fgbench_reports.relative import Ratio, ratio_interval
from fgbench_reports.sweep_rows import (
    SERIES,
    EnvironmentKey,
    as_text,
    by_environment,
    mode_name,
    varying_fields,
)
from fgbench_reports.tables.column import NOTHING, Cell, Column, word
from fgbench_reports.tables.numbers import img_per_s
from fgbench_reports.tables.render import RowTables
from fgbench_reports.tables.table import BEST, Layout, Marks, Table, without_empty

INT8 = "int8"
DISTURBED = "?"  # behind a figure of a row that is unconverged or contended
SAME_WORK = ("channels last", "CUDA graph")  # words of a mode that do not change what is computed
OWN_MODES = {"eager": "torch eager", "compiled": "torch compiled"}
MEASURE = "agreement"

Way = tuple[str, str]  # mode and dtype: what has a column
EAGER: Way = (OWN_MODES["eager"], "float32")


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """The rows of one device and environment that were measured in several ways."""

    title: str
    ways: Sequence[Way]  # in the order in which they come
    rows: Sequence[ThroughputRow]
    points: dict[tuple[object, ...], dict[Way, Configuration]]  # series, size, batch → way → the point

    @property
    def headings(self) -> dict[Way, str]:
        """The heading of every way; the precision is left out where all have the same."""
        one = len({dtype for _, dtype in self.ways}) == 1
        return {(mode, dtype): mode if one else f"{mode} {dtype}" for mode, dtype in self.ways}

    @property
    def base(self) -> Way:
        """The way that the others are divided by: torch in eager mode and float32, or the first one without it."""
        return EAGER if EAGER in self.ways else self.ways[0]

    @property
    def others(self) -> list[Way]:
        """All ways but the base."""
        return [way for way in self.ways if way != self.base]


def comparisons(rows: Sequence[ThroughputRow]) -> list[Comparison]:
    """What can be compared: per device and environment, the rows of several engines, precisions or modes.

    Args:
        rows: Rows of throughput. Those of a part of a pass are left out, and loads that arrive at their own rate.

    Returns:
        A comparison per device, environment and work; nothing where there is one way alone.

    """
    whole = [row for row in rows if row.part is None and has_capacity(row)]
    environments = by_environment(whole)
    groups: dict[tuple[EnvironmentKey, str], dict[Way, list[ThroughputRow]]] = {}
    for key, group in environments.items():
        words = key.mode.split(" · ")
        same = [OWN_MODES.get(words[0], words[0]), *(each for each in words[1:] if each in SAME_WORK)]
        work = " · ".join(each for each in words[1:] if each not in SAME_WORK)
        there = groups.setdefault((key._replace(dtype="", mode=""), work), {})
        there.setdefault((" · ".join(same), key.dtype), []).extend(group)
    several = {place: ways for place, ways in groups.items() if len(ways) > 1}
    keys = [key for key, _ in several]
    return [_comparison(_title(key, work, ways, keys), ways) for (key, work), ways in several.items()]


def _title(key: EnvironmentKey, work: str, ways: dict[Way, list[ThroughputRow]], keys: Sequence[EnvironmentKey]) -> str:
    dtypes = {dtype for _, dtype in ways}
    words = mode_name(key._replace(dtype=dtypes.pop() if len(dtypes) == 1 else "", mode=work), keys).split(" · ")
    return " · ".join(filter(None, words))


def _comparison(title: str, ways: dict[Way, list[ThroughputRow]]) -> Comparison:
    points: dict[tuple[object, ...], dict[Way, Configuration]] = {}
    for way, rows in ways.items():
        for place, repeats in group_by(rows, *SERIES, "image_size", "batch_size").items():
            points.setdefault(place, {})[way] = _point(repeats)
    every = [row for rows in ways.values() for row in rows]
    return Comparison(title=title, ways=list(ways), rows=every, points=_in_order(points))


def _point(repeats: Sequence[ThroughputRow]) -> Configuration:
    """The repeats of a point as one: the middle one counts; without figures, the first one."""
    timed = sorted((row for row in repeats if row.latency_s), key=lambda row: row.latency_s or 0.0)
    row = timed[(len(timed) - 1) // 2] if timed else repeats[0]
    key = next(iter(by_environment([row])))
    return Configuration(row=row, mode=key, mode_name="", best=False, repeats=tuple(timed))


def _in_order(
    points: dict[tuple[object, ...], dict[Way, Configuration]],
) -> dict[tuple[object, ...], dict[Way, Configuration]]:
    """The points of a series together, by size and batch."""
    series = {place[:-2]: number for number, place in reversed(list(enumerate(points)))}
    return dict(sorted(points.items(), key=lambda item: (series[item[0][:-2]], item[0][-2], item[0][-1])))


def fastest(ways: Mapping[Way, Configuration]) -> Way | None:
    """The way that is certainly the fastest of one line; None where intervals do not say so.

    Its row is ok, and its interval lies above those of all others. Points of int8 take part where their agreement with
    float32 is known: without it they may compute something else.

    Args:
        ways: The points of one model, size and batch by the way in which they were measured.

    """
    known = {way: point for way, point in ways.items() if point.row.throughput_img_s and point.row.latency_s}
    known = {way: point for way, point in known.items() if way[1] != INT8 or point.row.agreement}
    if len(known) < 2:
        return None
    bounds = {way: throughput_bounds(point) for way, point in known.items()}
    best = max(known, key=lambda way: known[way].img_s)
    certain = bounds[best].known and all(
        bounds[best].low > (bound.high if bound.known else bound.value) for way, bound in bounds.items() if way != best
    )
    return best if certain and known[best].row.status.is_ok else None


def _text(point: Configuration | None) -> Cell:
    if point is None:
        return NOTHING
    row = point.row
    if not row.throughput_img_s:
        return Cell(None, as_text(row.status))
    return Cell(row.throughput_img_s, img_per_s(row.throughput_img_s) + ("" if row.status.is_ok else DISTURBED))


def _names(row: ThroughputRow, varying: Sequence[str]) -> dict[str, Cell]:
    return {"model": word(row.model)} | {name: word(getattr(row, name)) for name in varying}


def ratio_of(point: Configuration | None, base: Configuration | None) -> Ratio | None:
    """The latency of a point over that of the base, with the 95 % interval where both have one.

    Args:
        point: A model at a size and a batch, measured in one way.
        base: The same in another way.

    Returns:
        None where one of them has no latency.

    """
    if point is None or base is None or not point.row.latency_s or not base.row.latency_s:
        return None
    low, high = ratio_interval(_ends(point), _ends(base)) or (None, None)
    disturbed = not (point.row.status.is_ok and base.row.status.is_ok)
    return Ratio(value=point.latency_s / base.latency_s, low=low, high=high, disturbed=disturbed)


def _ends(point: Configuration) -> tuple[float, float | None, float | None]:
    bounds = latency_bounds(point)
    return (bounds.value, bounds.low, bounds.high) if bounds.known else (bounds.value, None, None)


def _ratios(comparison: Comparison, ways: Mapping[Way, Configuration]) -> dict[Way, Cell]:
    """The ratios of one line by the way."""
    found = {way: ratio_of(ways.get(way), ways.get(comparison.base)) for way in comparison.others}
    return {way: NOTHING if ratio is None else Cell(ratio.value, ratio.text) for way, ratio in found.items()}


def ratio_table(name: str, comparison: Comparison) -> Table | None:
    """Ratios of latencies for a terminal: a line per model, size and batch, a column per way but the base.

    Args:
        name: Of the table's files.
        comparison: What is compared.

    Returns:
        None where there is no ratio.

    """
    varying, lines = varying_fields(comparison.rows), list[dict[str, Cell]]()
    for ways in comparison.points.values():
        cells = _ratios(comparison, ways)
        if any(cell.value is not None for cell in cells.values()):
            lines.append(
                _place(next(iter(ways.values())).row, varying)
                | {comparison.headings[way]: cell for way, cell in cells.items()}
            )
    title = f"× {comparison.headings[comparison.base]} side by side · {comparison.title}"
    return Table.from_cells(name, title, lines, names=("model", *varying), layout=Layout()) if lines else None


def ratio_note(comparison: Comparison) -> str:
    """The meaning of the ratios; empty where there are none."""
    ratios = [
        ratio
        for ways in comparison.points.values()
        for way in comparison.others
        if (ratio := ratio_of(ways.get(way), ways.get(comparison.base)))
    ]
    if not ratios:
        return ""
    base = comparison.headings[comparison.base]
    note = f"× {base}: latency over that of {base} at the same size and batch, ± half of its 95 % interval; "
    note += "below 1 is faster."
    return note + (" Without ±: one of the two has no interval." if any(ratio.low is None for ratio in ratios) else "")


def _place(row: ThroughputRow, varying: Sequence[str]) -> dict[str, Cell]:
    return _names(row, varying) | {"size": word(row.image_size), "batch": word(row.batch_size)}


def speed_table(name: str, comparison: Comparison, *, notes: Sequence[str] = (), narrow: bool = False) -> Table:
    """Images per second: a line per model, size and batch, a column per way. The fastest of a line is marked.

    In a document the ratios to the base stand behind them, as far as there are any; a terminal has a table of its own.

    Args:
        name: Of the table's files.
        comparison: What is compared.
        notes: Sentences below the table.
        narrow: Whether it is for a terminal, where an asterisk is the mark.

    """
    headings, varying = comparison.headings, varying_fields(comparison.rows)
    lines: list[dict[str, Cell]] = []
    marks: Marks = {}
    for ways in comparison.points.values():
        first, best = next(iter(ways.values())).row, fastest(ways)
        cells = {way: _text(ways.get(way)) for way in comparison.ways}
        if best is not None:
            marks[len(lines), headings[best]] = BEST
        if narrow:
            cells = {way: Cell(cell.value, cell.text + ("*" if way == best else " ")) for way, cell in cells.items()}
        line = _place(first, varying) | {headings[way]: cell for way, cell in cells.items()}
        ratios = {} if narrow else _ratios(comparison, ways)
        lines.append(line | {f"{headings[way]} × {headings[comparison.base]}": cell for way, cell in ratios.items()})
    always = ("model", *varying, "size", "batch", *headings.values())
    styles = dict.fromkeys(marks, "bold") if narrow else {}
    return Table.from_cells(
        name,
        f"img/s side by side · {comparison.title}",
        without_empty(lines, always),
        names=("model", *varying),
        marks={} if narrow else marks,
        notes=notes,
        layout=Layout(styles=styles) if narrow else None,
    )


def agreement_table(name: str, comparison: Comparison, *, notes: Sequence[str] = ()) -> Table | None:
    """Agreement with torch in float32: a line per model, size and kind of output; the worst of all batches.

    Args:
        name: Of the table's files.
        comparison: What is compared.
        notes: Sentences below the table.

    Returns:
        None where no row has an agreement.

    """
    compared = [
        way for way in comparison.ways if any(way in ways and _agrees(ways[way]) for ways in comparison.points.values())
    ]
    varying, lines = varying_fields(comparison.rows), list[dict[str, Cell]]()
    places: dict[tuple[object, ...], list[dict[Way, Configuration]]] = {}
    for place, ways in comparison.points.items():
        places.setdefault(place[:-1], []).append(ways)
    for batches in places.values():
        first = next(iter(batches[0].values())).row
        for column in AGREEMENT:
            cells = {
                comparison.headings[way]: _worst(column, [ways[way] for ways in batches if way in ways])
                for way in compared
            }
            if any(cell.value is not None for cell in cells.values()):
                line = _names(first, varying) | {"size": word(first.image_size), MEASURE: word(column.heading)}
                lines.append(line | cells)
    if not lines:
        return None
    title = f"agreement with torch float32 · {comparison.title}"
    return Table.from_cells(name, title, lines, names=("model", *varying, MEASURE), notes=notes, layout=Layout())


def _agrees(point: Configuration) -> bool:
    return any(row.agreement for row in (point.row, *point.repeats))


def _worst(column: Column, points: Sequence[Configuration]) -> Cell:
    """The value that agrees least: figures of several batches are never averaged."""
    rows = [row for point in points for row in (point.row, *point.repeats)]
    values = [value for row in rows if (value := column.of(row)) is not None]
    if not values:
        return NOTHING
    worst = max(values) if column.heading == LOGITS else min(values)
    return Cell(worst, column.format(worst))


def engine_notes(rows: Sequence[ThroughputRow], *, mark: str = "*") -> list[str]:
    """What the tables show.

    Args:
        rows: The rows that are compared.
        mark: What marks the fastest.

    """
    note = f"{mark} marks the fastest of a line, where its 95 % interval lies above all others."
    if any(row.dtype == INT8 for row in rows):
        note += " int8 is compared where its agreement is known."
    if any(row.status.has_figures and not row.status.is_ok for row in rows):
        note += f" {DISTURBED}: unconverged or contended."
    compared = agreement_notes(rows)
    if compared:
        compared[0] += " Of several batches the worst agreement is shown."
    return [note, *compared]


def engine_tables(rows: Sequence[Row]) -> RowTables:
    """Tables that compare engines, precisions and modes; none where all rows have the same.

    Args:
        rows: Rows of throughput. JSON and CSV have them already.

    """
    timed = records(ThroughputRow, rows)
    narrow, wide = list[Table](), list[Table]()
    compared = comparisons(timed)
    for comparison in compared:
        narrow.append(speed_table("engines", comparison, narrow=True))
        first, *others = engine_notes(comparison.rows, mark="Bold")
        ratios = filter(None, [ratio_note(comparison)])
        wide.append(speed_table("engines", comparison, notes=[first, *ratios, *others]))
        agreement = agreement_table("agreement", comparison)
        ratio = ratio_table("engine_ratios", comparison)
        narrow += [table for table in (ratio, agreement) if table]
        wide += [agreement] if agreement else []
    if not compared:
        return RowTables(rows=[], narrow=[], wide=[])
    note, *_ = engine_notes([row for comparison in compared for row in comparison.rows])
    told = dict.fromkeys(filter(None, map(ratio_note, compared)))
    return RowTables(rows=[], narrow=narrow, wide=wide, notes=[f"Side by side: {note}", *told])
