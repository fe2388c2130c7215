"""Units handed to places that come back, fail, and vanish: no Ray, no torch, and places that a test invents."""

from __future__ import annotations

import random
import time
import tracemalloc
from collections import Counter
from dataclasses import dataclass, field, replace

import pytest
from helpers.fake_places import FakePlaces, measured, sweep_of

from fgbench.cluster.dispatch import TRIES, Unit, dispatch
from fgbench.cluster.sweep import ClusterSweep
from fgbench.errors import CannotMeasureError
from fgbench.results.store import Store


@dataclass
class Numbers:
    """A source of numbered units."""

    waiting: list[int]
    finished: Counter = field(default_factory=Counter)
    given_up: list[int] = field(default_factory=list)
    losses: Counter = field(default_factory=Counter)
    blames: bool = False

    @property
    def left(self):
        return len(self.waiting)

    def next(self):
        return Unit(do="count", fields={}, label="", about=self.waiting.pop(0)) if self.waiting else None

    def told(self, unit, place, now): ...

    def done(self, unit, place, answer):
        self.finished[unit.about] += 1

    def failed(self, unit, failure):
        self.lost(unit, failure.reason)
        return self.blames

    def lost(self, unit, why):
        self.losses[unit.about] += 1
        (self.waiting if self.losses[unit.about] < TRIES else self.given_up).append(unit.about)

    def renew(self, units): ...


def test_every_unit_is_done_once_whatever_is_lost():
    rng = random.Random(0)
    source = Numbers(list(range(200)))
    places = FakePlaces([f"n{i}" for i in range(40)], lambda *_: rng.choice(["done"] * 6 + ["lost"] * 1 + ["failed"]))
    dispatch(places, {"cpu": source})
    assert {*source.finished} | {*source.given_up} == set(range(200))
    assert set(source.finished.values()) == {1}
    assert all(source.losses[number] == TRIES for number in source.given_up)


def test_where_no_place_is_left_it_says_how_much_is_open():
    source = Numbers(list(range(5)))
    with pytest.raises(CannotMeasureError, match="no node is left that could do the 5 that are open"):
        dispatch(FakePlaces(["a", "b"], lambda *_: "lost"), {"cpu": source})


def test_rows_are_kept_as_they_come_and_what_is_there_is_not_sent_again(tmp_path):
    with Store(tmp_path / "a.db") as store:
        sweep = sweep_of(6, store, (1, 2, 4))
        places = FakePlaces(["a", "b", "c"], answer=measured(sweep))
        dispatch(places, {"cpu": sweep})
        assert len(sweep.rows) == len(list(store.rows("throughput"))) == 18
        assert (sweep.measured, sweep.stored, sweep.left) == (18, 0, 0)
        assert sum(places.begun.values()) == 6
        again = sweep_of(6, store, (1, 2, 4))
        idle = FakePlaces(["a"], answer=measured(again))
        dispatch(idle, {"cpu": again})
        assert (again.measured, again.stored, not idle.begun) == (0, 18, True)
        once_more = sweep_of(6, store, (1, 2, 4), again=True)
        dispatch(FakePlaces(["a"], answer=measured(once_more)), {"cpu": once_more})
        assert once_more.measured == 18
        assert len(list(store.rows("throughput"))) == 18


def test_a_point_that_is_lost_three_times_is_a_row_with_its_reason(tmp_path):
    with Store(tmp_path / "a.db") as store:
        sweep = sweep_of(2, store, (1, 2))
        cursed = sweep.context.groups[0]

        def fate_of_first(place, fields):
            return "lost" if fields["group"] == cursed else "done"

        dispatch(FakePlaces([f"n{i}" for i in range(8)], fate_of_first, measured(sweep)), {"cpu": sweep})
        rows = {(row.model, row.batch_size): row for row in sweep.rows}
        assert len(rows) == 4
        assert {rows["m0", size].status for size in (1, 2)} == {"crashed"}
        assert "a power cut; it was tried 3 times" in rows["m0", 1].reason
        assert {rows["m1", size].status for size in (1, 2)} == {"ok"}


