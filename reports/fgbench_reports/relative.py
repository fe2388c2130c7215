"""Ratios of latencies to those of a baseline model, with their 95 % intervals."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from fgbench.results.paper import MODEL_SELECTORS, MODELS, published_backbones
from fgbench.results.records import AccuracyRow, FlopsRow, ThroughputRow
from fgbench_reports.sweep_rows import by_environment
from fgbench_reports.tables.column import MISSING, NOTHING, Cell, Column
from fgbench_reports.tables.numbers import significant

TIMM = "timm/"  # that people may type before timm's names
DISTURBED = "?"  # behind a ratio of a row that is not ok
AnyRow = ThroughputRow | FlopsRow | AccuracyRow
Figures = tuple[float, float | None, float | None]  # a positive figure and both ends of its interval


@dataclass(frozen=True, slots=True, kw_only=True)
class Ratio:
    """A latency over that of the baseline."""

    value: float
    low: float | None = None  # of the 95 % interval; None where one of the two has no interval
    high: float | None = None
    disturbed: bool = False  # whether one of the two rows is unconverged or contended

    @property
    def text(self) -> str:
        """The ratio and half of its interval: ``1.42 ±0.03``; with a question mark where a row was disturbed."""
        mark = DISTURBED if self.disturbed else ""
        if self.low is None or self.high is None or not math.isfinite(self.high):
            return significant(self.value) + mark
        if self.low == self.high:
            return f"{self.value:.2f}{mark}"
        half = (self.high - self.low) / 2
        decimals = 1 if half >= 1 else min(max(-math.floor(math.log10(half)), 2), 4)
        return f"{self.value:.{decimals}f} ±{half:.{decimals}f}{mark}"


def heading_of(baseline: str) -> str:
    """The heading of the column."""
    return f"× {baseline}"


def models_of(rows: Iterable[AnyRow]) -> list[str]:
    """The names of models in rows, each once."""
    return list(dict.fromkeys(row.model for row in rows if row.model))


def is_same_model(model: str | None, name: str) -> bool:
    """Whether a row's model has this name; ``timm/`` before it does not matter where it is no other model."""
    return model is not None and _short(model) == _short(name)


def _short(model: str) -> str:
    """The name without ``timm/``; that of a model of the paper which timm has as well stays."""
    short = model.removeprefix(TIMM)
    return model if short in MODELS and published_backbones(short)[0] == short else short


def ratio_interval(one: Figures, other: Figures) -> tuple[float, float] | None:
    """The 95 % interval of the ratio of two independent figures.

    The distances of both ends are combined on the logarithm, as squares: Zou and Donner 2008, Construction of
    confidence limits about effect measures, Statistics in Medicine 27. Intervals need not be symmetric.

    Args:
        one: The numerator with both ends of its 95 % interval.
        other: The denominator.

    Returns:
        Both ends; None where an interval is missing or reaches zero.

    """
    logs, base_logs = _logs(one), _logs(other)
    if logs is None or base_logs is None:
        return None
    (value, low, high), (base, base_low, base_high) = logs, base_logs
    middle = value - base
    below = math.hypot(value - low, base_high - base)
    above = math.hypot(high - value, base - base_low)
    return math.exp(middle - below), math.exp(middle + above)


def _logs(figures: Figures) -> tuple[float, float, float] | None:
    value, low, high = figures
    if low is None or high is None or low <= 0 or not math.isfinite(high):
        return None
    return math.log(value), math.log(min(low, value)), math.log(max(high, value))


