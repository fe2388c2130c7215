"""The tables of ``fgbench throughput``: one per mode and environment; and how far repeats of a point lie apart."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from statistics import median
from typing import TYPE_CHECKING, Any

from fgbench_reports.cost_table import Line, Row, grouped
from fgbench_reports.numbers import gigabytes, half_width_percent, img_per_s, milliseconds, short_percent, significant

if TYPE_CHECKING:
    import pandas as pd
    from rich.table import Table

# The device, the dtype, its flags, then the environment's values: rows that differ in any stand in different tables.
Mode = tuple[str, ...]
FLAGS = {"channels_last": "channels last", "cuda_graph": "CUDA graph"}
ENVIRONMENT = {
    **{"device_name": "", "torch": "torch ", "cuda": "CUDA ", "driver": "driver "},
    **{"threads": "threads ", "fgbench": "fgbench ", "git_revision": "revision "},
}
CONTENDER = ("model", "selector", "impl", "backbone")
WORDS = {"oom_inferred": "(oom)", "unconverged": "noisy", "contended": "busy"}  # where the status is too long
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
FIGURES_VARY = ("oom", "oom_inferred", "unconverged", "contended", "timeout")  # from reason to reason
MAX_NOTES, MAX_PLACES, MAX_BATCHES, MAX_LETTERS = 8, 4, 8, 240  # of a kind; in a note; at a place; in a reason


def throughput_tables(rows: Sequence[Row]) -> Iterator[Table]:
    """One terminal table per device, dtype, compiled or not, and environment; the best batches are bold and marked."""
    modes = _modes(rows)
    for mode, group in modes.items():
        yield _table(_title(group, _mode_name(mode, modes)), group)


def throughput_notes(rows: Sequence[Row]) -> list[str]:
    """What the columns are, what went wrong where, why figures are missing, and what it was measured on."""
    if not rows:
        return []
    columns = "; ".join(COLUMNS[heading] for heading in _headings(rows) if heading in COLUMNS)
    columns += f". {BEST} marks the batch with the highest throughput of its model and size."
    return [columns, *_reasons(rows), *_missing(rows), *_environments(rows)]


def throughput_frame(rows: Sequence[Row]) -> pd.DataFrame:
    """A DataFrame of printed cells, one line per row; what differs between environments has columns of its own."""
    import pandas as pd

    lines, headings, differing = [], _headings(rows), _differing(_modes(rows))
    for mode, ordered in _contenders(rows):
        environment = {name.replace("_", " "): _environment(mode)[name] for name in differing}
        for row, best in ordered:
            names = {name: _text(row[name]) for name in CONTENDER}
            names |= {"device": mode[0], "dtype": mode[1], "mode": mode[2]}
            cells = {**_cells(row), "status": _text(row["status"]), "best": "yes" if best else ""}
            lines.append(environment | names | {heading: cells[heading] for heading in (*headings, "status", "best")})
    return pd.DataFrame(lines)


def spread_table(rows: Sequence[Row]) -> Table:
    """Per point the latencies of its repeats, how far they lie apart, and whether their intervals overlap."""
    from rich.text import Text

    repeated = [row for row in rows if row.get("repeat") is not None]
    modes, varying = _modes(repeated), _varying(repeated)
    title = _title(repeated, "repeats", *(_mode_name(mode, modes) for mode in modes if len(modes) == 1))
    failed = any(row["status"] != "ok" for row in repeated)
    right = ("size", "batch", "latency ms", "spread %")
    table = _empty_table(title, ("model", *right, "intervals", *(["status"] if failed else [])), right)
    width = max((len(milliseconds(row["latency_s"])) for row in repeated), default=0)
    for mode, ordered in _contenders(repeated):
        points = _by_point(ordered)
        labels = [*_label(ordered[0][0], varying), *([f" {_mode_name(mode, modes)}"] if len(modes) > 1 else [])]
        for label, size, point in zip(_on_lines(labels, len(points)), _sizes(points), points, strict=True):
            spread = _spread(point)
            latencies = " ".join(milliseconds(row["latency_s"]).rjust(width) for row in point)
            cells = [label, size, str(point[0]["batch_size"]), latencies, short_percent(spread), _overlap(point)]
            if failed:
                cells.append(", ".join(dict.fromkeys(_word(row) for row in point if row["status"] != "ok")))
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
        notes.append(f"No spread, for want of two figures: {_places(lacking, _sites(rows))}.")
    return [*notes, *_reasons(repeated), *_environments(repeated)]


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


def _modes(rows: Sequence[Row]) -> dict[Mode, list[Row]]:
    modes: dict[Mode, list[Row]] = {}
    measured = dict.fromkeys(_mode(row) for row in rows if row["latency_s"] is not None)
    for row in rows:
        mode = _mode(row)
        if row["latency_s"] is None:  # what died early may not have told all of its environment
            fits = (full for full in measured if all(a in (b, "–") for a, b in zip(mode, full, strict=True)))
            mode = next(fits, mode)
        modes.setdefault(mode, []).append(row)
    return modes


def _mode(row: Row) -> Mode:
    environment = row["environment"] or {}
    flags = ["compiled" if row["compiled"] else "eager", *(FLAGS[name] for name in FLAGS if environment.get(name))]
    if limit := environment.get("memory_limit_bytes"):
        flags.append(f"at most {gigabytes(limit)} GB")
    mode = (row["device"], row["dtype"], " · ".join(flags), *(environment.get(name) for name in ENVIRONMENT))
    return tuple(map(_text, mode))


def _environment(mode: Mode) -> dict[str, str]:
    return dict(zip(ENVIRONMENT, mode[3:], strict=True))


def _differing(modes: Iterable[Mode]) -> list[str]:
    """The fields that tell these environments apart: the device's name, and what differs on one device."""
    devices = grouped([_environment(mode) for mode in modes], "device_name").values()
    differing = [name for name in ENVIRONMENT if any(len({each[name] for each in some}) > 1 for some in devices)]
    return ["device_name", *differing] if len(devices) > 1 else differing


