"""The parts of a run: what is timed where, whatever nests or comes again, and what the rows of it say."""

from __future__ import annotations

import statistics
from dataclasses import replace
from itertools import count, cycle

import pytest
import torch

from fgbench.errors import FgbenchError
from fgbench.measure.engine_registry import open_engine
from fgbench.measure.engines import torch_cuda
from fgbench.measure.engines.torch_cuda import EventMarks
from fgbench.measure.parts import END_TO_END, REST, SUM, WHOLE, HostMarks, PartClock, measure_end_to_end, measure_stages
from fgbench.measure.point import LoadedSubject
from fgbench.measure.points import ModelSpec, RunMode
from fgbench.measure.subjects.model import ModelSubject
from fgbench.models.build import create_model
from fgbench_selectors import Needs, Selector

CASE = ModelSpec(model="glsim", backbone="test_vit", selector=None, impl=None, image_size=64, num_classes=10)


@pytest.fixture(autouse=True)
def same_threads_as_before():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


class FakeTime:
    """A clock that stands still until somebody works."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def work(self, seconds: float) -> float:
        self.seconds += seconds
        return seconds

    def marks(self) -> HostMarks:
        return HostMarks(now=lambda: self.seconds)


def test_a_part_that_runs_twice_adds_up_and_the_rest_is_what_lies_between():
    time = FakeTime()

    def in_parts(on_part):
        time.work(1)
        on_part("pass 1", lambda: time.work(10))
        time.work(2)
        on_part("selector", lambda: time.work(5))
        on_part("pass 1", lambda: time.work(20))

    clock = PartClock(in_parts, time.marks())
    assert clock.run(2) == [38, 38]
    assert clock.blocks == [{REST: 3, "pass 1": 30, "selector": 5}]
    assert clock.parts == ["pass 1", "selector", REST]
    assert clock.totals == [38]


def test_undivided_iterations_run_in_turn_and_are_no_part_of_the_sum():
    time, order = FakeTime(), []
    work = lambda name, seconds: (order.append(name), time.work(seconds))  # noqa: E731
    clock = PartClock(
        lambda on_part: on_part("pass 1", lambda: work("parts", 4)), time.marks(), undivided=lambda: work("whole", 3)
    )
    assert clock.run(2) == [4, 4]
    assert order == ["whole", "parts"] * 2
    assert clock.blocks == [{WHOLE: 3, REST: 0, "pass 1": 4}]
    assert clock.totals == [4]
    assert clock.parts == ["pass 1", REST, WHOLE]


def test_a_part_inside_of_another_one_is_not_counted_twice():
    time = FakeTime()

    def outer(on_part):
        time.work(1)
        on_part("inner", lambda: time.work(7))
        time.work(2)

    clock = PartClock(lambda on_part: on_part("outer", lambda: outer(on_part)), time.marks())
    assert clock.run(1) == [10]
    assert clock.blocks == [{"outer": 3, "inner": 7, REST: 0}]


def test_a_block_is_the_median_of_its_iterations_or_their_mean():
    time, durations = FakeTime(), iter([1, 2, 9, 1, 2, 9])

    def in_parts(on_part):
        on_part("decode", lambda: time.work(next(durations)))

    by_median, by_mean = PartClock(in_parts, time.marks()), PartClock(in_parts, time.marks(), middle=statistics.fmean)
    assert by_median.run(3) == by_mean.run(3) == [1, 2, 9]
    assert (by_median.totals, by_mean.totals) == ([2], [4])


def test_the_host_waits_for_the_device_at_every_boundary():
    waits = []
    marks = HostMarks(lambda: waits.append(len(waits)), now=count().__next__)
    PartClock(lambda on_part: on_part("model", int), marks).run(2)
    assert len(waits) == 1 + 2 * 3


def test_events_are_recorded_behind_each_part_and_read_once_at_the_end(monkeypatch):
    recorded, synchronized = count(1), []

    class Event:
        def __init__(self, enable_timing):
            assert enable_timing

        def record(self):
            self.at = next(recorded)

        def synchronize(self):
            synchronized.append(self.at)

        def elapsed_time(self, later):
            return 1000.0 * (later.at - self.at)

    monkeypatch.setattr(torch_cuda.torch.cuda, "Event", Event)
    monkeypatch.setattr(torch_cuda.torch.cuda, "synchronize", lambda: None)
    clock = PartClock(lambda on_part: on_part("selector", int), EventMarks())
    assert clock.run(2) == [3, 3]
    assert clock.run(1) == [3]
    assert clock.blocks == [{REST: 2, "selector": 1}] * 2
    assert synchronized == [7, 11], "the host waits once a block"


class Slow(Selector):
    """Scores by the norm of tokens, and takes a second of a clock that nothing else moves."""

    needs = Needs(tokens=True)
    score_shape = ("batch", "patches")
    time = FakeTime()

    def published(self, features):
        self.time.work(1)
        return features.read_tokens()[:, features.num_prefix_tokens :].norm(dim=-1)


@pytest.mark.parametrize("name", ["glsim", "transfg"])
def test_a_slow_selector_shows_in_its_part_and_nowhere_else(name, monkeypatch):
    monkeypatch.setattr(Slow, "time", FakeTime())
    if name == "transfg":
        monkeypatch.setattr(Slow, "score_shape", ("batch", "heads", "patches"))
        monkeypatch.setattr(Slow, "published", lambda self, features: heads_of(self, features))
    model = create_model(name, "test_vit", img_size=64, num_classes=10, selector=Slow()).eval()
    images = torch.randn(2, 3, 64, 64)

    def in_parts(on_part):
        model.on_step = on_part
        with torch.inference_mode():
            model(images)

    clock = PartClock(in_parts, HostMarks(now=lambda: model.selector.time.seconds))
    clock.run(1)
    (block,) = clock.blocks
    assert block.pop("selector") == 1
    assert set(block.values()) == {0}
    assert {"pass 1", "fusion"} <= set(block)


def heads_of(selector, features):
    selector.time.work(1)
    return features.read_tokens()[:, features.num_prefix_tokens :].norm(dim=-1).unsqueeze(1).expand(-1, 3, -1)


def loaded(**mode) -> LoadedSubject:
    return LoadedSubject(ModelSubject(CASE), open_engine(RunMode(threads=1, **mode)), 0.05, count=False)


def test_the_stages_of_a_model_come_in_order_with_their_sum_behind_them():
    rows = measure_stages(loaded(), 2)
    assert [row["part"] for row in rows if row["part"] != REST] == [
        *("pass 1", "selector", "crop", "pass 2", "fusion"),
        *(WHOLE, SUM),
    ]
    total = rows[-1]
    assert total["seen"]["parts"] == [row["part"] for row in rows[:-1]]
    for row in rows:
        assert row["latency_ci95_low_s"] <= row["latency_s"] <= row["latency_ci95_high_s"]
        assert len(row["blocks"]) == len(total["blocks"])
        assert row["throughput_img_s"] == pytest.approx(2 / row["latency_s"])
    divided = [row for row in rows if row["part"] != WHOLE]
    for of_block in zip(*(row["blocks"] for row in divided), strict=True):
        assert 0.99 * of_block[-1] <= sum(of_block[:-1]) <= 1.0001 * of_block[-1]


def test_the_model_is_as_before_behind_its_parts():
    engine = open_engine(RunMode(threads=1))
    batch = engine.load(ModelSubject(CASE))(2)
    before = batch.run()
    batch.in_parts(lambda name, run: run())
    assert torch.equal(batch.run(), before)


def test_what_a_part_takes_shows_in_its_memory():
    subject = loaded()
    prepare = subject.prepare_batch

    def greedy(batch_size):
        batch = prepare(batch_size)

        def in_parts(on_part):
            on_part("small", lambda: torch.ones(1000).sum())
            on_part("large", lambda: torch.ones(50_000_000).sum())

        return replace(batch, in_parts=in_parts)

    subject.prepare_batch = greedy
    added = {row["part"]: row.get("added_memory_bytes") for row in measure_stages(subject, 1)}
    if added["large"] is None:
        pytest.skip("the system does not let a peak begin again")
    assert added["large"] == pytest.approx(200e6, rel=0.1)
    assert added["small"] < 20e6
    assert added[SUM] is None


@pytest.mark.parametrize("mode", [{"compiled": True}, {"cuda_graph": True}])
def test_what_hides_its_stages_has_none(mode):
    engine = open_engine(RunMode(threads=1))
    engine.mode = replace(engine.mode, **mode)
    model = ModelSubject(CASE).build("cpu")
    assert engine.in_parts(model, model, ()) is None


def test_a_step_of_training_is_not_divided():
    subject = loaded(training=True)
    with pytest.raises(FgbenchError, match="engine 'torch' does not run this model part by part"):
        measure_stages(subject, 1)
    with pytest.raises(FgbenchError, match="engine 'torch' does not take pictures"):
        measure_end_to_end(subject, 1, lambda feed, run: lambda on_part: None)


def test_the_model_runs_on_the_pictures_that_were_fed():
    outputs, pictures = [], cycle(torch.randn(2, 2, 3, 64, 64))

    def way(feed, run):
        def in_parts(on_part):
            images = on_part("decode", lambda: next(pictures))
            on_part("transfer", lambda: feed(images))
            outputs.append(on_part("model", run))

        return in_parts

    rows = measure_end_to_end(loaded(), 2, way)
    assert [row["part"] for row in rows if row["part"] != REST] == ["decode", "transfer", "model", END_TO_END]
    assert torch.equal(outputs[0], outputs[2])
    assert not torch.allclose(outputs[0], outputs[1])
