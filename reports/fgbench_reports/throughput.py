"""The tables of ``fgbench throughput``: one per mode and environment."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from fgbench_reports.cost_table import Line, Row, grouped
from fgbench_reports.sweep_rows import (
    CONTENDER,
    as_text,
    by_contender,
    by_mode,
    common_title,
    differing_fields,
    empty_table,
    environment_notes,
    environment_of,
    field_name,
    first_notes,
    in_order,
    label_lines,
    mode_name,
    on_lines,
    one_line,
    reason_notes,
    shown_sizes,
    status_word,
    varying_fields,
)
from fgbench_reports.tables.numbers import gigabytes, half_width_percent, img_per_s, milliseconds, significant

if TYPE_CHECKING:
    import pandas as pd
    from rich.table import Table

STYLES = {"ok": "", "unconverged": "yellow", "contended": "yellow", "oom_inferred": "dim"}  # all others are red
BEST = "*"
COLUMNS = {
    "run": "run: which repeat",
    "img/s": "img/s: images per second",
    "latency ms": "latency: of one batch, the median of the blocks",
    "±%": "±%: half of its 95 % interval",
    "allocated GB": "alloc.: the most that tensors held after the warm-up, in 10⁹ bytes",
    "resident GB": "resident: the process's largest resident set, in 10⁹ bytes",
    "J/img": "J/img: the device's energy per image",
    "MFU %": "MFU: share of the device's measured rate of matrix products",
}
MEMORY = {True: "peak_memory_allocated_bytes", False: "device_memory_bytes"}  # on a GPU, or not


def throughput_tables(rows: Sequence[Row]) -> Iterator[Table]:
    """One terminal table per device, dtype, compiled or not, and environment; the best batches are bold and marked."""
    modes = by_mode(rows)
    for mode, group in modes.items():
        yield _table(common_title(group, mode_name(mode, modes)), group)


def throughput_notes(rows: Sequence[Row]) -> list[str]:
    """What the columns are, what went wrong where, why figures are missing, and what it was measured on."""
    if not rows:
        return []
    columns = "; ".join(COLUMNS[heading] for heading in _headings(rows) if heading in COLUMNS)
    columns += f". {BEST} marks the batch with the highest throughput of its model and size."
    return [columns, *reason_notes(rows), *_missing(rows), *environment_notes(rows)]


def frame_notes(rows: Sequence[Row]) -> list[str]:
    """The same notes for :func:`throughput_frame`, which has a column for the best batch where tables have a mark."""
    return [note.replace(f"{BEST} marks", "best marks", 1) for note in throughput_notes(rows)]


def throughput_frame(rows: Sequence[Row]) -> pd.DataFrame:
    """A DataFrame of printed cells, one line per row; what differs between environments has columns of its own."""
    import pandas as pd

    lines, headings, differing = [], _headings(rows), differing_fields(by_mode(rows))
    for mode, ordered in by_contender(rows):
        environment = {field_name(name): environment_of(mode)[name] for name in differing}
        for row, best in ordered:
            names = {name: as_text(row[name]) for name in CONTENDER}
            names |= {"device": mode[0], "dtype": mode[1], "mode": mode[2]}
            cells = {**_cells(row), "status": as_text(row["status"]), "best": "yes" if best else ""}
            lines.append(environment | names | {heading: cells[heading] for heading in (*headings, "status", "best")})
    return pd.DataFrame(lines)


def _table(title: str, rows: Sequence[Row]) -> Table:
    from rich.text import Text

    headings, varying = _headings(rows), varying_fields(rows)
    failed = any(row["status"] != "ok" for row in rows)
    behind = headings.index("img/s") + 1  # the mark stands beside the throughput
    columns = ["model", *headings[:behind], "", *headings[behind:], *(["status"] if failed else [])]
    table = empty_table(title, columns, headings)
    for contender in grouped(rows, *CONTENDER).values():
        ordered = list(in_order(contender))
        labels = on_lines(label_lines(contender[0], varying), len(ordered))
        sizes = shown_sizes([[row] for row, _ in ordered])
        for label, size, (row, best) in zip(labels, sizes, ordered, strict=True):
            cells = {**_cells(row), "model": label, "size": size, "": BEST if best else ""}
            styles = dict.fromkeys(columns[2:], "bold" if best else "")  # behind the model and the size
            if failed:
                cells["status"] = "" if row["status"] == "ok" else status_word(row)
                styles["status"] = STYLES.get(row["status"], "red")
            table.add_row(*(Text(cells[name], styles.get(name, "")) for name in columns))
        table.add_section()
    return table


def _headings(rows: Sequence[Row]) -> list[str]:
    """The columns of figures that these rows need."""
    devices = {row["device"] for row in rows}
    needed = {
        "run": any(row.get("repeat") is not None for row in rows),
        "allocated GB": "cuda" in devices,
        "resident GB": bool(devices - {"cuda"}),
        "J/img": any(row["energy_j_per_image"] is not None for row in rows),
        "MFU %": any(row["mfu"] is not None for row in rows),
    }
    return [heading for heading in ("size", "batch", *COLUMNS) if needed.get(heading, True)]


def _cells(row: Row) -> Line:
    """Every column of figures as it is printed."""
    memory = gigabytes(row[MEMORY[row["device"] == "cuda"]])
    return {
        "size": str(row["image_size"]),
        "batch": str(row["batch_size"]),
        "run": as_text(row.get("repeat")),
        "img/s": img_per_s(row["throughput_img_s"]),
        "latency ms": milliseconds(row["latency_s"]),
        "±%": half_width_percent(row["latency_ci95_low_s"], row["latency_s"], row["latency_ci95_high_s"]),
        "allocated GB": memory if row["device"] == "cuda" else "–",
        "resident GB": memory if row["device"] != "cuda" else "–",
        "J/img": significant(row["energy_j_per_image"]),
        "MFU %": significant(None if row["mfu"] is None else row["mfu"] * 100),
    }


def _missing(rows: Sequence[Row]) -> list[str]:
    """Why columns lack figures: each reason once, with the columns it concerns."""
    columns: dict[str, dict[str, None]] = {}
    for row in rows:
        names = {"energy_j_per_image": "J/img", "mfu": "MFU", MEMORY[row["device"] == "cuda"]: "memory"}
        for field, reason in ((row["environment"] or {}).get("missing") or {}).items():
            if field in names:
                columns.setdefault(one_line(reason), {})[names[field]] = None
    return first_notes([f"No {', '.join(names)}: {reason}" for reason, names in columns.items()], "reason")