def _ordered(rows: Sequence[Row]) -> Iterator[tuple[Row, bool]]:
    """A contender's rows by size, batch and repeat, and whether a row is the one best of its size."""
    by_size = grouped(rows, "image_size")
    for size in sorted(by_size):
        some = sorted(by_size[size], key=lambda row: (row["batch_size"], row.get("repeat") or 0))
        # Sweeps that were put together can each have a best one.
        flagged = [index for index, row in enumerate(some) if row["best"] and row["throughput_img_s"] is not None]
        best = max(flagged, key=lambda index: some[index]["throughput_img_s"], default=None)
        yield from ((row, index == best) for index, row in enumerate(some))


def _contenders(rows: Sequence[Row]) -> Iterator[tuple[Mode, list[tuple[Row, bool]]]]:
    for mode, group in _modes(rows).items():
        for contender in grouped(group, *CONTENDER).values():
            yield mode, list(_ordered(contender))


def _points(rows: Sequence[Row]) -> list[list[Row]]:
    return [point for _, ordered in _contenders(rows) for point in _by_point(ordered)]


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


def _text(value: object) -> str:
    """A value as one line of visible characters; – where it is missing."""
    text = "–" if value is None else str(value)
    return text if text.isprintable() else "".join(letter if letter.isprintable() else " " for letter in text)


def _varying(rows: Sequence[Row]) -> list[str]:
    """What a model's name does not tell: the fields of a contender that differ among these rows."""
    return [name for name in CONTENDER[1:] if len({row[name] for row in rows}) > 1]


def _label(row: Row, varying: Sequence[str]) -> list[str]:
    """A contender's name, in lines: the model, its selector and implementation, its backbone."""
    told = {name: _text(row[name]) for name in varying if row[name] is not None}
    chosen = " · ".join(told[name] for name in ("selector", "impl") if name in told)
    lines = [chosen, told.get("backbone", "") if row["backbone"] != row["model"] else ""]
    return [_text(row["model"]), *(f" {line}" for line in lines if line)]


