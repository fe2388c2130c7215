"""The report ``throughput``: every point of every sweep, as it was measured."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from fgbench.results.records import ThroughputRow
from fgbench_reports.cost_table import grouped
from fgbench_reports.data import KINDS, Row
from fgbench_reports.report import Data, Item, Missing, Report
from fgbench_reports.sweep_rows import CONTENDER, Mode, by_mode, in_order, mode_name
from fgbench_reports.tables.column import Cell, figure, word
from fgbench_reports.tables.numbers import gigabytes, half_width_percent, img_per_s, milliseconds, significant
from fgbench_reports.tables.table import BEST, Table, distinct, file_name, without_empty
from fgbench_reports.throughput import BEST as MARK
from fgbench_reports.throughput import throughput_notes

if TYPE_CHECKING:
    import pandas as pd

NAMES = (*CONTENDER, "status")
ALWAYS = ("img/s", "latency ms")


class Sweep(Report):
    """Throughput, latency, memory, energy and MFU of every point: a table per device, dtype and environment."""

    title = "Throughput, latency, memory, energy"

    def items(self, data: Data) -> Iterable[Item]:
        """A table per mode; the best batch of every model and size is marked."""
        modes = by_mode(data.throughput)
        files = distinct(file_name("throughput", *mode[:3], mode[3]) for mode in modes)
        for name, (mode, rows) in zip(files, modes.items(), strict=True):
            yield _table(name, mode, rows, modes)
        if not modes:
            yield Missing(what="throughput, latency and memory of models", command=KINDS["throughput"])


def throughput(data: Data) -> pd.DataFrame:
    """Every measured point as it is, a line each; of the environment what tells machines apart."""
    import pandas as pd

    told = ("device_name", "torch", "cuda", "driver", "threads", "code")
    return pd.DataFrame(
        [
            {key: row[key] for key in row if key not in ("environment", "blocks", "kind", "schema_version")}
            | {name: row["environment"].get(name) for name in told}
            for row in data.throughput
        ]
    )


def _table(name: str, mode: Mode, rows: Sequence[Row], modes: dict[Mode, list[ThroughputRow]]) -> Table:
    lines: list[dict[str, Cell]] = []
    marks: dict[tuple[int, str], str] = {}
    for contender in grouped(rows, *CONTENDER).values():
        for row, best in in_order(contender):
            if best:
                marks[len(lines), "img/s"] = BEST
            lines.append(_line(row))
    title = f"Throughput · {mode_name(mode, modes)}"
    kept = without_empty(lines, ALWAYS)
    return Table.from_cells(name, title, kept, names=NAMES, marks=marks, notes=_notes(rows))


def _notes(rows: Sequence[Row]) -> list[str]:
    columns, *others = throughput_notes(rows)
    return [columns.replace(f"{MARK} marks", "Bold marks"), *others]


def _line(row: Row) -> dict[str, Cell]:
    interval = (row["latency_ci95_low_s"], row["latency_s"], row["latency_ci95_high_s"])
    on_gpu = row["device"] == "cuda"
    return {
        **{name: word(row[name]) for name in CONTENDER},
        "size": word(row["image_size"]),
        "batch": word(row["batch_size"]),
        "run": word(row.get("repeat")),
        "img/s": figure(row["throughput_img_s"], img_per_s),
        "latency ms": Cell(_times(row["latency_s"], 1e3), milliseconds(row["latency_s"])),
        "±%": Cell(_half_width(*interval), half_width_percent(*interval)),
        "allocated GB": figure(row["peak_memory_allocated_bytes"] if on_gpu else None, gigabytes),
        "reserved GB": figure(row["peak_memory_reserved_bytes"] if on_gpu else None, gigabytes),
        "on device GB" if on_gpu else "resident GB": figure(row["device_memory_bytes"], gigabytes),
        "J/img": figure(row["energy_j_per_image"], significant),
        "MFU %": Cell(_times(row["mfu"], 100), significant(_times(row["mfu"], 100))),
        "status": word(row["status"]),
    }


def _times(value: float | None, factor: float) -> float | None:
    return None if value is None else value * factor


def _half_width(low: float | None, middle: float | None, high: float | None) -> float | None:
    return (high - low) / middle * 50 if low is not None and high is not None and middle else None
