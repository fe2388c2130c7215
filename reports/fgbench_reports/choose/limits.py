"""Limits that configurations keep, miss or leave open, and by how much they miss them.

A limit is judged by the end of the interval that hurts: the high end of latency, cost, memory and energy, the low end
of accuracy and throughput. Where the interval has the limit inside, or there is none, nothing can be told.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TypeVar

from fgbench.results.image_size import ImageSize
from fgbench.results.records import ThroughputRow
from fgbench.results.rows import percentile_field
from fgbench_reports.choose.bounds import (
    Bounds,
    accuracy_bounds,
    energy_bounds,
    latency_bounds,
    memory_bounds,
    tail_bounds,
    throughput_bounds,
)
from fgbench_reports.choose.configurations import Configuration
from fgbench_reports.hour_price import Prices, hour_price
from fgbench_reports.price import cost_per_million
from fgbench_reports.sweep_rows import as_text
from fgbench_reports.tables.numbers import gigabytes, img_per_s, milliseconds, significant

NO_PERCENTILES = "the row is of an earlier version, which kept no percentiles"
Named = TypeVar("Named", str, int, ImageSize)


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Limits on configurations, and names to which a choice is narrowed; None and () allow everything."""

    min_accuracy_percent: float | None = None  # top-1
    max_latency_s: float | None = None  # of one batch
    percentile: int | None = None  # of the latency that max_latency_s bounds; None: the median
    max_memory_bytes: int | None = None
    max_energy_j: float | None = None  # per image
    min_throughput_img_s: float | None = None
    max_cost: float | None = None  # of a million images
    gpu: str | None = None  # part of the device's name
    dtypes: Sequence[str] = ()
    engines: Sequence[str] = ()
    models: Sequence[str] = ()
    image_sizes: Sequence[ImageSize] = ()
    batch_sizes: Sequence[int] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Breach:
    """A limit that a configuration does not keep, or not certainly."""

    option: str
    told: str  # "latency 24 ms > 20 ms"
    excess: float  # the logarithm of value over limit; infinite where there is no value, or it is another one
    unknown: bool = False  # there is no figure to hold against the limit
    narrows: bool = False  # it was not asked about
    uncertain: bool = False  # its interval has the limit inside, or it has none


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """One limit, in words and as a test."""

    option: str
    told: str
    judge: Callable[[Configuration], Breach | None]


def rules_of(limits: Limits, gpu_hour_price: Prices | None) -> list[Limit]:
    """The limits that are set, as tests.

    Args:
        limits: The values of the limits.
        gpu_hour_price: The price of an hour, or prices by kinds of devices; None where there is none.

    Raises:
        ValueError: Where a cost is limited without a price, or a percentile is named and no latency is limited.

    """
    if limits.percentile is not None and limits.max_latency_s is None:
        raise ValueError(f"--percentile {limits.percentile} says which latency is limited; give one with --max-latency")
    if limits.max_cost is not None and gpu_hour_price is None:
        raise ValueError("--max-cost needs a price; give one with --gpu-hour-price")
    rules = [
        _bound("--min-accuracy", "accuracy", limits.min_accuracy_percent, _accuracy, "{:g} %".format, least=True),
        _latency(limits),
        _bound("--max-memory", "memory", limits.max_memory_bytes, memory_bounds, lambda b: f"{gigabytes(int(b))} GB"),
        _bound("--max-energy", "energy", limits.max_energy_j, energy_bounds, lambda j: f"{significant(j)} J"),
        _bound(
            "--min-throughput",
            "throughput",
            limits.min_throughput_img_s,
            throughput_bounds,
            lambda rate: f"{img_per_s(rate)} img/s",
            least=True,
        ),
        _bound(
            "--max-cost",
            "cost",
            limits.max_cost,
            lambda point: cost_bounds(point, gpu_hour_price),
            lambda cost: f"{significant(cost, 4, decimals=5)} per million",
        ),
        None if limits.gpu is None else _on_device(limits.gpu),
        _among("--dtype", "dtype", limits.dtypes, lambda row: row.dtype),
        _among("--engine", "engine", limits.engines, lambda row: row.engine),
        _among("--models", "model", limits.models, lambda row: row.model),
        _among("--sizes", "image size", limits.image_sizes, lambda row: row.image_size),
        _among("--batch-sizes", "batch", limits.batch_sizes, lambda row: row.batch_size),
    ]
    return [rule for rule in rules if rule is not None]


def top1_of(point: Configuration) -> float | None:
    """The accuracy of a configuration in percent, where one is known."""
    return None if point.accuracy is None else point.accuracy.top1_percent


def cost_bounds(point: Configuration, prices: Prices | None) -> Bounds | None:
    """The cost of a million images, with the ends that follow from the throughput; None where no price is known."""
    price = hour_price(prices, point.row)
    if price is None:
        return None
    return throughput_bounds(point).mapped(lambda rate: cost_per_million(rate, price) if rate else math.inf)


def _accuracy(point: Configuration) -> Bounds | None:
    return None if point.accuracy is None else accuracy_bounds(point.accuracy)


