"""Units handed to places that come back, fail, and vanish: no Ray, no torch, and places that a test invents."""

from __future__ import annotations

import random
import time
import tracemalloc
from collections import Counter
from dataclasses import dataclass, field

import pytest

from fgbench.cluster.dispatch import TRIES, Unit, dispatch
from fgbench.cluster.sweep import ClusterSweep
from fgbench.errors import CannotMeasureError
from fgbench.measure.points import ModelSpec, PointGroup, RunMode
from fgbench.results.records import ThroughputRow
from fgbench.results.store import Store
from fgbench.sweep.context import Platform, SweepContext
from fgbench.sweep.request import SweepRequest
from fgbench.workers.pool import WorkerPool


class FakePlaces:
    """Places that answer at once; each start is one of ``fates``: done, lost, failed."""

    def __init__(self, names, fate=lambda place, unit: "done", answer=lambda fields: ([], {})):
        self.names = dict.fromkeys(names, None)
        self.fate, self.answer = fate, answer
        self.begun = Counter()
        self.most_at_once = 0

    def idle(self):
        return [name for name, unit in self.names.items() if unit is None]

    def kind(self, place):
        return "cpu"

    def alive(self):
        return {"cpu"} if self.names else set()

    def start(self, place, do, fields):
        assert self.names[place] is None, "one unit at a time"
        self.names[place] = (do, fields)
        self.begun[place] += 1
        self.most_at_once = max(self.most_at_once, sum(unit is not None for unit in self.names.values()))

    def news(self, timeout_s):
        for name, unit in list(self.names.items()):
            if unit is None:
                continue
            fate = self.fate(name, unit[1])
            if fate == "lost":
                del self.names[name]
                yield name, {"lost": f"node {name} was lost: a power cut"}
            elif fate == "failed":
                self.names[name] = None
                yield name, {"failed": "error", "reason": "no process can be started", "refused": False}
            else:
                told, answer = self.answer(unit[1])
                self.names[name] = None
                for now in told:
                    yield name, {"now": now}
                yield name, {"done": answer}


@dataclass
class Numbers:
    """A source of numbered units."""

    waiting: list[int]
    finished: Counter = field(default_factory=Counter)
    given_up: list[int] = field(default_factory=list)
    losses: Counter = field(default_factory=Counter)

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


def sweep_of(groups: int, store: Store, batch_sizes=(1,), **asked) -> ClusterSweep:
    request = SweepRequest(models=["vit"], **asked)
    mode = RunMode()
    cases = [
        ModelSpec(model=f"m{i}", backbone="b", selector=None, impl=None, image_size=64, num_classes=10)
        for i in range(groups)
    ]
    context = SweepContext(
        request=request,
        groups=[PointGroup(case=case, mode=mode) for case in cases],
        batch_sizes=batch_sizes,
        platforms={mode: Platform(device="cpu", uuid=None, facts={"device_name": "fake", "max_time_s": 1.0})},
    )
    return ClusterSweep(context=context, store=store, pool=WorkerPool())


def measured(sweep: ClusterSweep, status="ok"):
    """What a node answers that measures in no time."""
    from fgbench.measure.points import Rates
    from fgbench.measure.rows import make_row

    def answer(fields):
        told = []
        for size in fields["batch_sizes"]:
            group = fields["group"]
            result = {
                "status": status,
                "reason": None,
                "latency_s": 0.01,
                "throughput_img_s": 100.0 * size,
                "blocks": [],
            }
            row = make_row(group, size, result, {**sweep.context.facts(group), "node": "n"}, Rates())
            content = {name: value for name, value in row.as_dict().items() if name != "environment"}
            told.append({"row": (ThroughputRow.kind, sweep.context.key(group, size), content, row.environment)})
        return told, {"dropped": []}

    return answer


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