def _mode_name(mode: Mode, modes: Iterable[Mode]) -> str:
    """The device, the dtype, compiled or eager, and what else tells this mode's environment from the others'."""
    environment, (device, *flags) = _environment(mode), mode[:3]
    name = environment["device_name"] if environment["device_name"] != "–" else device
    others = (field for field in _differing(modes) if field != "device_name")
    differing = (ENVIRONMENT[field] + environment[field].replace("–", "unknown") for field in others)
    return " · ".join([name, *flags, *differing])


def _title(rows: Sequence[Row], *words: str) -> str:
    """These words, and what the contenders have in common."""
    common = [{row[name] for row in rows} - {None} for name in CONTENDER[1:] if name not in _varying(rows)]
    return " · ".join([*words, *(_text(value) for values in common for value in values)])


def _word(row: Row) -> str:
    return _text(WORDS.get(row["status"], row["status"]))


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
        "run": _text(row.get("repeat")),
        "img/s": img_per_s(row["throughput_img_s"]),
        "latency ms": milliseconds(row["latency_s"]),
        "±%": half_width_percent(row["latency_ci95_low_s"], row["latency_s"], row["latency_ci95_high_s"]),
        "allocated GB": memory if row["device"] == "cuda" else "–",
        "resident GB": memory if row["device"] != "cuda" else "–",
        "J/img": significant(row["energy_j_per_image"]),
        "MFU %": significant(None if row["mfu"] is None else row["mfu"] * 100),
    }


def _empty_table(title: str, headings: Sequence[str], right: Sequence[str]) -> Table:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    # Without edges the lines fit 80 columns; what stood above and below is a blank line.
    table = Table(title=Text(f"{title}\n", "bold"), caption=" ", title_justify="left", box=box.SIMPLE_HEAD, padding=0)
    table.show_edge = False
    for heading in headings:
        figures = heading in right and heading != "latency ms"  # never cut; names fold where a terminal is narrow
        lines = heading.replace("allocated", "alloc.").replace(" ", "\n") if " " in heading else f"\n{heading}"
        table.add_column(
            lines.rstrip(), justify="right" if heading in right else "left", overflow="fold", no_wrap=figures
        )
    return table


def _table(title: str, rows: Sequence[Row]) -> Table:
    from rich.text import Text

    headings, varying = _headings(rows), _varying(rows)
    failed = any(row["status"] != "ok" for row in rows)
    behind = headings.index("img/s") + 1  # the mark stands beside the throughput
    columns = ["model", *headings[:behind], "", *headings[behind:], *(["status"] if failed else [])]
    table = _empty_table(title, columns, headings)
    for contender in grouped(rows, *CONTENDER).values():
        ordered = list(_ordered(contender))
        labels = _on_lines(_label(contender[0], varying), len(ordered))
        sizes = _sizes([[row] for row, _ in ordered])
        for label, size, (row, best) in zip(labels, sizes, ordered, strict=True):
            cells = {**_cells(row), "model": label, "size": size, "": BEST if best else ""}
            styles = dict.fromkeys(columns[2:], "bold" if best else "")  # behind the model and the size
            if failed:
                cells["status"] = "" if row["status"] == "ok" else _word(row)
                styles["status"] = STYLES.get(row["status"], "red")
            table.add_row(*(Text(cells[name], styles.get(name, "")) for name in columns))
        table.add_section()
    return table


def _on_lines(labels: Sequence[str], lines: int) -> list[str]:
    """A name's lines on the lines of a table, the last of which takes those left over."""
    cells = [*labels, *([""] * lines)][: lines - 1]
    return [*cells, "\n".join(labels[lines - 1 :])]


def _sizes(points: Sequence[Sequence[Row]]) -> list[str]:
    """The image size where it changes."""
    sizes = [str(point[0]["image_size"]) for point in points]
    return ["" if index and sizes[index - 1] == size else size for index, size in enumerate(sizes)]


