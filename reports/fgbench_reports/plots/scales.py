"""Axes that people can read: ticks where something was measured, numbers without exponents."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from math import ceil, floor, isfinite, log10
from typing import TYPE_CHECKING, Literal

from fgbench_reports.tables.numbers import PREFIXES

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis

Side = Literal["x", "y"]
STEPS = ((1,), (1, 3), (1, 2, 5), (1, 1.5, 2, 3, 5, 7))  # of a decade, from coarse to fine
FEW, MANY = 4, 8  # ticks of an axis
MAX_TICKS = 12
LEAST, NARROW = 1.2, 5.0  # how much larger the end of a log axis is than its beginning; when even steps read better


def plain(value: float) -> str:
    """A number as it stands at an axis: 0.001, 0.5, 20, 1,500."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.10g}"


def prefixed(value: float) -> str:
    """A number with a decimal prefix: 500, 2 k, 10 M, 1.5 T."""
    step = max(0, min(len(PREFIXES) - 1, floor(log10(value) / 3 + 1e-9))) if value > 0 else 0
    return f"{value / 1000**step:.10g} {PREFIXES[step]}".strip()


def with_unit(value: float, unit: str) -> str:
    """Three digits, a decimal prefix and a unit: 17.6 GFLOPs, 420 TFLOP/s, 12 B."""
    text = prefixed(float(f"{value:.3g}"))
    return f"{text}{unit}" if text[-1].isalpha() else f"{text} {unit}"


def as_powers(axes: Axes, side: Side, values: Iterable[int]) -> None:
    """A log₂ axis with a tick at each of these values, as far as they can be read beside each other."""
    met = sorted(set(values))
    _set_scale(axes, side, 2)
    low, high = met[0], met[-1]
    spread = (high / low) ** 0.06 if high > low else 1.4
    _limit(axes, side, low / spread, high * spread)
    ticks = _apart(met)
    _fix(_axis(axes, side), ticks, [str(value) for value in ticks])


def _apart(values: Sequence[int]) -> list[int]:
    """The values that are no closer than a part of the whole range; the first and the last are among them."""
    if len(values) < 3:
        return list(values)
    nearest = (values[-1] / values[0]) ** (1 / MAX_TICKS)
    kept = [values[0]]
    for value in values[1:-1]:
        if value >= kept[-1] * nearest and value * nearest <= values[-1]:
            kept.append(value)
    return [*kept, values[-1]]


def as_log(
    axes: Axes, side: Side, values: Iterable[float], *, name: Callable[[float], str] = plain, margin: float = 0.06
) -> None:
    """A log₁₀ axis around these values, with four to eight round ticks."""
    low, high = log_limits(values, margin)
    _set_scale(axes, side, 10)
    _limit(axes, side, low, high)
    ticks = round_ticks(low, high)
    _fix(_axis(axes, side), ticks, [name(tick) for tick in ticks])


def log_limits(values: Iterable[float], margin: float = 0.06) -> tuple[float, float]:
    """Where a log axis around these values begins and ends."""
    met = [value for value in values if value > 0 and isfinite(value)]
    low, high = (min(met), max(met)) if met else (1.0, 10.0)
    if high / low < LEAST:
        low, high = low / LEAST**0.5, high * LEAST**0.5
    spread = (high / low) ** margin
    return low / spread, high * spread


def round_ticks(low: float, high: float) -> list[float]:
    """Round numbers on a log axis from ``low`` to ``high``: not too few, not too many."""
    from matplotlib.ticker import MaxNLocator

    if high / low < NARROW:
        locator = MaxNLocator(nbins=5, steps=[1, 2, 2.5, 5, 10])
        return [float(value) for value in locator.tick_values(low, high) if low <= value <= high]
    decades = range(floor(log10(low)), ceil(log10(high)) + 1)
    found: list[float] = []
    for steps in STEPS:
        found = [float(f"{step}e{decade}") for decade in decades for step in steps]
        found = [value for value in found if low <= value <= high]
        if len(found) >= FEW:
            break
    return found[:: max(1, -(-len(found) // MANY))]


def as_linear(axes: Axes, side: Side, values: Iterable[float], *, least: float = 0.0) -> None:
    """A linear axis around these values, ``least`` wide at least."""
    met = [value for value in values if isfinite(value)]
    low, high = (min(met), max(met)) if met else (0.0, 1.0)
    wide = max(high - low, least)
    middle = (low + high) / 2
    _limit(axes, side, middle - 0.56 * wide, middle + 0.56 * wide)
    axes.locator_params(axis=side, nbins=6)


def _set_scale(axes: Axes, side: Side, base: int) -> None:
    (axes.set_xscale if side == "x" else axes.set_yscale)("log", base=base)


def _limit(axes: Axes, side: Side, low: float, high: float) -> None:
    (axes.set_xlim if side == "x" else axes.set_ylim)(low, high)


def _axis(axes: Axes, side: Side) -> Axis:
    return axes.xaxis if side == "x" else axes.yaxis


def _fix(axis: Axis, ticks: Sequence[float], labels: Sequence[str]) -> None:
    from matplotlib.ticker import NullLocator

    axis.set_ticks(list(ticks), labels=list(labels))
    axis.set_minor_locator(NullLocator())
