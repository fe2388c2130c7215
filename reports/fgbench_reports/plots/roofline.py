"""Rooflines of models and of selectors: their speed and the rates of the device."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from math import inf

from fgbench.results.records import SelectionRow, ThroughputRow
from fgbench_reports.advice import sweep_command
from fgbench_reports.choose.configurations import Configuration
from fgbench_reports.data import KINDS, Data
from fgbench_reports.plots.bars import rate_ends
from fgbench_reports.plots.looks import Series, labels_of, looks_of, names_in, series_looks, series_of, with_lines
from fgbench_reports.plots.roof import Roof, RooflineFigure, highest, speed_words, under_roof
from fgbench_reports.plots.scatter import Mark
from fgbench_reports.plots.sweeps import (
    chosen_series,
    file_names,
    first_figures,
    known_series,
    listed,
    measured,
    mode_names,
    no_sweep,
    not_drawn,
    points_not_drawn,
    sweep_notes,
    untimed,
    untimed_notes,
    words_of,
)
from fgbench_reports.report import Figure, Item, Missing, Report
from fgbench_reports.selector_cost import by_place, intensity
from fgbench_reports.sweep_rows import as_text, environment_notes, one_line
from fgbench_reports.tables.numbers import milliseconds, significant

RATES_DIFFER = 1.05  # ratio of the rates of two runs from which on a note says so
BACKBONE, LIKE_BACKBONE = "backbone", "vit"  # label of a backbone's own row, and the series whose look it has
LACKING = "no row has a time, its bytes and the device's rates"
NEEDED = ("matrix_rate_flop_s", "copy_rate_bytes_s", "macs_per_image", "bytes_per_image")
COUNTED = (
    "Bytes are what operators move, each reading its arguments and writing its results once: what stays in a cache can "
    "lie above the slope."
)


class Roofline(Report):
    """The speed of models and selections against the limits of the device, as a roofline with MFU."""

    title = "Roofline"

    name = "roofline"

    def items(self, data: Data) -> Iterable[Item]:
        """A figure per mode of the sweeps, then one per device on which selections were timed by themselves."""
        yield from _models(data)
        yield from _selections(data)


def _models(data: Data) -> Iterator[Item]:
    every, lost = measured(data), untimed(data)
    points = {mode: [one for one in some if _roof_of_run(one.row)] for mode, some in every.items()}
    names, looks = mode_names(data), series_looks(data)
    found, left = first_figures([mode for mode in names if points.get(mode)], names.__getitem__)
    if not found:
        why = "no row has its bytes per image and the device's rates of products and copies"
        timed = [one.row for some in every.values() for one in some]
        missing = no_sweep("a roofline of models", data, why)
        # Rows in the store are measured again only with --again.
        yield replace(missing, command=sweep_command(timed, "--again")) if timed else missing
    for mode, name in zip(found, file_names(f"roofline {names[mode]}" for mode in found), strict=True):
        kept, many = known_series([one.row for one in points[mode]])
        shown = [one for one in points[mode] if series_of(one.row) in kept]
        rows, labels = [one.row for one in shown], labels_of(one.row for one in shown)
        roofs = [roof for row in rows if (roof := _roof_of_run(row))]
        marks, title = [_model_mark(one, labels[series_of(one.row)]) for one in shown], f"Roofline · {names[mode]}"
        notes = ["Each point is a model at one image size, at the batch of its highest throughput."]
        timed = [one.row for one in every[mode]]
        lacking = [row for row in timed if not _roof_of_run(row)]
        left_out = [*many, *points_not_drawn(lacking, timed, "no count of bytes, or no rates of the device")]
        left_out += untimed_notes(lost[mode], timed)
        notes += [f"Work is 2·MACs of an image. {COUNTED}", *_differing(roofs), *left_out, *sweep_notes(rows)]
        yield RooflineFigure(
            name=name,
            title=title,
            alt=under_roof(title, marks, highest(roofs), labels),
            notes=(*notes, *(left if mode == found[-1] else [])),
            marks=marks,
            roof=highest(roofs),
            looks=looks,
            labels=labels,
            share="MFU (%)",
            left_out=left_out,
        )


def _roof_of_run(row: ThroughputRow) -> Roof | None:
    """The device's rates; None if the row lacks a value that a roofline needs."""
    environment = row.environment or {}
    under_load = environment.get("concurrency") or environment.get("rate_per_s")
    if under_load or not all(environment.get(name) for name in NEEDED):
        return None
    return Roof(product_flop_s=float(environment[NEEDED[0]]), copy_bytes_s=float(environment[NEEDED[1]]))


def _differing(roofs: Sequence[Roof]) -> list[str]:
    rates = [roof.product_flop_s for roof in roofs], [roof.copy_bytes_s for roof in roofs]
    spread = max(max(some) / min(some) for some in rates)
    if spread <= RATES_DIFFER:
        return []
    told = f"The device's rates differ between runs by up to {(spread - 1) * 100:.0f} %. The roof and the axis at the "
    return [f"{told}right are of the highest; a point's own words say its share of its own run's."]