def test_a_point_of_another_sweep_is_left_to_it(tmp_path):
    with Store(tmp_path / "a.db") as store:
        sweep = sweep_of(3, store)
        taken = sweep.context.key(sweep.context.groups[1], 1)
        claim = store.claim
        busy = {"left": 3}

        def claim_but_one(kind, key):
            if key == taken and busy["left"]:
                busy["left"] -= 1
                return False
            return claim(kind, key)

        store.claim = claim_but_one
        dispatch(FakePlaces(["a"], answer=measured(sweep)), {"cpu": sweep})
        assert [row.model for row in sweep.rows] == ["m0", "m1", "m2"]
        assert busy["left"] == 0


def test_the_driver_s_work_and_memory_do_not_grow_with_the_groups(tmp_path):
    """Four times the groups are less than eight times the work; each keeps little beside its row."""
    seconds, held = {}, {}
    for groups in (100, 400):
        with Store(tmp_path / f"{groups}.db") as store:
            sweep = sweep_of(groups, store)
            places = FakePlaces([f"n{i}" for i in range(64)], answer=measured(sweep))
            tracemalloc.start()
            began = time.process_time()
            dispatch(places, {"cpu": sweep}, together=store.together)
            seconds[groups] = time.process_time() - began
            held[groups] = tracemalloc.get_traced_memory()[0]
            tracemalloc.stop()
            assert sweep.measured == groups
            assert places.most_at_once == 64
    assert seconds[400] < 8 * seconds[100]
    assert held[400] / 400 < 40_000  # bytes a group, its row among them


def test_a_place_that_fails_again_and_again_is_given_up_and_the_others_do_its_work():
    source = Numbers(list(range(20)), blames=True)
    places = FakePlaces(["bad", "good"], lambda place, _: "failed" if place == "bad" else "done")
    dispatch(places, {"cpu": source})
    assert places.begun["bad"] == 2
    assert set(source.finished) == set(range(20))
    with pytest.raises(CannotMeasureError, match="the last one, bad: no process can be started"):
        dispatch(FakePlaces(["bad"], lambda *_: "failed"), {"cpu": Numbers([1, 2, 3], blames=True)})


def test_parts_that_are_lost_again_and_again_are_a_row_and_the_whole_stays(tmp_path):
    """The whole row of a point has come; its parts never do."""
    with Store(tmp_path / "a.db") as store:
        for asked in ({}, {"again": True}):
            sweep = sweep_of(1, store, by_part=True)
            (mode, platform), *_ = sweep.context.platforms.items()
            sweep.context.platforms[mode] = replace(platform, runs_in_parts=True)
            if asked:
                sweep = ClusterSweep(
                    context=replace(sweep.context, request=replace(sweep.context.request, again=True)),
                    store=store,
                    pool=sweep.pool,
                )
            whole = measured(sweep)

            class Places(FakePlaces):
                def news(self, timeout_s, whole=whole):
                    for name, unit in list(self.names.items()):
                        if unit is not None:
                            del self.names[name]
                            for now in [] if unit[1]["known"] else whole(unit[1])[0]:
                                yield name, {"now": now}
                            yield name, {"lost": "a power cut"}

            dispatch(Places([f"n{number}" for number in range(5)]), {"cpu": sweep})
            assert [(row.status, row.part) for row in sweep.rows] == [("ok", None), ("crashed", "sum")]
            assert len(store.history("throughput", sweep.context.key(sweep.context.groups[0], 1))) == 1 + bool(asked)


def test_a_group_that_is_dropped_on_two_places_is_dropped_once(tmp_path):
    with Store(tmp_path / "a.db") as store:
        problems = []
        sweep = sweep_of(2, store, (1, 2, 4), budget_s=1000.0)
        sweep.on_problem = problems.append
        dropped = sweep.context.groups[0]
        rest = measured(sweep)

        def answer(fields):
            return ([], {"dropped": ["no"]}) if fields["group"] == dropped else rest(fields)

        dispatch(FakePlaces(["a", "b", "c"], answer=answer), {"cpu": sweep})
        assert {row.model for row in sweep.rows} == {"m1"}
        assert problems
