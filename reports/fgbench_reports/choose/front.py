"""The Pareto front: what nothing else is certainly better than."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence

from fgbench_reports.choose.ends import Bounds


def pareto_front(points: Sequence[Sequence[float | Bounds]]) -> list[bool]:
    """For points of which every figure is to be small: whether no other point dominates it.

    A point dominates another one where the intervals say so: in every figure its high end is at most the other's low
    end, or both are the same measurement (``Bounds.of``); and in one figure its high end is below the other's low end.
    A plain number is an interval without width, and with such numbers alone this is the usual front. Wider intervals
    take no point away from the front, and of any points some are on it: dominance is transitive, and nothing dominates
    itself. Points that are equal in all are on the front together or not at all.

    Args:
        points: one sequence of figures per point, all of one length, in one order.

    Returns:
        Per point, whether it is on the front.

    """
    import numpy as np

    equal: dict[tuple[_Known, ...], list[int]] = {}
    for index, figures in enumerate(points):
        equal.setdefault(tuple(map(_known, figures)), []).append(index)
    width, names = (len(points[0]) if points else 0), _numbered(equal)
    highs, same = np.empty((len(equal), width)), np.empty((len(equal), width), dtype=np.int64)
    size, on_front = 0, [False] * len(points)
    for point in sorted(equal, key=lambda one: [ends[:2] for ends in one]):  # what dominates a point comes before
        lows = np.array([low for low, _, _ in point])
        keys = np.array([names.get(of, -1) for _, _, of in point], dtype=np.int64)
        as_good = (highs[:size] <= lows) | ((same[:size] == keys) & (keys >= 0))
        better = highs[:size] < lows
        if (as_good.all(axis=1) & better.any(axis=1)).any():
            continue  # what this point dominates is dominated by the other one, too
        highs[size], same[size] = [high for _, high, _ in point], keys
        size += 1
        for index in equal[point]:
            on_front[index] = True
    return on_front


_Known = tuple[float, float, Hashable]  # low, high, what was measured


def _known(figure: float | Bounds) -> _Known:
    if isinstance(figure, Bounds):
        return figure.low, figure.high, figure.of
    return float(figure), float(figure), None


def _numbered(points: Iterable[tuple[_Known, ...]]) -> dict[Hashable, int]:
    """A number per measurement that several points may share."""
    met = dict.fromkeys(of for point in points for _, _, of in point if of is not None)
    return {of: number for number, of in enumerate(met)}
