"""Tables of selections by themselves: what each costs in work, memory traffic and time, published beside fast."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fgbench.results.records import BackendRow, SelectionRow, Status
from fgbench_reports.data import group_by
from fgbench_reports.sweep_rows import by_environment, mode_name
from fgbench_reports.tables.numbers import (
    half_width_percent,
    how_many,
    milliseconds,
    percent,
    significant,
    with_prefix,
)

if TYPE_CHECKING:
    import pandas as pd

BACKBONE = "(backbone)"
NAMES = ("selector", "impl", "status", "v·A by", "fastest", "chosen", "contended", "fewer, less, faster")
Measure = Callable[[SelectionRow], float | None]
COLUMNS: dict[str, Callable[[SelectionRow], str]] = {  # what a row's work and time is printed as
    "FLOPs": lambda row: with_prefix(row.flops),
    "bytes": lambda row: with_prefix(row.bytes),
    "FLOPs/byte": lambda row: significant(intensity(row)),
    "ms": lambda row: milliseconds(row.latency_s),
    "±%": lambda row: half_width_percent(row.latency_ci95_low_s, row.latency_s, row.latency_ci95_high_s),
    "added MB": lambda row: significant(_over(row.added_memory_bytes, 1e6)),
}
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
    """The rows of one place: a device in one environment, dtype and batch size."""

    environment: Mapping[str, Any]
    rates: DeviceRates
    selections: Sequence[SelectionRow]  # at least one
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


def selection_frame(rows: Sequence[SelectionRow]) -> pd.DataFrame:
    """A line per size, selector and implementation."""
    import pandas as pd

    lines: list[dict[str, str]] = []
    for size, same_size in group_by(rows, "image_size").items():
        backbone = next((row for row in same_size if row.selector is None), None)
        for row in same_size:
            lines.append(
                {"size": str(size), "N": str(row.num_tokens)}
                | {"selector": row.selector or BACKBONE, "impl": row.impl or ""}
                | {heading: cell(row) for heading, cell in COLUMNS.items()}
                | {f"% {name}": _share(row, backbone, MEASURES[name]) for name in ("FLOPs", "time")}
                | {"v·A by": ", ".join(row.backends.get("left", ())), "status": status_word(row)}
            )
    return pd.DataFrame(lines)


def ratio_frame(rows: Sequence[SelectionRow]) -> pd.DataFrame:
    """Published over fast in FLOPs, bytes and time, a line per size and selector; and whether all three agree."""
    import pandas as pd

    lines: list[dict[str, str]] = []
    for (size, selector), pair in group_by(rows, "image_size", "selector").items():
        if selector is None:
            continue
        found = ratios(pair)
        cells = {f"{name} ×": significant(value) for name, value in found.items()}
        lines.append({"size": str(size), "selector": selector, **cells, "fewer, less, faster": _verdict(found)})
    return pd.DataFrame(lines)


def ratios(pair: Sequence[SelectionRow]) -> dict[str, float | None]:
    """Published over fast; None where one of them has no figure."""
    by_impl = {row.impl: row for row in pair}
    published, fast = by_impl.get("published"), by_impl.get("fast")
    if published is None or fast is None:
        return dict.fromkeys(MEASURES)
    return {name: _over(measure(published), measure(fast)) for name, measure in MEASURES.items()}


def backend_frame(rows: Sequence[BackendRow]) -> pd.DataFrame:
    """Milliseconds of every back end, a line per number of maps and tokens."""
    import pandas as pd

    names = list(dict.fromkeys(row.backend for row in rows))
    lines: list[dict[str, str]] = []
    for (maps, tokens), some in group_by(rows, "maps", "num_tokens").items():
        by_name = {row.backend: row for row in some}
        timed = [(row.latency_s, row.backend) for row in some if row.latency_s is not None]
        _, fastest = min(timed, key=lambda time: time[0], default=(None, "–"))
        chosen = next((row.backend for row in some if row.chosen), "–")
        lines.append(
            {"B·H": str(maps), "N": str(tokens), "elements": with_prefix(maps * tokens**2)}
            | {f"{name} ms": milliseconds(by_name[name].latency_s) if name in by_name else "–" for name in names}
            | {"fastest": fastest, "chosen": chosen}
            | {"contended": ", ".join(row.backend for row in some if row.status is Status.CONTENDED)}
        )
    return pd.DataFrame(lines)


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
    """The device of a place, its threads, dtype and batch size, in a few words."""
    first = place.selections[0]
    threads = place.environment.get("threads")
    words = [
        place.environment.get("device_name") or first.device,
        how_many(threads, "thread") if threads and first.device == "cpu" else None,
        first.dtype,
    ]
    return " · ".join(str(word) for word in [*words, f"batch {first.batch_size}"] if word)


def row_name(row: SelectionRow) -> str:
    """A selection or the backbone, with its size, in a few words."""
    words = (row.selector or "backbone", row.impl or "", f"at {row.image_size}")
    return " ".join(word for word in words if word)


def status_word(row: SelectionRow) -> str:
    """The status of a row; nothing where it is ok."""
    return "" if row.status.is_ok else str(row.status)


def _share(row: SelectionRow, backbone: SelectionRow | None, measure: Measure) -> str:
    share = None if backbone is None else _over(measure(row), measure(backbone))
    return "–" if share is None else percent(100 * share)


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
