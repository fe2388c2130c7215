"""Tables of selections by themselves: what each costs in work, memory traffic and time, published beside fast."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from fgbench.results.records import BackendRow, SelectionRow, Status
from fgbench_reports.data import group_by
from fgbench_reports.sweep_rows import by_environment, mode_name
from fgbench_reports.tables.column import Cell, Column, figure, line_of, word
from fgbench_reports.tables.numbers import (
    four_digits,
    how_many,
    milliseconds,
    percent,
    short_percent,
    significant,
    with_prefix,
)

BACKBONE = "(backbone)"
AGREEMENT = "fewer, less, faster"
NAMES = ("selector", "impl", "status", "v·A by", "fastest", "chosen", "contended", AGREEMENT)
Measure = Callable[[SelectionRow], float | None]
MEASURES: dict[str, Measure] = {
    "FLOPs": lambda row: row.flops,
    "bytes": lambda row: row.bytes,
    "time": lambda row: row.latency_s,
}
RANKED_APART = 1.05  # ratios closer to one than this rank nothing


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceRates:
    """The rates of a device; None where one was not measured."""

    product_flop_s: float | None = None  # in products of large matrices
    copy_bytes_s: float | None = None  # in large copies


@dataclass(frozen=True, slots=True, kw_only=True)
class PlaceRows:
    """The rows of one place: a device in one environment, dtype and batch size. There is at least one row."""

    environment: Mapping[str, Any]
    rates: DeviceRates
    selections: Sequence[SelectionRow]
    backends: Sequence[BackendRow]


def intensity(row: SelectionRow) -> float | None:
    """Floating-point operations per byte moved."""
    return _over(row.flops, row.bytes)


def by_place(rows: Sequence[SelectionRow]) -> list[tuple[str, list[SelectionRow]]]:
    """The rows of each machine, environment and batch, under the words that tell it from the others."""
    modes = by_environment(rows)
    return [
        # Selections by themselves have no choice in whether they are compiled.
        (
            " · ".join([*(word for word in mode_name(mode, modes).split(" · ") if word != "eager"), f"batch {batch}"]),
            same,
        )
        for mode, some in modes.items()
        for batch, same in group_by(some, "batch_size").items()
    ]


class Beside(NamedTuple):
    """A row, and the row of the backbone at its image size, where there is one."""

    row: SelectionRow
    backbone: SelectionRow | None


def _share(measure: str) -> Callable[[Beside], float | None]:
    """A share of the backbone's figure, in percent."""

    def value(line: Beside) -> float | None:
        of = MEASURES[measure]
        share = None if line.backbone is None else _over(of(line.row), of(line.backbone))
        return None if share is None else 100 * share

    return value


def _half_width_percent(line: Beside) -> float | None:
    low, middle, high = line.row.latency_ci95_low_s, line.row.latency_s, line.row.latency_ci95_high_s
    return None if low is None or high is None else _over(50 * (high - low), middle)


COLUMNS = (
    Column("size", lambda line: line.row.image_size, unit="pixel"),
    Column("N", lambda line: line.row.num_tokens),
    Column("selector", lambda line: line.row.selector or BACKBONE, is_name=True),
    Column("impl", lambda line: line.row.impl or "", is_name=True),
    Column("FLOPs", lambda line: line.row.flops, with_prefix, unit="FLOP"),
    Column("bytes", lambda line: line.row.bytes, with_prefix, unit="byte"),
    Column("FLOPs/byte", lambda line: intensity(line.row), significant, unit="FLOP/byte"),
    Column("ms", lambda line: _thousand(line.row.latency_s), four_digits, unit="ms"),
    Column("±%", _half_width_percent, short_percent, unit="%"),
    Column("added MB", lambda line: _over(line.row.added_memory_bytes, 1e6), significant, unit="MB"),
    Column("% FLOPs", _share("FLOPs"), percent, unit="%"),
    Column("% time", _share("time"), percent, unit="%"),
    Column("v·A by", lambda line: ", ".join(line.row.backends.get("left", ())), is_name=True),
    Column("status", lambda line: status_word(line.row), is_name=True),
)


def selection_lines(rows: Sequence[SelectionRow]) -> list[dict[str, Cell]]:
    """A line per size, selector and implementation."""
    lines: list[dict[str, Cell]] = []
    for same_size in group_by(rows, "image_size").values():
        backbone = next((row for row in same_size if row.selector is None), None)
        lines += [line_of(COLUMNS, Beside(row, backbone)) for row in same_size]
    return lines


