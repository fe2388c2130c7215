"""The parts of runs: the stages of forward passes, and the way from files to logits, beside their whole."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from fgbench.results.records import ThroughputRow
from fgbench_reports.data import group_by
from fgbench_reports.sweep_rows import (
    SERIES,
    EnvironmentKey,
    by_environment,
    common_title,
    environment_notes,
    label_lines,
    mode_name,
    on_lines,
    reason_notes,
    varying_fields,
)
from fgbench_reports.tables.column import NOTHING, Cell, Column, as_text, figure, word
from fgbench_reports.tables.numbers import four_digits, half_width_percent, img_per_s, significant
from fgbench_reports.tables.render import RowTables
from fgbench_reports.tables.table import Layout, Table

SUM, WHOLE, END_TO_END, REST = "sum", "whole", "end to end", "rest"
STAGES, PICTURES = "stages", "end to end"  # ways of dividing a run
POINT = (*SERIES, "image_size", "batch_size", "repeat")
STAGES_NOTE = (
    "Parts are the stages of a forward pass: pass 1 is the whole image, selector the "
    "scores, crop the boxes, cuts and resizing, pass 2 all further passes, fusion selected tokens, last blocks and "
    "heads; rest is what lies in no stage, where it is 0.5 % or more. The whole is timed without stages, in turn with "
    "the passes that are timed stage by stage."
)
PICTURES_NOTE = (
    "Parts are the way from files to logits, a batch after the other in one process and one thread of reading, each "
    "part finished before the next begins: decode reads the files, resize makes the network's input, transfer brings "
    "it to the device. img/s of a part is what it would reach alone."
)
MEMORY_NOTE = "added MB: what a part takes at its peak beyond what is held when it begins, in 10⁶ bytes."


@dataclass(frozen=True, slots=True, kw_only=True)
class Division:
    """A point whose run was divided into parts."""

    way: str  # STAGES or PICTURES
    parts: Sequence[ThroughputRow]  # in their order
    total: ThroughputRow | None  # all parts together
    whole: ThroughputRow | None  # of stages: forward passes without them, in turn

    @property
    def first(self) -> ThroughputRow:
        """Any row of it."""
        row = self.parts[0] if self.parts else self.total
        assert row is not None
        return row

    @property
    def total_s(self) -> float | None:
        """Seconds of all parts together; where their row is lacking, their sum."""
        if self.total is not None:
            return self.total.latency_s
        return sum(row.latency_s or 0.0 for row in self.parts) or None

    @property
    def excess_percent(self) -> float | None:
        """How much longer the sum of the parts is than the whole, in percent of the whole."""
        if self.whole is None or not self.whole.latency_s or not self.total_s:
            return None
        return 100 * (self.total_s / self.whole.latency_s - 1)


def divisions(parts: Sequence[ThroughputRow]) -> dict[EnvironmentKey, list[Division]]:
    """The divided points of each environment, in the order of their rows.

    Args:
        parts: Rows of parts.

    """
    found: dict[EnvironmentKey, list[Division]] = {}
    for key, rows in by_environment(parts).items():
        for point, of_point in group_by(rows, *POINT, _pictures, _way).items():
            newest = {row.part: row for row in of_point}
            whole, total = newest.pop(WHOLE, None), newest.pop(SUM, None) or newest.pop(END_TO_END, None)
            some = _in_order(newest.values(), total)
            if some or total:
                found.setdefault(key, []).append(Division(way=str(point[-1]), parts=some, total=total, whole=whole))
    return found


def _pictures(row: ThroughputRow) -> str | None:
    """A digest of the pictures that a row was measured on."""
    pictures = (row.environment or {}).get("pictures")
    return pictures.get("digest") if isinstance(pictures, Mapping) else None


def _way(row: ThroughputRow) -> str:
    return PICTURES if (row.environment or {}).get("pictures") or row.part == END_TO_END else STAGES


def _in_order(rows: Iterable[ThroughputRow], total: ThroughputRow | None) -> list[ThroughputRow]:
    """The parts that the row of all of them names, as they ran; without such a row, all that there are."""
    if total is None:
        return list(rows)
    parts = ((total.environment or {}).get("seen") or {}).get("parts") or ()
    order = {part: place for place, part in enumerate(parts)}
    return sorted((row for row in rows if row.part in order), key=lambda row: order[row.part])


def part_tables(parts: Sequence[ThroughputRow]) -> RowTables:
    """The parts of ``fgbench throughput`` as each format shows them; programs have them among its rows.

    Args:
        parts: Rows of parts.

    """
    groups = divisions(parts)
    narrow, wide = [], []
    for key, some in groups.items():
        for way, divided in group_by_way(some).items():
            title = common_title([one.first for one in divided], way, mode_name(key, groups))
            narrow.append(_narrow(title, divided))
            wide.append(part_table(way.replace(" ", "_"), title, divided))
    return RowTables(rows=[], narrow=narrow, wide=wide, notes=part_notes(parts, list(_all(groups))))


def group_by_way(divided: Sequence[Division]) -> dict[str, list[Division]]:
    """Divisions by the way in which a run is divided."""
    groups: dict[str, list[Division]] = {}
    for one in divided:
        groups.setdefault(one.way, []).append(one)
    return groups


def part_table(name: str, title: str, divided: Sequence[Division], notes: Sequence[str] = ()) -> Table:
    """A line per part, with all names in columns.

    Args:
        name: Of its files.
        title: What it shows.
        divided: Divisions of one way.
        notes: Sentences below it.

    """
    names = (*SERIES, "size", "batch", *(["run"] if any(one.first.repeat for one in divided) else []))
    lines = []
    for one in divided:
        first = one.first
        about = {field: word(getattr(first, field)) for field in SERIES}
        about |= {"size": word(first.image_size), "batch": word(first.batch_size), "run": word(first.repeat)}
        lines += [{**{field: about[field] for field in names}, **line} for line in _lines(one)]
    headings = [*names, "part", *_headings(divided)]
    return Table.from_cells(name, title, lines, names=(*SERIES, "part", "status"), headings=headings, notes=notes)


def part_notes(parts: Sequence[ThroughputRow], divided: Sequence[Division], *, environment: bool = False) -> list[str]:
    """The parts, their memory, how far sums and wholes differ, and reasons.

    Args:
        parts: Rows of parts.
        divided: Their divisions.
        environment: Whether the device and the software are named.

    """
    ways = {one.way for one in divided}
    notes = [note for way, note in ((STAGES, STAGES_NOTE), (PICTURES, PICTURES_NOTE)) if way in ways]
    notes += [MEMORY_NOTE] if any(row.added_memory_bytes is not None for row in parts) else []
    differences = [excess for one in divided if (excess := one.excess_percent) is not None]
    if differences:
        low, high = _signed(min(differences)), _signed(max(differences))
        spread = f"{low} %" if low == high else f"{low} to {high} %"
        notes.append(f"The sum of the stages differs from the whole by {spread}.")
    totals = [one.total for one in divided if one.total is not None]
    return [*notes, *reason_notes(totals), *(environment_notes(parts) if environment else [])]


def _all(groups: Mapping[EnvironmentKey, Sequence[Division]]) -> Iterator[Division]:
    for some in groups.values():
        yield from some


def _milliseconds(row: ThroughputRow) -> float | None:
    return None if row.latency_s is None else 1e3 * row.latency_s


def _megabytes(row: ThroughputRow) -> float | None:
    return None if row.added_memory_bytes is None else row.added_memory_bytes / 1e6


LATENCY = Column("latency ms", _milliseconds, four_digits, unit="ms")
SPEED = Column("img/s", "throughput_img_s", img_per_s)
MEMORY = Column("added MB", _megabytes, significant, unit="megabyte")
OF_WHOLE, OF_TOTAL = "% of whole", "%"


def _headings(divided: Sequence[Division]) -> list[str]:
    """The columns of figures that these divisions fill."""
    shares = OF_WHOLE if any(one.excess_percent is not None for one in divided) else OF_TOTAL
    rows = [row for one in divided for row in (*one.parts, *([one.total] if one.total else []))]
    return [
        LATENCY.heading,
        "±%",
        shares,
        *([SPEED.heading] if any(one.way == PICTURES for one in divided) else []),
        *([MEMORY.heading] if any(row.added_memory_bytes is not None for row in rows) else []),
        *(["status"] if any(not row.status.is_ok for row in rows) else []),
    ]


def _lines(one: Division) -> Iterator[dict[str, Cell]]:
    """The lines of a division: its parts, all of them, the whole beside them, and their difference."""
    whole_s = one.whole.latency_s if one.whole is not None else None
    base_s = whole_s or one.total_s
    for row in one.parts:
        yield _line(row, str(row.part), base_s)
    if one.total is not None:
        yield _line(one.total, str(one.total.part), base_s)
    excess = one.excess_percent
    if one.whole is not None and excess is not None and whole_s is not None and one.total_s is not None:
        yield _line(one.whole, "whole", base_s)
        difference = 1e3 * (one.total_s - whole_s)
        line = {"part": word("sum − whole"), LATENCY.heading: Cell(difference, _signed(difference))}
        yield {**line, OF_WHOLE: Cell(excess, _signed(excess)), OF_TOTAL: Cell(excess, _signed(excess))}


def _line(row: ThroughputRow, name: str, base_s: float | None) -> dict[str, Cell]:
    share = 100 * row.latency_s / base_s if row.latency_s and base_s else None
    ends = half_width_percent(row.latency_ci95_low_s, row.latency_s, row.latency_ci95_high_s)
    return {
        "part": word(name),
        "±%": Cell(None if ends == NOTHING.text else ends, ends),
        OF_WHOLE: figure(share, significant),
        OF_TOTAL: figure(share, significant),
        "status": Cell(row.status, "" if row.status.is_ok else as_text(row.status)),
        **{column.heading: column.cell(row) for column in (LATENCY, SPEED, MEMORY)},
    }


def _signed(value: float) -> str:
    text = significant(abs(value))
    return text if text in ("0", "–") else f"{'−' if value < 0 else '+'}{text}"


def _narrow(title: str, divided: Sequence[Division]) -> Table:
    headings, varying = _headings(divided), varying_fields([one.first for one in divided])
    lines: list[dict[str, Cell]] = []
    block_ends = []
    for one in divided:
        of_one = list(_lines(one))
        labels = on_lines(label_lines(one.first, varying), len(of_one))
        for index, (label, line) in enumerate(zip(labels, of_one, strict=True)):
            size, batch = one.first.image_size, one.first.batch_size
            about = {"model": Cell(one.first.model, label), "size": Cell(size, "" if index else str(size))}
            lines.append({**about, "batch": Cell(batch, "" if index else str(batch)), **line})
        block_ends.append(len(lines) - 1)
    columns = ["model", "size", "batch", "part", *headings]
    names = ("model", "part", "status")
    layout = Layout(block_ends=block_ends)
    return Table.from_cells("parts", title, lines, names=names, headings=columns, layout=layout)