def _latency(limits: Limits) -> Limit | None:
    """The latency, or a percentile of it.

    A configuration whose percentile was not measured is not judged, unless its median misses the limit already.
    """
    percent = limits.percentile

    def shown(seconds: float) -> str:
        return f"{milliseconds(seconds)} ms"

    median = _bound("--max-latency", "latency", limits.max_latency_s, latency_bounds, shown)
    if percent is None or median is None:
        return median
    name, read = f"p{percent} of the latency", partial(tail_bounds, percent=percent)
    rule = _bound("--max-latency", name, limits.max_latency_s, read, shown)
    assert rule is not None

    def judge(point: Configuration) -> Breach | None:
        breach, of_median = rule.judge(point), median.judge(point)
        if breach is None or not breach.unknown:
            return breach
        if of_median is not None and not of_median.uncertain:
            return replace(of_median, told=f"{of_median.told} at the median")
        return replace(breach, told=f"{name} is not known: {why_no_percentile(point.row, percent)}", uncertain=True)

    return replace(rule, judge=judge)


def why_no_percentile(row: ThroughputRow, percent: int) -> str:
    """Why a row lacks a percentile of its latency, in words."""
    why = ((row.environment or {}).get("missing") or {}).get(percentile_field(percent))
    return str(why).partition(";")[0] if why else NO_PERCENTILES


def _bound(
    option: str,
    name: str,
    limit: float | None,
    read: Callable[[Configuration], Bounds | None],
    show: Callable[[float], str],
    *,
    least: bool = False,
) -> Limit | None:
    """A figure that must not be above, or below, a limit."""
    if limit is None:
        return None
    sign, unkept = (1, "<") if least else (-1, ">")

    def judge(point: Configuration) -> Breach | None:
        figure = read(point)
        if figure is None:
            told = "no accuracy is known" if name == "accuracy" else f"no {name} was measured"
            return Breach(option=option, told=told, excess=math.inf, unknown=True)
        worst, best = (figure.low, figure.high) if least else (figure.high, figure.low)
        if figure.known and sign * worst >= sign * limit:
            return None
        value = figure.value
        excess = abs(math.log(value / limit)) if value else math.inf
        if figure.known and sign * best < sign * limit:
            return Breach(option=option, told=f"{name} {_apart(value, limit, show, unkept)}", excess=excess)
        return Breach(option=option, told=f"{name} {_around(figure, limit, show)}", excess=excess, uncertain=True)

    return Limit(option=option, told=f"{name} at {'least' if least else 'most'} {show(limit)}", judge=judge)


def _around(figure: Bounds, limit: float, show: Callable[[float], str]) -> str:
    """A figure that cannot be told from a limit, with its ends."""
    value, low, high = (show(float(f"{each:.4g}")) for each in (figure.value, figure.low, figure.high))
    if not figure.known:
        return f"{value}, {figure.basis}: it cannot be held against {show(limit)}"
    end = f"to {high}" if math.isfinite(figure.high) else "without an upper end"
    return f"{value}, {figure.basis} from {low} {end}: {show(limit)} lies inside"


def _apart(value: float, limit: float, show: Callable[[float], str], unkept: str) -> str:
    """Two figures as they are printed, and by how much they differ where they look the same."""
    one, other = show(value), show(limit)
    by = f", by {abs(value / limit - 1) * 100:.1g} %" if one == other else ""
    return f"{one} {unkept} {other}{by}"


def _on_device(name: str) -> Limit:
    def judge(point: Configuration) -> Breach | None:
        device = device_name(point)
        if name.casefold() in device.casefold():
            return None
        return Breach(option="--gpu", told=f"it is on {device}", excess=math.inf, narrows=True)

    return Limit(option="--gpu", told=f"a device called {as_text(name)}", judge=judge)


def _among(
    option: str,
    name: str,
    values: Sequence[str] | Sequence[int] | Sequence[ImageSize],
    read: Callable[[ThroughputRow], str | int],
) -> Limit | None:
    if not values:
        return None

    def judge(point: Configuration) -> Breach | None:
        value = read(point.row)
        if value in values:
            return None
        return Breach(option=option, told=f"{name} {as_text(value)}", excess=math.inf, narrows=True)

    listed = " or ".join(map(as_text, values))
    return Limit(option=option, told=f"{name} {listed}", judge=judge)


def device_name(point: Configuration) -> str:
    """The name of the device that a configuration was measured on; cuda or cpu where it is not known."""
    name = point.mode.device_name
    return name if name != "–" else point.row.device


def refuse_unmeasured(limits: Limits, points: Sequence[Configuration]) -> None:
    """Refuse names and sizes that no measured configuration has: they are typos, or still to be measured.

    Args:
        limits: With the devices, dtypes, models and sizes that are asked about.
        points: The measured configurations.

    Raises:
        ValueError: With the value, and those that there are.

    """
    devices = sorted({device_name(point) for point in points})
    if limits.gpu is not None and not any(limits.gpu.casefold() in name.casefold() for name in devices):
        raise ValueError(f"nothing was measured on a device called {limits.gpu!r}; there are: {', '.join(devices)}")
    rows = [point.row for point in points]
    _refuse_others("dtype", limits.dtypes, {row.dtype for row in rows})
    _refuse_others("engine", limits.engines, {row.engine for row in rows})
    _refuse_others("model", limits.models, {row.model for row in rows})
    _refuse_others("image size", limits.image_sizes, {row.image_size for row in rows})
    _refuse_others("batch size", limits.batch_sizes, {row.batch_size for row in rows})


def _refuse_others(what: str, values: Sequence[Named], measured: set[Named]) -> None:
    for value in values:
        if value not in measured:
            listed = ", ".join(map(str, sorted(measured)))
            raise ValueError(f"nothing was measured with {what} {value!r}; there are: {listed}")