class Baseline:
    """The rows of a baseline model, and the ratios of others to them.

    Args:
        name: The model, as it is typed.
        rows: All rows of throughput.

    """

    def __init__(self, name: str, rows: Sequence[ThroughputRow]) -> None:
        self.name = name
        self._points: dict[tuple[Any, ...], list[ThroughputRow]] = {}
        self._environments: dict[int, Any] = {}
        for key, group in by_environment(rows).items():
            for row in group:
                self._environments[id(row)] = key
                if is_same_model(row.model, name):
                    self._points.setdefault(self._point(row), []).append(row)

    def ratio(self, row: ThroughputRow) -> Ratio | None:
        """The latency of a row over that of the baseline at its image size, batch, mode and repeat.

        Args:
            row: One of the rows that the baseline was made with.

        Returns:
            None where one of the two has no latency, where the baseline has no such row, or where it has several that
            stand for it equally well.

        """
        partner = self.partner(row)
        if partner is None or row.latency_s is None or partner.latency_s is None:
            return None
        disturbed = not (row.status.is_ok and partner.status.is_ok)
        if partner is row:
            return Ratio(value=1.0, low=1.0, high=1.0, disturbed=disturbed)
        ends = ratio_interval(_figures(row), _figures(partner)) or (None, None)
        return Ratio(value=row.latency_s / partner.latency_s, low=ends[0], high=ends[1], disturbed=disturbed)

    def partner(self, row: ThroughputRow) -> ThroughputRow | None:
        """The baseline's row that a row is compared with."""
        found = self._points.get(self._point(row), ())
        return one_of([other for other in found if other.status.has_figures], row)

    def as_dict(self, row: ThroughputRow) -> dict[str, Any]:
        """The row as it leaves the program, with ``baseline``, ``ratio`` and both ends of its interval."""
        ratio = self.ratio(row)
        return row.as_dict() | {
            "baseline": self.name,
            "ratio": ratio and ratio.value,
            "ratio_ci95_low": ratio and ratio.low,
            "ratio_ci95_high": ratio and ratio.high,
        }

    def cell(self, row: ThroughputRow) -> Cell:
        """The ratio of a row as a cell."""
        ratio = self.ratio(row)
        return Cell(ratio and ratio.value, ratio.text if ratio else MISSING)

    def notes(self, rows: Sequence[ThroughputRow]) -> list[str]:
        """What the column is, and why some rows have no ratio."""
        name, ratios = self.name, [self.ratio(row) for row in rows]
        note = f"× {name}: latency over that of {name} at the same size, batch and mode, ± half of its 95 % interval"
        note += f"; below 1 is faster than {name}."
        if any(ratio and ratio.disturbed for ratio in ratios):
            note += f" {DISTURBED}: one of the two was unconverged or contended."
        if any(ratio and ratio.low is None for ratio in ratios):
            note += " Without ±: one of the two has no interval."
        without = [row for row, ratio in zip(rows, ratios, strict=True) if ratio is None and row.latency_s is not None]
        several = [row for row in without if self._several(row)]
        if len(several) < len(without):
            note += f" –: {name} has no figure at that size, batch and mode."
        if several:
            note += f" –: several rows of {name} could be meant, of other selectors, implementations or backbones."
        return [note]

    def _several(self, row: ThroughputRow) -> bool:
        return sum(other.status.has_figures for other in self._points.get(self._point(row), ())) > 1

    def _point(self, row: ThroughputRow) -> tuple[Any, ...]:
        return self._environments[id(row)], row.image_size, row.batch_size, row.repeat, row.part


@dataclass(frozen=True, slots=True)
class RatioColumn(Column):
    """The column of ratios, whose text has more than the value."""

    baseline: Baseline | None = None

    def cell(self, row: ThroughputRow) -> Cell:
        """The ratio of a row, and its text."""
        return NOTHING if self.baseline is None else self.baseline.cell(row)


def ratio_column(baseline: Baseline) -> RatioColumn:
    """The column of ratios to a baseline."""
    return RatioColumn(heading_of(baseline.name), lambda row: baseline.cell(row).value, baseline=baseline)


def one_of(rows: Sequence[Any], row: Any) -> Any | None:
    """The one row of a baseline that stands beside a row; None where several do.

    Of several rows those on the same backbone count, then those of the same implementation, then those with the
    selector that the model was published with.

    Args:
        rows: Rows of the baseline at one point.
        row: The row that is compared.

    """
    if any(other is row for other in rows):
        return row
    left = list(rows)
    left = [other for other in left if other.backbone == row.backbone] or left
    left = [other for other in left if other.impl == row.impl] or left
    left = [other for other in left if other.selector == MODEL_SELECTORS.get(other.model)] or left
    return left[0] if len(left) == 1 else None


def _figures(row: ThroughputRow) -> Figures:
    assert row.latency_s is not None
    return row.latency_s, row.latency_ci95_low_s, row.latency_ci95_high_s


class FlopsBaseline:
    """The rows of whole baseline models, and the exact ratios of others to them.

    Args:
        name: The model, as it is typed.
        rows: All rows of flops.

    """

    def __init__(self, name: str, rows: Sequence[FlopsRow]) -> None:
        self.name = name
        self._points: dict[tuple[Any, ...], list[FlopsRow]] = {}
        for row in rows:
            if row.stage is None and is_same_model(row.model, name):
                self._points.setdefault(_counted_point(row), []).append(row)

    def ratio(self, row: FlopsRow) -> float | None:
        """The FLOPs of a whole model over those of the baseline, in the same convention at the same image size.

        Args:
            row: Any row of flops.

        Returns:
            None for a stage, a selector or a backbone, and where the baseline has no such row or several.

        """
        if row.model is None or row.stage is not None:
            return None
        partner = one_of(self._points.get(_counted_point(row), ()), row)
        return row.flops / partner.flops if partner is not None and partner.flops else None

    def fields(self, row: FlopsRow) -> dict[str, Any]:
        """The fields ``baseline`` and ``ratio`` of a row that leaves the program."""
        return {"baseline": self.name, "ratio": self.ratio(row)}

    @property
    def note(self) -> str:
        """What the column of ratios is."""
        return f"× {self.name}: FLOPs of the whole model over those of {self.name}, at the same size."


def _counted_point(row: FlopsRow) -> tuple[Any, ...]:
    """What both rows of a ratio share: convention, image size, classes."""
    return row.convention, row.image_size, row.environment.get("num_classes"), row.environment.get("patch_stride")
