"""A sweep of selectors: its points, its stored rows, and its failures."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from fgbench.cli.saved import read_data
from fgbench.errors import FgbenchError
from fgbench.results.records import Status
from fgbench.results.store import Store
from fgbench.sweep.selector_request import SelectionRequest
from fgbench.sweep.selector_sweep import SelectorEvent, SelectorSweep
from fgbench.workers.pool import WorkerFailed

REQUEST = SelectionRequest(selectors=["psm"], image_sizes=[64], device="cpu", threads=1)
DESCRIBED = {"device": "cpu", "device_name": None, "uuid": None, "torch": "2.x", "cuda": None, "threads": 2}
TIMED = {
    **{"status": "ok", "reason": None, "latency_s": 0.5, "latency_ci95_low_s": 0.4, "latency_ci95_high_s": 0.6},
    **{"blocks": [0.5, 0.5]},
}


class Workers:
    """A pool whose workers answer from a table, and remember what they were asked."""

    def __init__(self, described=(), **answers):
        self.asked: list[str] = []
        self.arguments: dict[str, dict] = {}  # of the last request of each kind
        self.described = {**DESCRIBED, **dict(described)}
        self.answers = {
            "plugins": {"problems": []},
            "selector_codes": {"codes": {}},
            "rate": {"flop_s": 1e11},
            "copies": {"bytes_s": 1e10},
            "count_selection": {"num_tokens": 17, "macs": 1, "flops": 2, "bytes": 3},
            "measure_selection": {**TIMED, "added_memory_bytes": 10, "backends": {"left": ["dense"]}},
            "measure_backends": {
                "backends": {name: {**TIMED, "chosen": name == "dense"} for name in ("dense", "blocks")}
            },
            **answers,
        }

    def fork(self):
        return self

    def close(self):
        pass

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def ask(self, do, limit_s, tick=lambda: None, **arguments):
        self.asked.append(do)
        self.arguments[do] = arguments
        tick()
        if do == "describe":
            device = self.described["device"]
            return {**self.described, "modes": [{"mode": {**arguments["modes"][0], "device": device}}]}
        answer = self.answers[do]
        if isinstance(answer, BaseException):
            raise answer
        return dict(answer)


def sweep(path: Path, request=REQUEST, workers=None, **more) -> tuple[SelectorSweep, list[FgbenchError]]:
    problems: list[FgbenchError] = []
    with Store(path) as store:
        made = SelectorSweep(
            request=request, store=store, pool=workers or Workers(), on_problem=problems.append, **more
        )
        made.run()
    return made, problems


@pytest.fixture
def path(tmp_path) -> Path:
    return tmp_path / "s.db"


def test_the_backbone_stands_beside_every_selector_in_both_implementations(path):
    rows = sweep(path)[0].rows
    assert [(row["selector"], row["impl"]) for row in rows] == [(None, None), ("psm", "published"), ("psm", "fast")]
    assert {(row["image_size"], row["batch_size"], row["device"], row["dtype"]) for row in rows} == {
        (64, 1, "cpu", "float32")
    }
    assert rows[0]["environment"]["roof"] == {"product_flop_s": 1e11, "copy_bytes_s": 1e10}
    assert (rows[0]["environment"]["threads"], rows[0]["environment"]["torch"]) == (1, "2.x")


def test_kept_points_are_not_measured_again_and_share_one_roof(path):
    sweep(path)
    workers = Workers(rate={"flop_s": 9e11})
    again, _ = sweep(path, replace(REQUEST, image_sizes=[64, 96]), workers)
    assert (again.stored, workers.asked.count("measure_selection"), workers.asked.count("rate")) == (3, 3, 0)
    assert {row["environment"]["roof"]["product_flop_s"] for row in again.rows} == {1e11}


def test_again_measures_what_is_kept(path):
    sweep(path)
    slower = Workers(measure_selection={**TIMED, "latency_s": 0.7, "added_memory_bytes": 10, "backends": {}})
    again, _ = sweep(path, replace(REQUEST, again=True), slower)
    assert {row["latency_s"] for row in again.rows} == {0.7}
    assert {row["latency_s"] for row in read_data(path, [], pytest.fail).selection} == {0.7}


@pytest.mark.parametrize("change", [{"batch_size": 2}, {"dtype": "bfloat16"}, {"threads": 2}, {"cap_s": 1.0}])
def test_another_mode_is_another_point(path, change):
    sweep(path)
    assert sweep(path, replace(REQUEST, **change))[0].stored == 0


@pytest.mark.parametrize(
    "described", [{"device_memory_bytes": 1}, {"cudnn": 9}, {"cuda": "13"}, {"nvml": {"driver_version": "600"}}]
)
def test_another_device_or_driver_is_another_point(path, described):
    sweep(path)
    assert sweep(path, workers=Workers(described))[0].stored == 0


def test_other_settings_of_libraries_are_another_point(path, monkeypatch):
    monkeypatch.delenv("ATEN_CPU_CAPABILITY", raising=False)
    sweep(path)
    assert sweep(path)[0].stored == 3
    monkeypatch.setenv("ATEN_CPU_CAPABILITY", "default")
    assert sweep(path)[0].stored == 0


@pytest.mark.parametrize(("limit", "stored"), [("CPU_CAP_S", 1), ("KERNELS_CAP_S", 3)])
def test_another_default_of_the_time_is_another_point(path, monkeypatch, limit, stored):
    request = replace(REQUEST, kernels=True, maps=[12], tokens=[5])
    sweep(path, request)
    monkeypatch.setattr(f"fgbench.sweep.selector_sweep.{limit}", 99.0)
    assert sweep(path, request)[0].stored == stored


def test_the_default_time_is_the_same_point_where_it_is_typed(path):
    rows = sweep(path)[0].rows
    assert {row.environment["max_time_s"] for row in rows} == {3.0}
    assert sweep(path, replace(REQUEST, cap_s=3.0))[0].stored == 3


def test_retry_measures_what_is_not_ok_and_leaves_the_rest(path):
    request = replace(REQUEST, kernels=True, maps=[12], tokens=[5])
    disturbed = {**TIMED, "status": "contended", "reason": "others", "added_memory_bytes": 10, "backends": {}}
    sweep(path, request, Workers(measure_selection=disturbed))
    assert sweep(path, request)[0].stored == 4, "without --retry it is final"
    workers = Workers()
    again, _ = sweep(path, replace(request, retry=True), workers)
    assert (again.stored, workers.asked.count("measure_selection"), workers.asked.count("measure_backends")) == (
        1,
        3,
        0,
    )
    assert {row.status for row in again.rows} == {Status.OK}
    assert {row.status for row in read_data(path, [], pytest.fail).selection} == {Status.OK}
    assert sweep(path, replace(request, retry=True))[0].stored == 4


def test_retry_measures_kernels_of_which_one_is_not_ok(path):
    request = replace(REQUEST, kernels=True, maps=[12], tokens=[5], retry=True)
    backends = {"dense": {**TIMED, "chosen": True}, "blocks": {**TIMED, "status": "contended", "chosen": False}}
    sweep(path, request, Workers(measure_backends={"backends": backends}))
    workers = Workers()
    assert sweep(path, request, workers)[0].stored == 3
    assert workers.asked.count("measure_backends") == 1


def test_what_is_tried_again_is_shown_until_it_is_measured(path):
    disturbed = {**TIMED, "status": "contended", "reason": "others", "added_memory_bytes": 10, "backends": {}}
    first, _ = sweep(path, workers=Workers(measure_selection=disturbed))
    told: list[SelectorEvent] = []
    request, failing = replace(REQUEST, retry=True), Workers(count_selection=WorkerFailed(Status.ERROR, "no"))
    again, _ = sweep(path, request, failing, on_event=told.append)
    assert again.rows == first.rows
    assert (told[0].done, told[0].total) == (0, 3)


@pytest.mark.parametrize(
    ("failing", "rate", "what"),
    [("rate", "product_flop_s", "matrix products"), ("copies", "copy_bytes_s", "copies")],
)
def test_a_rate_that_cannot_be_measured_is_null_and_told_and_loses_nothing(path, failing, rate, what):
    made, problems = sweep(path, workers=Workers(**{failing: WorkerFailed(Status.CRASHED, "it died")}))
    reason = f"the rate of {what} could not be measured: it died"
    assert [str(problem) for problem in problems] == [reason], "once"
    for row in (*made.rows, *read_data(path, [], pytest.fail).selection):
        assert (row.status, row.latency_s) == (Status.OK, 0.5)
        assert row.environment["roof"][rate] is None
        assert sum(value is None for value in row.environment["roof"].values()) == 1
        assert row.environment["missing"] == {rate: reason}
    again, problems = sweep(path, replace(REQUEST, image_sizes=[64, 96]))
    assert (again.stored, len(again.rows), problems) == (3, 6, [])
    assert again.rows[-1].environment["roof"] == {"product_flop_s": 1e11, "copy_bytes_s": 1e10}


def test_every_worker_that_measures_opens_the_gpu_that_was_described(path):
    workers = Workers({"device": "cuda", "uuid": "GPU-2"})
    sweep(path, replace(REQUEST, kernels=True, maps=[12], tokens=[5], device="cuda"), workers)
    measuring = ("rate", "copies", "measure_selection", "measure_backends")
    assert [workers.arguments[do]["uuid"] for do in measuring] == ["GPU-2"] * 4


def test_the_device_is_locked_before_a_point_is_claimed_and_the_claim_renewed_meanwhile(path, monkeypatch):
    done: list[str] = []

    @contextmanager
    def lock(device, waiting):
        done.append(f"lock {device}")
        yield True
        done.append("unlock")

    monkeypatch.setattr("fgbench.sweep.selector_sweep.device_lock", lock)
    for name in ("claim", "renew", "release"):
        method = getattr(Store, name)
        monkeypatch.setattr(
            Store, name, lambda *words, name=name, method=method: done.append(name) or method(*words), raising=True
        )
    sweep(path, replace(REQUEST, selectors=[]))
    renewals = ["renew", "claim"]  # a claim that is renewed is claimed once more
    # The rate, the copies, the count and the measurement.
    assert done == ["lock cpu", "claim", *renewals * 4, "release", "unlock"]


def test_a_point_that_another_run_claims_is_waited_for(path, monkeypatch):
    """The other one stores it: it is taken from there, not measured."""
    made, _ = sweep(path.with_name("other.db"), replace(REQUEST, selectors=[]))
    with Store(path.with_name("other.db")) as other:
        content = next(other.rows("selection"))
    monkeypatch.setattr(Store, "claim", lambda *_: False)
    waited: list[float] = []

    with Store(path) as store:
        workers = Workers()
        late = SelectorSweep(request=replace(REQUEST, selectors=[]), store=store, pool=workers, on_problem=pytest.fail)

        def finish(seconds: float) -> None:
            waited.append(seconds)
            environment = content.pop("environment")
            store.add("selection", late._key(late.points[0]), content, environment)

        monkeypatch.setattr("fgbench.sweep.selector_sweep.time.sleep", finish)
        late.run()
    assert late.rows == made.rows
    assert (waited, "measure_selection" in workers.asked) == ([1.0], False)


def test_other_code_of_a_selector_is_another_point(path):
    sweep(path)
    other, _ = sweep(path, workers=Workers(selector_codes={"codes": {"psm": "abc"}}))
    assert other.stored == 1, "the backbone"


def test_what_does_not_fit_is_a_row(path):
    rows = sweep(path, workers=Workers(measure_selection=WorkerFailed(Status.OOM, "MemoryError: too much")))[0].rows
    assert {(row["status"], row["reason"], row["latency_s"], row["flops"]) for row in rows} == {
        ("oom", "MemoryError: too much", None, 2)
    }
    assert len(rows) == 3


def test_a_selector_that_cannot_be_counted_is_left_out_and_named(path):
    made, problems = sweep(path, workers=Workers(count_selection=WorkerFailed(Status.ERROR, "no such operator")))
    assert (made.rows, made.finished) == ([], 0)
    assert "psm fast at 64 is left out: 'no such operator'" in str(problems[-1])


def test_kernels_are_kept_by_number_of_tokens(path):
    request = replace(REQUEST, kernels=True, maps=[12], tokens=[5, 9])
    rows = sweep(path, request)[0].rows[3:]
    assert [(row["num_tokens"], row["backend"], row["chosen"]) for row in rows] == [
        (5, "dense", True),
        (5, "blocks", False),
        (9, "dense", True),
        (9, "blocks", False),
    ]
    workers = Workers()
    assert sweep(path, request, workers)[0].rows[3:] == rows
    assert "measure_backends" not in workers.asked


def test_reports_read_the_rows_from_the_store(path):
    made, _ = sweep(path, replace(REQUEST, kernels=True, maps=[12], tokens=[5]))
    data = read_data(path, [], pytest.fail)
    assert (len(data.selection), len(data.backend)) == (3, 2)
    assert [row["selector"] for row in data.selection] == [row["selector"] for row in made.rows[:3]]
    assert data.selection[0]["environment"]["roof"]["copy_bytes_s"] == 1e10


def test_an_interrupt_keeps_what_is_finished(path):
    def stop(event: SelectorEvent) -> None:
        if event.rows:
            raise KeyboardInterrupt

    with Store(path) as store:
        made = SelectorSweep(request=REQUEST, store=store, pool=Workers(), on_problem=pytest.fail, on_event=stop)
        with pytest.raises(KeyboardInterrupt):
            made.run()
        assert len(made.rows) == 1
        assert store.claim("selection", made._key(made.points[0]))
    assert sweep(path)[0].stored == 1


def test_an_unknown_selector_of_a_plugin_file_is_refused(path):
    refused = WorkerFailed(Status.ERROR, "unknown selector 'x'", refused=True)
    with pytest.raises(FgbenchError, match="unknown selector 'x'"):
        sweep(path, workers=Workers(selector_codes=refused))