def _reasons(rows: Sequence[Row]) -> list[str]:
    """Each reason once, with where it was met."""
    groups: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        if row["status"] != "ok":
            reason = _line(row["reason"])
            key = re.sub(r"[\d.]+", "#", reason) if row["status"] in FIGURES_VARY else reason
            groups.setdefault((row["status"], key), []).append(row)
    notes, sites = [], _sites(rows)
    for (status, _), group in groups.items():
        meaning = "" if _word(group[0]) == status else f" = {status}"
        numbers = " (figures vary)" if len({_line(row["reason"]) for row in group}) > 1 else ""
        notes.append(f"{_word(group[0])}{meaning}: {_places(group, sites)} – {_line(group[0]['reason'])}{numbers}")
    return _first(notes, "reason")


def _sites(rows: Sequence[Row]) -> dict[int, str]:
    """Where each row, by its id, was measured, in the words that tell it from others: glsim gls at 448."""
    alike: dict[tuple[str, int], list[tuple[Mode, Row]]] = {}
    for mode, some in _modes(rows).items():
        for row in some:
            alike.setdefault((row["model"], row["image_size"]), []).append((mode, row))
    sites = {}
    for (_, size), group in alike.items():
        modes, varying = dict.fromkeys(mode for mode, _ in group), _varying([row for _, row in group])
        names = {mode: f" ({_mode_name(mode, modes)})" if len(modes) > 1 else "" for mode in modes}
        for mode, row in group:
            sites[id(row)] = f"{' '.join(map(str.strip, _label(row, varying)))}{names[mode]} at {size}"
    return sites


def _places(rows: Sequence[Row], sites: Mapping[int, str]) -> str:
    """Where something was met: glsim at 448, batches 64, 128; transfg at 448, batch 64; and 3 more points."""
    places: dict[str, dict[str, None]] = {}
    for row in rows:
        places.setdefault(sites[id(row)], {})[str(row["batch_size"])] = None
    written, left = [], sum(map(len, places.values()))
    for place, met in list(places.items())[:MAX_PLACES]:
        batches = list(met)[:MAX_BATCHES]
        written.append(f"{place}, batch{'es' if len(batches) > 1 else ''} {', '.join(batches)}")
        left -= len(batches)
    return "; ".join([*written, *([f"and {left} more point{'s' if left > 1 else ''}"] if left else [])])


def _missing(rows: Sequence[Row]) -> list[str]:
    """Why columns lack figures: each reason once, with the columns it concerns."""
    columns: dict[str, dict[str, None]] = {}
    for row in rows:
        names = {"energy_j_per_image": "J/img", "mfu": "MFU", MEMORY[row["device"] == "cuda"]: "memory"}
        for field, reason in ((row["environment"] or {}).get("missing") or {}).items():
            if field in names:
                columns.setdefault(_line(reason), {})[names[field]] = None
    return _first([f"No {', '.join(names)}: {reason}" for reason, names in columns.items()], "reason")


def _environments(rows: Sequence[Row]) -> list[str]:
    """What it was measured on and with, a line per environment."""
    modes, lines = _modes(rows), []
    for mode, environment in zip(modes, map(_environment, modes), strict=True):
        told = [ENVIRONMENT[name] + environment[name] for name in ENVIRONMENT if environment[name] != "–"]
        device = [mode[0]] if environment["device_name"] == "–" else []
        lines.append(f"Measured on {', '.join([*device, *told])}.")
    lines = list(dict.fromkeys(lines))
    if len(lines) > 1:
        names = ", ".join(_differing(modes)).replace("_", " ") or "device"
        lines.insert(0, f"There are {len(lines)} environments, in tables of their own; they differ in {names}.")
    return _first(lines, "environment")


def _first(notes: Sequence[str], thing: str) -> list[str]:
    left = len(notes) - MAX_NOTES
    return [*notes[:MAX_NOTES], *([f"… and {left} more {thing}{'s' if left > 1 else ''}."] if left > 0 else [])]


def _line(text: object) -> str:
    line = " ".join(_text(text or "no reason was given").split())
    return line if len(line) <= MAX_LETTERS else f"{line[: MAX_LETTERS - 1]}…"
