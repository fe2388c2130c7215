"""Throughput, latency, memory, energy: the tables of ``fgbench throughput`` and the report ``throughput``."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from fgbench.results.records import Status, ThroughputRow
from fgbench.results.rows import percentile_field
from fgbench_reports.data import KINDS, Row, group_by, records
from fgbench_reports.measured.agreement import AGREEMENT, agreement_notes
from fgbench_reports.measured.parts import part_tables
from fgbench_reports.relative import Baseline, ratio_column
from fgbench_reports.report import Data, Item, Missing, Report
from fgbench_reports.sweep_rows import (
    NUMBER,
    SERIES,
    EnvironmentKey,
    by_environment,
    by_series,
    common_title,
    differing_fields,
    environment_notes,
    environment_of,
    field_name,
    first_notes,
    in_common,
    in_order,
    label_lines,
    mode_name,
    on_lines,
    one_line,
    reason_notes,
    shown_sizes,
    varying_fields,
)
from fgbench_reports.tables.column import Cell, Column, as_text, filled, line_of, word
from fgbench_reports.tables.numbers import four_digits, gigabytes, img_per_s, short_percent, significant
from fgbench_reports.tables.render import RowTables
from fgbench_reports.tables.table import BEST, Layout, Table, distinct, file_name

if TYPE_CHECKING:
    import pandas as pd

STATUS_STYLES = {Status.OK: "", Status.UNCONVERGED: "yellow", Status.CONTENDED: "yellow", Status.OOM_INFERRED: "dim"}
OTHER_STATUS_STYLE = "red"
MARK = "*"  # of the best batch, on a terminal


def _times(field: str, factor: float) -> Callable[[ThroughputRow], float | None]:
    def value(row: ThroughputRow) -> float | None:
        figure = getattr(row, field)
        return None if figure is None else figure * factor

    return value


def tail_is_asked_for(row: ThroughputRow) -> bool:
    """Whether percentiles were asked for, by ``--tail`` or as the latencies of requests under load."""
    return bool((((row.environment or {}).get("seen") or {}).get("percentiles") or {}).get("asked_for"))


def _percentile(percent: int) -> Callable[[ThroughputRow], float | None]:
    def value(row: ThroughputRow) -> float | None:
        figure = getattr(row, percentile_field(percent))
        return figure * 1e3 if figure is not None and tail_is_asked_for(row) else None

    return value


def _half_width_percent(row: ThroughputRow) -> float | None:
    low, middle, high = row.latency_ci95_low_s, row.latency_s, row.latency_ci95_high_s
    return (high - low) / middle * 50 if low is not None and high is not None and middle else None


def _step_gigaflops(row: ThroughputRow) -> float | None:
    """The counted work of a training step; forward passes have theirs in the rows of ``fgbench flops``."""
    flops = (row.environment or {}).get("flops_per_image")
    return None if flops is None else flops / 1e9


def _memory(field: str, *, on_gpu: bool) -> Callable[[ThroughputRow], int | None]:
    def value(row: ThroughputRow) -> int | None:
        return getattr(row, field) if (row.device == "cuda") is on_gpu else None

    return value


def _is_in(column: Column) -> Callable[[ThroughputRow], bool]:
    return lambda row: column.of(row) is not None


COLUMNS = (
    *(Column(name, name, is_name=True) for name in SERIES),
    Column("size", "image_size", unit="pixel"),
    Column("batch", "batch_size"),
    Column("run", "repeat", note="run: which repeat"),
    Column("img/s", "throughput_img_s", img_per_s, better="high", note="img/s: images per second"),
    Column(
        "latency ms",
        _times("latency_s", 1e3),
        four_digits,
        unit="ms",
        better="low",
        note="latency: of one batch, the median of the blocks",
    ),
    Column("±%", _half_width_percent, short_percent, unit="%", note="±%: half of its 95 % interval"),
    Column("p50 ms", _percentile(50), four_digits, unit="ms", better="low"),
    Column("p95 ms", _percentile(95), four_digits, unit="ms", better="low"),
    Column(
        "p99 ms",
        _percentile(99),
        four_digits,
        unit="ms",
        better="low",
        note="p50, p95, p99: percentiles of single iterations; under load, of requests",
    ),
    Column(
        "allocated GB",
        _memory("peak_memory_allocated_bytes", on_gpu=True),
        gigabytes,
        unit="byte",
        better="low",
        note="alloc.: the most that tensors held after the warm-up, in 10⁹ bytes",
    ),
    Column("reserved GB", _memory("peak_memory_reserved_bytes", on_gpu=True), gigabytes, unit="byte", better="low"),
    Column("on device GB", _memory("device_memory_bytes", on_gpu=True), gigabytes, unit="byte", better="low"),
    Column(
        "resident GB",
        _memory("device_memory_bytes", on_gpu=False),
        gigabytes,
        unit="byte",
        better="low",
        note="resident: the process's largest resident set, in 10⁹ bytes",
    ),
    Column(
        "J/img", "energy_j_per_image", significant, unit="J", better="low", note="J/img: the device's energy per image"
    ),
    Column(
        "GFLOP/img",
        _step_gigaflops,
        significant,
        note="GFLOP/img: counted work of a training step per image, 2·MACs and every other operation",
    ),
    Column(
        "MFU %",
        _times("mfu", 100),
        significant,
        unit="%",
        better="high",
        note="MFU: share of the device's measured rate of matrix products",
    ),
    *AGREEMENT,
    Column("status", "status", is_name=True),
)
BY_HEADING = {column.heading: column for column in COLUMNS}
BEFORE_RATIO = ("latency ms", "±%")  # a ratio stands behind them
ALWAYS = ("img/s", "latency ms")  # columns of the report, even where no row fills them
# Columns of the command: which rows need them. The others of the report are left out.
NEEDED_BY: dict[str, Callable[[ThroughputRow], bool]] = {
    "size": lambda row: True,
    "batch": lambda row: True,
    "run": lambda row: row.repeat is not None,
    "img/s": lambda row: True,
    "latency ms": lambda row: True,
    "±%": lambda row: True,
    **dict.fromkeys(("p50 ms", "p95 ms", "p99 ms"), tail_is_asked_for),
    "allocated GB": lambda row: row.device == "cuda",
    "resident GB": lambda row: row.device != "cuda",
    "J/img": lambda row: row.energy_j_per_image is not None,
    "GFLOP/img": lambda row: _step_gigaflops(row) is not None,
    "MFU %": lambda row: row.mfu is not None,
    **{column.heading: _is_in(column) for column in AGREEMENT},
}


def throughput_tables(rows: Sequence[Row], *, baseline: str | None = None) -> RowTables:
    """The rows of ``fgbench throughput`` as each format shows them.

    A terminal shows a table per device, dtype and environment, in which the best batch of a model and size is bold.
    Documents have one table, in which what differs between environments has columns of its own.

    Args:
        rows: Rows of throughput. Those of parts stand in tables of their own behind the others.
        baseline: A model: a column, and fields in JSON and CSV, have the ratios of latencies to its own.

    """
    every = records(ThroughputRow, rows)
    timed, parts = [row for row in every if row.part is None], [row for row in every if row.part is not None]
    base = None if baseline is None else Baseline(baseline, every)
    groups = by_environment(timed)
    narrow = [_narrow(common_title(group, mode_name(key, groups)), group, base) for key, group in groups.items()]
    saved = rows if base is None else [base.as_dict(row) for row in every]
    notes = throughput_notes(timed, baseline=base)
    tables = RowTables(rows=saved, narrow=narrow, wide=[_wide(timed, base)], notes=notes)
    return tables + part_tables(parts) if parts else tables


class Throughput(Report):
    """Throughput, latency, memory, energy and MFU of every point: a table per device, dtype and environment."""

    title = "Throughput, latency, memory, energy"

    def items(self, data: Data) -> Iterable[Item]:
        """A table per environment; the best batch of every model and size is marked."""
        every = [*data.throughput, *data.training]
        groups = by_environment(every)
        base = None if data.baseline is None else Baseline(data.baseline, every)
        names = distinct(file_name("throughput", *key[:3], key[3]) for key in groups)
        for name, (key, rows) in zip(names, groups.items(), strict=True):
            ordered = [pair for rows_of_one in group_by(rows, *SERIES).values() for pair in in_order(rows_of_one)]
            yield Table.from_rows(
                name,
                f"Throughput · {mode_name(key, groups)}",
                _with_ratio(filled(COLUMNS, rows, ALWAYS), base),
                [row for row, _ in ordered],
                marks={(index, "img/s"): BEST for index, (_, best) in enumerate(ordered) if best},
                notes=throughput_notes(rows, mark="Bold", baseline=base),
            )
        if not groups:
            yield Missing(what="throughput, latency and memory of models", command=KINDS["throughput"])


def throughput(data: Data) -> pd.DataFrame:
    """Every measured point as it is, a line each; of the environment the fields that tell machines apart."""
    import pandas as pd

    fields = ("device_name", "torch", "cuda", "driver", "threads", "code")
    return pd.DataFrame(
        [
            {key: row[key] for key in row if key not in ("environment", "blocks")}
            | {name: row.environment.get(name) for name in fields}
            for row in (*data.throughput, *data.training)
        ]
    )


def throughput_notes(rows: Sequence[ThroughputRow], *, mark: str = MARK, baseline: Baseline | None = None) -> list[str]:
    """The columns, statuses and their reasons, reasons for missing figures, and the environments.

    Args:
        rows: Rows of throughput.
        mark: What marks the best batch of a model and size.
        baseline: What the latencies are compared with; None: nothing.

    """
    if not rows:
        return []
    columns = "; ".join(note for column in _columns(rows) if (note := column.note))
    columns += f". {mark} marks the batch with the highest throughput of its model and size."
    ratios = [] if baseline is None else baseline.notes(rows)
    return [
        columns,
        *ratios,
        *agreement_notes(rows),
        *reason_notes(rows),
        *_missing_notes(rows),
        *environment_notes(rows),
    ]


def _columns(rows: Sequence[ThroughputRow], baseline: Baseline | None = None) -> list[Column]:
    """The columns of figures of the command that these rows need."""
    needed = [BY_HEADING[heading] for heading, is_needed in NEEDED_BY.items() if any(map(is_needed, rows))]
    return _with_ratio(needed, baseline)


def _with_ratio(columns: Sequence[Column], baseline: Baseline | None) -> list[Column]:
    """The columns with that of the ratio, where there is a baseline."""
    if baseline is None:
        return list(columns)
    behind = 1 + max(at for at, column in enumerate(columns) if column.heading in BEFORE_RATIO)
    return [*columns[:behind], ratio_column(baseline), *columns[behind:]]


def _narrow(title: str, rows: Sequence[ThroughputRow], baseline: Baseline | None) -> Table:
    of_figures, varying = _columns(rows, baseline), varying_fields(rows)
    headings = [column.heading for column in of_figures]
    failed = any(not row.status.is_ok for row in rows)
    behind = headings.index("img/s") + 1  # the mark stands beside the throughput
    columns = ["model", *headings[:behind], "", *headings[behind:], *(["status"] if failed else [])]
    lines: list[dict[str, Cell]] = []
    styles: dict[tuple[int, str], str] = {}
    block_ends = []
    for rows_of_one in group_by(rows, *SERIES).values():
        ordered = list(in_order(rows_of_one))
        labels = on_lines(label_lines(rows_of_one[0], varying), len(ordered))
        sizes = shown_sizes([[row] for row, _ in ordered])
        for label, size, (row, best) in zip(labels, sizes, ordered, strict=True):
            styles |= {
                (len(lines), heading): "bold" for heading in columns[2:] if best
            }  # behind the model and the size
            line = line_of(of_figures, row)
            line |= {"model": Cell(row.model, label), "size": Cell(row.image_size, size)}
            line |= {"": Cell(best, MARK if best else "")}
            if failed:
                status = row.status
                line["status"] = Cell(status, "" if status.is_ok else as_text(status))
                styles[len(lines), "status"] = STATUS_STYLES.get(status, OTHER_STATUS_STYLE)
            lines.append(line)
        block_ends.append(len(lines) - 1)
    layout = Layout(styles=styles, block_ends=block_ends)
    names = ("model", "", "status")
    return Table.from_cells("throughput", title, lines, names=names, headings=columns, layout=layout)


def _wide(rows: Sequence[ThroughputRow], baseline: Baseline | None) -> Table:
    of_figures, differing = _columns(rows, baseline), differing_fields(by_environment(rows))
    columns = [*(BY_HEADING[name] for name in SERIES), *of_figures, BY_HEADING["status"]]
    headings = [column.heading for column in of_figures]
    lines = []
    for key, ordered in by_series(rows):
        names = _names(key, differing)
        lines += [names | line_of(columns, row) | {"best": Cell(best, "yes" if best else "")} for row, best in ordered]
    first = [*map(field_name, differing), *SERIES, "device", "dtype", "mode"]
    return Table.from_cells(
        "throughput",
        "",
        lines,
        names=("device name", *SERIES, "device", "dtype", "mode", "status", "best"),
        headings=[*first, *headings, "status", "best"] if rows else [],
        notes=throughput_notes(rows, mark="best", baseline=baseline),
    )


def _names(key: EnvironmentKey, differing: Sequence[str]) -> dict[str, Cell]:
    """The cells of an environment in the table of documents."""
    environment = environment_of(key)
    names = {field_name(field): word(environment[field]) for field in differing}
    return names | {"device": word(key[0]), "dtype": word(key[1]), "mode": word(key[2])}


def _missing_notes(rows: Sequence[ThroughputRow]) -> list[str]:
    """Why columns lack figures: each reason once, with its columns."""
    columns: dict[str, dict[str, None]] = {}
    for row in rows:
        on_gpu = row.device == "cuda"
        memory = "peak_memory_allocated_bytes" if on_gpu else "device_memory_bytes"
        names: dict[Any, str] = {"energy_j_per_image": "J/img", "mfu": "MFU", memory: "memory"}
        for field, reason in ((row.environment or {}).get("missing") or {}).items():
            if field in names:
                columns.setdefault(one_line(reason), {})[names[field]] = None
    notes = [f"No {', '.join(names)}: {reason}" for reason, names in columns.items()]
    return first_notes([*notes, *_missing_percentiles(rows)], "reason")


def _missing_percentiles(rows: Sequence[ThroughputRow]) -> list[str]:
    """Why percentiles that were asked for are missing: a note for reasons that differ only in their numbers."""
    reasons: dict[tuple[int, str], list[str]] = {}
    for row in filter(tail_is_asked_for, rows):
        for percent in (50, 95, 99):
            if reason := (row.environment.get("missing") or {}).get(percentile_field(percent)):
                reasons.setdefault((percent, re.sub(NUMBER, "#", reason)), []).append(one_line(reason))
    return [f"No p{percent}: {in_common(texts)}" for (percent, _), texts in reasons.items()]
