"""The order of points: thorough, or informative first; every point is planned exactly once."""

from __future__ import annotations

from helpers.fakes import groups
from hypothesis import given
from hypothesis import strategies as st

from fgbench.results.records import Status
from fgbench.sweep.agenda import Agenda

BATCHES = (1, 2, 4, 8, 16, 32, 64, 128, 256)


def run(agenda: Agenda, rate, fits=lambda group, size: True, limit: int = 10_000):
    """Measure until nothing is left; the points in the order in which they were measured."""
    order = []
    while (visit := agenda.next()) is not None and len(order) < limit:
        for size in visit.batch_sizes:
            if size in agenda.too_large(visit.group):
                agenda.finished(visit.group, size, Status("oom_inferred"), None)
                continue
            order.append((visit.group, size))
            if fits(visit.group, size):
                agenda.finished(visit.group, size, Status("ok"), rate(visit.group, size))
            else:
                agenda.finished(visit.group, size, Status("oom"), None)
    return order


def test_a_thorough_sweep_visits_each_group_once_with_batches_ascending():
    agenda = Agenda(list(groups("vit", "glsim")), (8, 1, 4, 2, 2))
    visits = []
    while (visit := agenda.next()) is not None:
        visits.append((visit.group.case.model, visit.batch_sizes))
        for size in visit.batch_sizes:
            agenda.finished(visit.group, size, Status("ok"), 1.0)
    assert visits == [("vit", (1, 2, 4, 8)), ("glsim", (1, 2, 4, 8))]


def test_a_short_sweep_begins_with_one_batch_of_every_group():
    every = list(groups("vit", "glsim", sizes=(224, 448)))
    order = run(Agenda(every, BATCHES, informative_first=True), lambda group, size: size)
    assert list(order[: len(every)]) == [(group, 16) for group in every]


def test_then_it_closes_in_on_the_best_batch_of_each():
    every = list(groups("vit", "glsim"))
    order = run(Agenda(every, BATCHES, informative_first=True), lambda group, size: -abs(size - 64))
    assert {size for _, size in order[: 2 * 4]} == {16, 32, 64, 128}  # of both, before anything else
    for group in every:
        at = [size for g, size in order if g == group]
        assert at[:4] == [16, 32, 64, 128]  # uphill, until one on the far side is worse


def test_what_does_not_fit_turns_it_to_smaller_batches():
    (group,) = groups("vit")
    agenda = Agenda([group], BATCHES, informative_first=True)
    order = [size for _, size in run(agenda, lambda g, size: size, fits=lambda g, size: size < 8)]
    assert order[0] == 16
    assert sorted(order) == [1, 2, 4, 8, 16]
    assert agenda.left() == []


def test_batches_above_one_that_did_not_fit_are_not_tried():
    (group,) = groups("vit")
    agenda = Agenda([group], BATCHES)
    agenda.finished(group, 32, Status("oom"), None)
    assert agenda.too_large(group) == [64, 128, 256]
    assert agenda.smallest_too_large(group) == 32


def test_a_point_that_is_put_off_waits_until_it_is_taken_back():
    (group,) = groups("vit")
    agenda = Agenda([group], (1, 2))
    agenda.put_off(group, 1)
    assert agenda.next().batch_sizes == (2,)
    agenda.finished(group, 2, Status("ok"), 1.0)
    assert agenda.next() is None
    assert agenda.waiting() == agenda.left() == [(group, 1)]
    agenda.take_back(group, 1)
    assert agenda.next().batch_sizes == (1,)


@given(
    st.lists(st.sampled_from(BATCHES), min_size=1, unique=True),
    st.integers(1, 4),
    st.dictionaries(st.sampled_from(BATCHES), st.floats(0.1, 1000)),
    st.one_of(st.none(), st.sampled_from(BATCHES)),
    st.booleans(),
    st.lists(st.tuples(st.integers(0, 3), st.sampled_from(BATCHES)), max_size=8),
)
def test_every_point_is_measured_once_or_known_not_to_fit(batches, count, rates, too_large, informative, stored):
    every = list(groups(*(f"m{index}" for index in range(count))))
    agenda = Agenda(every, batches, informative_first=informative)
    known = {(every[index % count], size) for index, size in stored if size in batches}
    for group, size in known:
        agenda.finished(group, size, Status("ok"), rates.get(size))
    order = run(
        agenda, lambda g, size: rates.get(size, 1.0), fits=lambda g, size: too_large is None or size < too_large
    )
    assert len(order) == len(set(order))
    assert not set(order) & known
    assert agenda.left() == []
    for group in every:
        mine = [size for g, size in order if g == group]
        expected = {size for size in batches if (group, size) not in known}
        if too_large is None:
            assert set(mine) == expected
        else:
            assert {size for size in expected if size < too_large} <= set(mine) <= expected