def _model_mark(one: Configuration, label: str) -> Mark:
    environment, speed = one.row.environment, one.img_s
    work, moved = 2 * float(environment["macs_per_image"]), float(environment["bytes_per_image"])
    told = f"{speed_words(work * speed)}, {significant(work / moved)} FLOPs per byte"
    text, size = "\n".join([*words_of(one, label), told]), int(one.row.image_size)
    ends, status = rate_ends(one.row, work * float(one.row.batch_size)), one.row.status
    x, y, series = work / moved, work * speed, series_of(one.row)
    return Mark(series=series, x=x, y=y, image_size=size, text=text, ends=ends, status=status)


def _selections(data: Data) -> Iterator[Item]:
    every = dict(by_place(data.selection))
    groups = [(where, [row for row in some if _has_roof(row)]) for where, some in every.items()]
    groups = [(where, some) for where, some in groups if some]
    if not groups:
        missing = Missing(what="a roofline of selections", command=KINDS["selection"])
        # Rows in the store are measured again only with --again.
        again = replace(missing, command=f"{missing.command} --again", why=LACKING)
        yield again if data.selection else missing
    found, left = first_figures(groups, lambda group: group[0])
    files = file_names(f"roofline selection {where}" for where, _ in found)
    for index, ((where, some), name) in enumerate(zip(found, files, strict=True), 1):
        title = f"Roofline of selections · {where}"
        lacking = [row for row in every[where] if not _has_roof(row)]
        yield _of_selections(name, title, some, data, left if index == len(found) else [], lacking)


def _has_roof(row: SelectionRow) -> bool:
    return bool(row.latency_s and row.flops and row.bytes and _roof_of_selection(row))


def _of_selections(
    name: str,
    title: str,
    rows: Sequence[SelectionRow],
    data: Data,
    left: Sequence[str],
    lacking: Sequence[SelectionRow],
) -> Figure:
    kept, many = chosen_series([_series(row) for row in rows], lambda each: each[0] or LIKE_BACKBONE)
    shown, by_name = [row for row in rows if _series(row) in kept], looks_of(names_in(data))
    labels = {each: " ".join(as_text(word) for word in each if word) or BACKBONE for each in kept}
    roofs = [roof for row in shown if (roof := _roof_of_selection(row))]
    marks = [_selection_mark(row, labels[_series(row)]) for row in shown]
    left_out = [*many, *_lacking(lacking)]
    work = f"Work is every operation of one selection by itself, of a whole batch. {COUNTED}"
    return RooflineFigure(
        name=name,
        title=title,
        alt=under_roof(title, marks, highest(roofs), labels),
        notes=(work, *_differing(roofs), *left_out, *environment_notes(shown), *left),
        marks=marks,
        roof=highest(roofs),
        looks=with_lines({each: (by_name[each[0] or LIKE_BACKBONE], each[1] == "published") for each in kept}),
        labels=labels,
        share="% of the rate of products",
        left_out=left_out,
    )


def _lacking(rows: Sequence[SelectionRow]) -> list[str]:
    """Notes on the selections that the roofline leaves out, by the missing value."""
    groups: dict[str, list[str]] = {}
    for row in rows:
        untimed_why = f"no time, status {as_text(row.status)}"
        why = untimed_why if not row.latency_s else "no count of work and bytes, or no rates of the device"
        name = " ".join(as_text(word) for word in _series(row) if word) or BACKBONE
        groups.setdefault(why, []).append(f"{name} at {row.image_size}")
    return [note for why, names in groups.items() for note in not_drawn(len(names), "point", listed(names), why)]


def _series(row: SelectionRow) -> Series:
    return (row.selector, row.impl)


def _roof_of_selection(row: SelectionRow) -> Roof | None:
    roof = (row.environment or {}).get("roof") or {}
    flops, copied = roof.get("product_flop_s"), roof.get("copy_bytes_s")
    return Roof(product_flop_s=float(flops), copy_bytes_s=float(copied)) if flops and copied else None


def _selection_mark(row: SelectionRow, label: str) -> Mark:
    speed, per_byte, roof = row.flops / (row.latency_s or inf), intensity(row) or 0.0, _roof_of_selection(row)
    share = significant(100 * speed / roof.product_flop_s if roof else None)
    lines = [label, f"{row.image_size} px, batch {row.batch_size}, {milliseconds(row.latency_s)} ms"]
    lines.append(f"{speed_words(speed)}, {share} % of the rate of products, {significant(per_byte)} FLOPs per byte")
    lines += [f"{as_text(row.status)}: {one_line(row.reason)}"] if not row.status.is_ok else []
    return Mark(
        series=_series(row),
        x=per_byte,
        y=speed,
        image_size=row.image_size,
        text="\n".join(lines),
        status=row.status,
        ends=rate_ends(row, float(row.flops)),
        half=row.impl == "published",
    )