def ratio_lines(rows: Sequence[SelectionRow]) -> list[dict[str, Cell]]:
    """Published over fast in FLOPs, bytes and time, a line per size and selector; and whether all three agree."""
    lines: list[dict[str, Cell]] = []
    for (size, selector), pair in group_by(rows, "image_size", "selector").items():
        if selector is not None:
            found = ratios(pair)
            lines.append(
                {"size": word(size), "selector": word(selector)}
                | {f"{name} ×": figure(value, significant) for name, value in found.items()}
                | {AGREEMENT: word(_verdict(found))}
            )
    return lines


def ratios(pair: Sequence[SelectionRow]) -> dict[str, float | None]:
    """Published over fast; None where one of them has no figure."""
    by_impl = {row.impl: row for row in pair}
    published, fast = by_impl.get("published"), by_impl.get("fast")
    if published is None or fast is None:
        return dict.fromkeys(MEASURES)
    return {name: _over(measure(published), measure(fast)) for name, measure in MEASURES.items()}


def backend_lines(rows: Sequence[BackendRow]) -> list[dict[str, Cell]]:
    """Milliseconds of every back end, a line per number of maps and tokens."""
    names = list(dict.fromkeys(row.backend for row in rows))
    lines: list[dict[str, Cell]] = []
    for (maps, tokens), some in group_by(rows, "maps", "num_tokens").items():
        latency_s = {row.backend: row.latency_s for row in some}
        timed = {backend: seconds for backend, seconds in latency_s.items() if seconds is not None}
        lines.append(
            {"B·H": word(maps), "N": word(tokens), "elements": figure(maps * tokens**2, with_prefix)}
            | {f"{name} ms": Cell(_thousand(latency_s.get(name)), milliseconds(latency_s.get(name))) for name in names}
            | {"fastest": word(min(timed, key=lambda name: timed[name], default=None))}
            | {"chosen": word(next((row.backend for row in some if row.chosen), None))}
            | {"contended": word(", ".join(row.backend for row in some if row.status is Status.CONTENDED))}
        )
    return lines


def _thousand(seconds: float | None) -> float | None:
    return None if seconds is None else seconds * 1e3


def crossover(rows: Sequence[BackendRow]) -> list[str]:
    """For every number of maps, between how many elements of B·H·N² blocks overtake the dense map.

    Points that others disturbed say nothing.
    """
    found = []
    for maps, some in group_by([row for row in rows if row.status is not Status.CONTENDED], "maps").items():
        faster: list[tuple[int, bool]] = []
        for tokens, pair in group_by(some, "num_tokens").items():
            seconds = {row.backend: row.latency_s for row in pair}
            dense, blocks = seconds.get("dense"), seconds.get("blocks")
            if dense and blocks:
                faster.append((maps * tokens**2, dense <= blocks))
        last = max((elements for elements, is_dense in faster if is_dense), default=None)
        first = min((elements for elements, is_dense in faster if not is_dense), default=None)
        words = [f"the dense map wins last at {with_prefix(last)} elements" if last else "the dense map never wins"]
        words += [f"blocks win first at {with_prefix(first)}" if first else "blocks never win"]
        found.append(f"B·H = {maps}: {', '.join(words)}.")
    return found


def title(place: PlaceRows) -> str:
    """The device of a place, its threads and dtype, and the batch size of its selections, in a few words."""
    first = place.selections[0] if place.selections else place.backends[0]
    threads = place.environment.get("threads")
    words = [
        place.environment.get("device_name") or first.device,
        how_many(threads, "thread") if threads and first.device == "cpu" else None,
        first.dtype,
    ]
    words += [f"batch {place.selections[0].batch_size}"] if place.selections else []
    return " · ".join(str(word) for word in words if word)


def row_name(row: SelectionRow) -> str:
    """A selection or the backbone, with its size, in a few words."""
    words = (row.selector or "backbone", row.impl or "", f"at {row.image_size}")
    return " ".join(word for word in words if word)


def status_word(row: SelectionRow) -> str:
    """The status of a row; nothing where it is ok."""
    return "" if row.status.is_ok else str(row.status)


def _verdict(found: Mapping[str, float | None]) -> str:
    """Which implementation each measure prefers, in one word where all agree."""
    sides = {name: _side(value) for name, value in found.items()}
    met = set(sides.values()) - {"equal"}
    if None in met:
        return "–"
    if len(met) <= 1:
        return f"{next(iter(met), 'equal')} in all"
    return ", ".join(f"{name} {side}" for name, side in sides.items())


def _side(ratio: float | None) -> str | None:
    if ratio is None:
        return None
    return "fast" if ratio > RANKED_APART else "published" if ratio < 1 / RANKED_APART else "equal"


def _over(one: float | None, other: float | None) -> float | None:
    return None if one is None or not other else one / other
