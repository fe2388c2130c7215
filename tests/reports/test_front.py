"""The front of figures with ends."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from fgbench_reports.choose.bounds import Bounds, pareto_front
from fgbench_reports.choose.configurations import pareto_front as known_from_before


def ends(low: float, high: float, of=None) -> Bounds:
    return Bounds(value=low, low=low, high=high, of=of)


def test_a_point_is_dominated_only_where_the_intervals_say_so():
    sure, close, far = (ends(1, 2), ends(1, 2)), (ends(1.9, 2.9), ends(3, 4)), (ends(2.1, 3), ends(3, 4))
    assert pareto_front([sure, close]) == [True, True]  # in the first figure they overlap
    assert pareto_front([sure, far]) == [True, False]
    assert pareto_front([(ends(1, 2), 5.0), (ends(2, 3), 5.0)]) == [True, True]  # nothing is certainly better
    assert pareto_front([(ends(1, 2), 5.0), (ends(2, 3), 5.1)]) == [True, False]


def test_figures_of_one_measurement_are_equal_however_wide_they_are():
    wide = ends(-95.0, -85.0, of="glsim")
    assert pareto_front([(wide, 1.0), (wide, 2.0)]) == [True, False]
    other = replace(wide, of="vit")
    assert pareto_front([(wide, 1.0), (other, 2.0)]) == [True, True]


def test_the_name_from_before_is_the_same_function():
    assert known_from_before is pareto_front


coordinates = st.integers(0, 6).map(float)


@st.composite
def figures(draw, width):
    """Points of ``width`` figures: plain numbers, intervals, and measurements that several points share."""
    shared = [ends(low, low + draw(st.integers(0, 3)), of=number) for number, low in enumerate((0.0, 2.0))]
    interval = st.builds(lambda low, more: ends(low, low + more), coordinates, coordinates)
    return draw(st.lists(st.tuples(*[st.one_of(coordinates, interval, st.sampled_from(shared))] * width), max_size=12))


points = st.integers(1, 3).flatmap(lambda width: figures(width))


def known(figure) -> Bounds:
    return figure if isinstance(figure, Bounds) else ends(figure, figure)


def dominates(one, other) -> bool:
    pairs = [(known(a), known(b)) for a, b in zip(one, other, strict=True)]
    as_good = all(a.high <= b.low or (a.of is not None and a.of == b.of) for a, b in pairs)
    return as_good and any(a.high < b.low for a, b in pairs)


@given(points)
@settings(deadline=None)
def test_the_front_is_what_nothing_certainly_dominates(points):
    assert pareto_front(points) == [not any(dominates(other, point) for other in points) for point in points]


@given(points)
@settings(deadline=None)
def test_of_any_points_some_are_on_the_front(points):
    assert any(pareto_front(points)) == bool(points)


@given(st.lists(st.tuples(coordinates, coordinates), max_size=12))
@settings(deadline=None)
def test_without_width_it_is_the_usual_front(points):
    exact = [tuple(ends(value, value) for value in point) for point in points]
    better = [any(a <= c and b <= d and (a, b) != (c, d) for a, b in points) for c, d in points]
    assert pareto_front(exact) == pareto_front(points) == [not each for each in better]


@given(points, st.integers(0, 3), st.integers(0, 3))
@settings(deadline=None)
def test_wider_intervals_take_no_point_away(points, below, above):
    def wider(figure):
        one = known(figure)
        return replace(one, low=one.low - below, high=one.high + above)

    before, after = pareto_front(points), pareto_front([tuple(map(wider, point)) for point in points])
    assert all(later for earlier, later in zip(before, after, strict=True) if earlier)


@given(points)
@settings(deadline=None)
def test_the_order_of_points_does_not_matter(points):
    assert pareto_front(points[::-1]) == pareto_front(points)[::-1]
