"""What a million images cost: machine-hours, money, energy."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from fgbench.results.records import ThroughputRow
from fgbench.results.rows import has_capacity
from fgbench_reports.choose.bounds import Bounds, time_bounds
from fgbench_reports.choose.configurations import DEFAULT_DATASET, PUBLISHED, Accuracy, Configuration, configurations
from fgbench_reports.data import KINDS, Data
from fgbench_reports.dataset_subset import tested_on
from fgbench_reports.hour_price import Prices, device_of, hour_price, price_notes_of, prices_in_words
from fgbench_reports.report import Item, Missing, Report, Table
from fgbench_reports.sweep_rows import as_text, environment_notes, reason_notes, varying_fields
from fgbench_reports.tables.column import Cell, Line, word
from fgbench_reports.tables.numbers import img_per_s, significant
from fgbench_reports.tables.table import BEST, SECOND, frame_of

if TYPE_CHECKING:
    import pandas as pd

MILLION = 1e6
HOURS, COST, ENERGY = "hours per 1M", "cost per 1M", "kWh per 1M"
RANKED = (HOURS, COST, ENERGY)  # the lowest is the best
NAMES = ("model", "selector", "impl", "backbone", "mode")
DAGGER = "†"  # behind an accuracy that was not measured here
PUBLISHED_IN = "GLSim, arXiv 2407.12891, Table 4 at 224 pixels and Figure 4 at 448"


def hours_per_million(img_s: float) -> float:
    """Hours that one device takes for a million images."""
    return MILLION / img_s / 3600


def cost_per_million(img_s: float, hour_price: float) -> float:
    """What a million images cost on a device of this price per hour, in its currency."""
    return hours_per_million(img_s) * hour_price


def kwh_per_million(energy_j: float | None) -> float | None:
    """Kilowatt-hours of a million images, from joules per image."""
    return None if energy_j is None else energy_j * MILLION / 3.6e6


def datasets_of(data: Data) -> list[str]:
    """The data sets that accuracies are read for: those that were tested here, or else the published default."""
    return list(dict.fromkeys(map(tested_on, data.accuracy))) or [DEFAULT_DATASET]


def price_table(data: Data) -> pd.DataFrame:
    """A line per model and image size at its best batch: top-1 % per data set, img/s, hours, cost and kWh per million.

    Values as they are; None where there is none. The cost is there with a price, the energy where it was measured.
    """
    return frame_of(_lines(data))


class Price(Report):
    """What a million images cost: hours of a device, money, energy."""

    title = "What a million images cost"

    def items(self, data: Data) -> Iterable[Item]:
        """One table, the best batch of every model and size in every mode."""
        lines = _lines(data)
        if not lines:
            yield Missing(what="Cost per million images", command=KINDS["throughput"])
            return
        yield Table.from_cells(
            "price",
            "Cost per million images",
            lines,
            names=[name for name in NAMES if name in lines[0]],
            marks=_marks(lines, [time_bounds(some[0]) for some in _points(data)]),
            notes=price_notes(data),
        )


def price_notes(data: Data) -> list[str]:
    """What the columns are, and what is compared with what."""
    points = [point for some in _points(data) for point in some]
    price = data.gpu_hour_price
    notes = ["A line is the batch of the highest throughput of its model and size. The lowest of a mode are marked."]
    notes.append(
        "Hours and cost whose 95 % interval meets that of the next have no mark: nothing tells which is lower."
    )
    if price is None:
        notes.append("Hours are those of one device; --gpu-hour-price gives their cost.")
    else:
        notes.append(f"Cost: the hours {prices_in_words(price)}.")
        notes += price_notes_of(price, points)
        notes += _cheapest(points, price)
    if any(point.row.device == "cpu" for point in points):
        notes.append("On a CPU they are hours of one process with its threads, and the price is taken for those.")
    if len({point.mode for point in points}) > 1:
        notes.append("Lines of different modes were measured on different devices, dtypes, versions or classes.")
    shown = [point.accuracy for point in points if point.accuracy and point.accuracy.dataset in datasets_of(data)]
    if any(
        len([one for one in some if one.accuracy and one.accuracy.dataset == name]) > 1
        for some in _points(data)
        for name in datasets_of(data)
    ):
        notes.append("Of several trainings of a model the most accurate one is shown.")
    if any(one.source == PUBLISHED for one in shown):
        notes.append(f"{DAGGER} published, not measured here: {PUBLISHED_IN}.")
    rows = list({id(point.row): point.row for point in points}.values())
    return [*notes, *reason_notes(rows), *measured_on(rows)]


def measured_on(rows: Sequence[ThroughputRow]) -> list[str]:
    """What rows of one table were measured on and with, a line per environment."""
    return [note for note in environment_notes(rows) if not note.startswith("There are ")]  # tables of their own


def top1_text(top1_percent: float | None, source: str | None) -> str:
    """An accuracy as it is printed, marked where it was not measured here."""
    text = "–" if top1_percent is None else f"{top1_percent:.2f}"
    return text + (DAGGER if source == PUBLISHED else "")


def _points(data: Data) -> list[list[Configuration]]:
    """Every best batch, with each of its accuracies."""
    return list(grouped_by_row(point for point in configurations(data) if has_capacity(point.row)).values())


def grouped_by_row(points: Iterable[Configuration]) -> dict[int, list[Configuration]]:
    """Configurations that are one measured point with several accuracies, together."""
    some: dict[int, list[Configuration]] = {}
    for point in points:
        some.setdefault(id(point.row), []).append(point)
    return some


def _lines(data: Data) -> list[dict[str, Cell]]:
    """A line per best batch."""
    points = _points(data)
    rows = [some[0].row for some in points]
    names = ["model", "selector", "impl", *(["backbone"] if "backbone" in varying_fields(rows) else [])]
    energy = any(some[0].energy_j is not None for some in points)
    lines = []
    for some in points:
        point, row = some[0], some[0].row
        line = {name: word(getattr(row, name)) for name in names}
        line |= {"image size": word(row.image_size), "batch": word(row.batch_size)}
        for name in datasets_of(data):
            found = _best_accuracy(some, name)
            top1, source = (None, None) if found is None else (found.top1_percent, found.source)
            line[f"top-1 % {as_text(name)}"] = Cell(top1, top1_text(top1, source))
        line["img/s"] = Cell(point.img_s, img_per_s(point.img_s))
        for heading, value in _million(point, data.gpu_hour_price, energy).items():
            line[heading] = Cell(value, significant(value, decimals=5))
        line["mode"] = Cell(point.mode_name, point.mode_name)
        lines.append(line)
    return lines


def _best_accuracy(points: Sequence[Configuration], dataset: str) -> Accuracy | None:
    known = [point.accuracy for point in points if point.accuracy and point.accuracy.dataset == dataset]
    return max(known, key=lambda one: one.top1_percent, default=None)


def _cheapest(points: Sequence[Configuration], prices: Prices) -> list[str]:
    """The cheapest configuration of all devices, where they have prices of their own, and whether that is certain."""
    if not isinstance(prices, Mapping):
        return []
    known = [(point, price) for point in points if (price := hour_price(prices, point.row)) is not None]
    if not known:
        return []
    point, price = min(known, key=lambda pair: pair[1] / pair[0].img_s)
    row, bounds = point.row, time_bounds(point)
    others = [time_bounds(other).low * theirs for other, theirs in known if other.row is not row]
    certain = bounds.known and all(bounds.high * price < low for low in others)
    words = " ".join(filter(None, (row.model, row.selector, row.impl)))
    where = f"{row.image_size}, batch {row.batch_size}, {row.dtype}, on {device_of(row)}"
    cost = significant(cost_per_million(point.img_s, price), decimals=5)
    doubt = "" if certain or not others else "; its interval meets that of another"
    return [f"The cheapest: {words} at {where}, {cost} per million images{doubt}."]


def _million(point: Configuration, prices: Prices | None, energy: bool) -> dict[str, float | None]:
    cells: dict[str, float | None] = {HOURS: hours_per_million(point.img_s)}
    if prices is not None:
        price = hour_price(prices, point.row)
        cells[COST] = None if price is None else cost_per_million(point.img_s, price)
    if energy:
        cells[ENERGY] = kwh_per_million(point.energy_j)
    return cells


def _marks(lines: Sequence[Line], times: Sequence[Bounds]) -> dict[tuple[int, str], str]:
    """The lowest and the second of every ranked column among the lines of a mode, where there are several.

    Hours and cost go with the time per image: where its interval meets that of a higher one, the line has no mark.
    """
    marks: dict[tuple[int, str], str] = {}
    modes: dict[str, list[int]] = {}
    for index, line in enumerate(lines):
        modes.setdefault(line["mode"].text, []).append(index)
    for indices in modes.values():
        for heading in (name for name in RANKED if name in lines[0]):
            found = _lowest({index: lines[index][heading].value for index in indices}, heading)
            if heading != ENERGY:
                found = {place: mark for place, mark in found.items() if _is_certain(place[0], indices, times)}
                found = found if BEST in found.values() else {}  # what is second is not known either
            marks |= found
    return marks


def _is_certain(index: int, others: Sequence[int], times: Sequence[Bounds]) -> bool:
    """Whether the time of a line is certainly below all that are higher."""
    one = times[index]
    higher = [times[other] for other in others if times[other].value > one.value]
    return one.known and all(one.high < other.low for other in higher)


def _lowest(values: Mapping[int, float | None], heading: str) -> dict[tuple[int, str], str]:
    """The marks of the lowest and the second of the values of lines."""
    known = sorted({value for value in values.values() if value is not None})
    marks = dict(zip(known[:2], (BEST, SECOND), strict=False)) if len(known) > 1 else {}
    return {(index, heading): marks[value] for index, value in values.items() if value in marks}
