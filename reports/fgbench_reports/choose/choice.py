"""Choose configurations: those that keep all limits, and of these the Pareto front."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from fgbench.results.image_size import ImageSize
from fgbench.results.records import ThroughputRow
from fgbench_reports.choose.bounds import (
    Bounds,
    accuracy_bounds,
    latency_bounds,
    memory_bounds,
    pareto_front,
    time_bounds,
)
from fgbench_reports.choose.configurations import DEFAULT_DATASET, Configuration, configurations, published_accuracies
from fgbench_reports.choose.limits import Breach, Limit, Limits, cost_bounds, refuse_unmeasured, rules_of, top1_of
from fgbench_reports.data import Data
from fgbench_reports.dataset_subset import tested_on
from fgbench_reports.hour_price import Prices, hour_price
from fgbench_reports.price import cost_per_million, grouped_by_row
from fgbench_reports.sweep_rows import EnvironmentKey

KEEPS, UNCERTAIN, MISSES = "keeps", "uncertain", "misses"
Series = tuple[str, str | None, str | None, str]  # model, selector, implementation, backbone
ACCURACY, TIME, LATENCY, MEMORY = "top-1 %", "time per image", "latency", "memory"
COST = "cost per image"


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """The verdict on one configuration."""

    configuration: Configuration
    cost_per_million: float | None  # None without a price
    breaches: tuple[Breach, ...]  # limits that it certainly misses
    doubts: tuple[Breach, ...]  # limits that it keeps or misses, and nothing tells which
    pareto: bool  # it keeps all limits, and no other that does is certainly as good in all and better in one

    @property
    def satisfies(self) -> bool:
        """Whether it certainly keeps all limits."""
        return not self.breaches and not self.doubts

    @property
    def word(self) -> str:
        """KEEPS, MISSES where it certainly misses a limit, else UNCERTAIN."""
        return MISSES if self.breaches else UNCERTAIN if self.doubts else KEEPS


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """Verdicts on all configurations, the cheapest first."""

    verdicts: Sequence[Verdict]
    limits: Sequence[Limit]
    objectives: Sequence[str]  # that the front is made over
    dataset: str
    gpu_hour_price: Prices | None
    percentile: int | None = None  # of the latency that is limited; None: the median
    several_accuracies: bool = False  # some model has several, of which one counts

    @property
    def chosen(self) -> list[Verdict]:
        """The front of those that keep all limits."""
        return [verdict for verdict in self.verdicts if verdict.pareto]

    @property
    def satisfying(self) -> list[Verdict]:
        """Those that certainly keep all limits."""
        return [verdict for verdict in self.verdicts if verdict.satisfies]

    @property
    def uncertain(self) -> list[Verdict]:
        """Those that miss no limit certainly, and of one or more it cannot be told."""
        return [verdict for verdict in self.verdicts if verdict.word == UNCERTAIN]

    @property
    def ruled_out(self) -> list[Verdict]:
        """Those that certainly miss a limit."""
        return [verdict for verdict in self.verdicts if verdict.word == MISSES]


def dataset_for(data: Data, wanted: str | None) -> str:
    """The data set whose accuracies are compared.

    Args:
        data: Saved rows.
        wanted: The data set that a user names; None: the only one that was tested here, or CUB where none was.

    Raises:
        ValueError: Where several data sets were tested, or no accuracy on the wanted one is known.

    """
    tested = sorted({tested_on(row) for row in data.accuracy})
    known = sorted({*tested, *(one.dataset for one in published_accuracies())})
    if wanted is not None:
        if wanted not in known:
            raise ValueError(f"no accuracy is known on data set {wanted!r}; there are some on {', '.join(known)}")
        return wanted
    if len(tested) > 1:
        listed = ", ".join(tested)
        raise ValueError(f"accuracies of different data sets are never compared, and there are {listed}; use --dataset")
    return tested[0] if tested else DEFAULT_DATASET


def choose_from(data: Data, limits: Limits, dataset: str | None = None) -> Choice:
    """Choose among all that was measured.

    Args:
        data: Saved rows, and the price of an hour.
        limits: What a configuration must keep, and which ones are asked about.
        dataset: The data set whose accuracies count; None: see :func:`dataset_for`.

    Returns:
        The verdicts on all configurations.

    Raises:
        ValueError: Where nothing was measured, or nothing with a name or a size of the limits.

    """
    name = dataset_for(data, dataset)
    points = configurations(data, dataset=name, best_only=False)
    if not points:
        places = ", ".join(data.sources)
        raise ValueError(
            f"there is no measured throughput in {places!r}; 'fgbench throughput' measures models on this device"
        )
    refuse_unmeasured(limits, points)
    return choose(points, limits, dataset=name, gpu_hour_price=data.gpu_hour_price)


def choose(
    candidates: Iterable[Configuration], limits: Limits, *, dataset: str, gpu_hour_price: Prices | None = None
) -> Choice:
    """Judge configurations, all batches of them, by limits; those that keep them are compared with each other.

    The front is made over top-1, time per image, latency and memory: a memory that some do not tell is left out, and
    what has no known accuracy counts as the least accurate where others have one. Cost goes with the time per image
    where all devices have one price, and is an objective where they have prices of their own.
    Limits and the front are judged by the ends of intervals: see :mod:`fgbench_reports.choose.limits` and
    :func:`fgbench_reports.choose.bounds.pareto_front`.
    """
    grouped = grouped_by_row(candidates).values()
    points = sorted(
        (max(same, key=_surest_accuracy) for same in grouped), key=partial(_cheapest_first, prices=gpu_hour_price)
    )
    rules = rules_of(limits, gpu_hour_price)
    breaches = [[breach for rule in rules if (breach := rule.judge(point)) is not None] for point in points]
    keeping = [index for index, of_point in enumerate(breaches) if not of_point]
    objectives = _objectives([points[index] for index in keeping], gpu_hour_price)
    front = pareto_front(list(zip(*objectives.values(), strict=True)))
    chosen = {index for index, on_front in zip(keeping, front, strict=True) if on_front}
    verdicts = [
        Verdict(
            configuration=point,
            cost_per_million=_cost(point, gpu_hour_price),
            breaches=tuple(breach for breach in breaches[index] if not breach.uncertain),
            doubts=tuple(breach for breach in breaches[index] if breach.uncertain),
            pareto=index in chosen,
        )
        for index, point in enumerate(points)
    ]
    return Choice(
        verdicts=verdicts,
        limits=rules,
        objectives=tuple(objectives),
        dataset=dataset,
        gpu_hour_price=gpu_hour_price,
        percentile=limits.percentile,
        several_accuracies=any(len(same) > 1 for same in grouped),
    )


def nearest_misses(choice: Choice) -> list[Verdict]:
    """Per model the configuration that misses the limits least, at a size at which nothing keeps or may keep them.

    It misses by its figure over the limit, multiplied over the limits that it does not keep; what has no figure is
    further away than any that has one. Configurations that the user did not ask about are left out.
    """
    kept = {_series_at_size(verdict) for verdict in (*choice.satisfying, *choice.uncertain)}
    nearest: dict[Series, Verdict] = {}
    for verdict in choice.ruled_out:
        if _series_at_size(verdict) in kept or any(breach.narrows for breach in verdict.breaches):
            continue
        key = _series(verdict.configuration.row)
        if key not in nearest or _distance(verdict) < _distance(nearest[key]):
            nearest[key] = verdict
    return sorted(nearest.values(), key=_distance)


def counts(choice: Choice) -> list[tuple[Limit, int, int]]:
    """Per limit how many configurations it certainly rules out, and how many of them no other limit does."""
    options = [[breach.option for breach in verdict.breaches] for verdict in choice.ruled_out]
    return [
        (limit, sum(limit.option in names for names in options), sum(names == [limit.option] for names in options))
        for limit in choice.limits
    ]


def _surest_accuracy(point: Configuration) -> tuple[float, float]:
    """Of several accuracies of a point, the one with the highest low end counts: it is the one to deploy."""
    return (accuracy_bounds(point.accuracy).low, point.accuracy.top1_percent) if point.accuracy else (-1.0, 0.0)


def _cheapest_first(
    point: Configuration, prices: Prices | None
) -> tuple[tuple[float, ...], list[str], ImageSize, int, EnvironmentKey]:
    row = point.row
    price = hour_price(prices, row) if isinstance(prices, Mapping) else 1.0
    cost = math.inf if price is None else price / point.img_s
    names = [str(name) for name in _series(row)]
    figures = (cost, 1 / point.img_s, -(top1_of(point) or 0.0), point.latency_s, point.memory_bytes or math.inf)
    return figures, names, row.image_size, row.batch_size, point.mode


def _cost(point: Configuration, prices: Prices | None) -> float | None:
    price = hour_price(prices, point.row)
    return None if price is None else cost_per_million(point.img_s, price)


def _objectives(points: Sequence[Configuration], prices: Prices | None = None) -> dict[str, list[Bounds]]:
    """The figures of all points by objective; all are better small."""
    figures: dict[str, list[Bounds]] = {}
    if any(point.accuracy is not None for point in points):
        figures[ACCURACY] = [_error_bounds(point) for point in points]
    figures[TIME] = [time_bounds(point) for point in points]
    if isinstance(prices, Mapping):  # a slower device may be cheaper
        unknown = Bounds(value=math.inf, low=math.inf, high=math.inf)
        figures[COST] = [cost_bounds(point, prices) or unknown for point in points]
    figures[LATENCY] = [latency_bounds(point) for point in points]
    memories = [bounds for point in points if (bounds := memory_bounds(point)) is not None]
    if len(memories) == len(points):
        figures[MEMORY] = memories
    return figures


def _error_bounds(point: Configuration) -> Bounds:
    """The negative accuracy, which is better small; an unknown one is the worst."""
    if point.accuracy is None:
        return Bounds(value=math.inf, low=math.inf, high=math.inf)
    return accuracy_bounds(point.accuracy).mapped(lambda top1: -top1)


def _series(row: ThroughputRow) -> Series:
    return row.model, row.selector, row.impl, row.backbone


def _series_at_size(verdict: Verdict) -> tuple[Series, ImageSize]:
    row = verdict.configuration.row
    return _series(row), row.image_size


def _distance(verdict: Verdict) -> tuple[int, float]:
    known = [breach.excess for breach in verdict.breaches if math.isfinite(breach.excess)]
    return len(verdict.breaches) - len(known), sum(known)
