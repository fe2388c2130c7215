"""Sweeps of a tiny model: stored rows, repeated measurements, and sweeps that wait for each other."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from helpers.sweeping import outcomes, request, sweep
from helpers.worker_pool import FAULTY

from fgbench.errors import FgbenchError
from fgbench.results.records import STATUSES, ThroughputRow, saved_fields
from fgbench.results.store import Store
from fgbench.sweep.context import open_sweep
from fgbench.sweep.device_lock import device_lock
from fgbench.sweep.sweep import KIND, Sweep

pytestmark = pytest.mark.slow
FIELDS = [*(name for name in saved_fields(ThroughputRow) if name != "repeat"), "kind", "schema_version"]


def test_rows_have_the_fields_of_the_contract_and_figures_that_agree(pool, tmp_path):
    done = sweep(pool, tmp_path / "s.db", cap_s=0.5)
    assert outcomes(done.rows) == [(1, "ok"), (2, "ok"), (4, "ok")]
    for row in done.rows:
        assert list(row.as_dict()) == FIELDS
        assert row["status"] in STATUSES
        assert (row["model"], row["selector"], row["impl"]) == ("glsim", "gls", "fast")
        assert (row["backbone"], row["image_size"], row["device"], row["dtype"]) == ("test_vit", 96, "cpu", "float32")
        assert row["throughput_img_s"] == pytest.approx(row["batch_size"] / row["latency_s"])
        assert row["latency_ci95_low_s"] <= row["latency_s"] <= row["latency_ci95_high_s"]
        assert min(row["blocks"]) <= row["latency_s"] <= max(row["blocks"])
        assert row["mfu"] is None or 0 < row["mfu"] <= 1
        assert 50e6 < row["device_memory_bytes"] < 4e9
        assert row["peak_memory_allocated_bytes"] is row["energy_j_per_image"] is None
        environment = row["environment"]
        assert set(environment["missing"]) >= {"peak_memory_allocated_bytes", "energy_j_per_image"}
        assert environment["threads"] == 1
        for name in ("torch", "fgbench", "timm", "cpu", "device_name", "python", "time", "code"):
            assert environment[name], name
    rows = done.rows
    best = max(rows, key=lambda row: row["throughput_img_s"])
    assert [row["best"] for row in rows] == [row is best for row in rows]


def test_a_second_sweep_measures_nothing_and_says_the_same(pool, tmp_path):
    first = sweep(pool, tmp_path / "s.db")
    second = sweep(pool, tmp_path / "s.db")
    assert (first.measured, second.measured) == (3, 0)
    assert second.rows == first.rows
    more = sweep(pool, tmp_path / "s.db", batch_sizes=[1, 2, 4, 8])
    assert more.measured == 1
    assert more.rows[:3] == [{**row, "best": new["best"]} for row, new in zip(first.rows, more.rows, strict=False)]


@pytest.mark.parametrize(
    "change",
    [{"image_sizes": [64]}, {"impls": ["published"]}, {"num_classes": 7}, {"channels_last": True}, {"cap_s": 0.11}],
)
def test_what_could_change_the_figure_is_measured_anew(pool, tmp_path, change):
    sweep(pool, tmp_path / "s.db", batch_sizes=[1])
    assert sweep(pool, tmp_path / "s.db", **{"batch_sizes": [1], **change}).measured == 1


def test_again_measures_once_more_and_keeps_the_older_figures(pool, tmp_path):
    with Store(tmp_path / "s.db") as store:
        first = sweep(pool, store, batch_sizes=[1])
        second = sweep(pool, store, batch_sizes=[1], again=True)
        key = second.context.key(second.context.groups[0], 1)
        assert second.measured == 1
        assert [row["blocks"] for row in store.history(KIND, key)] == [
            first.rows[0]["blocks"],
            second.rows[0]["blocks"],
        ]
        assert len(list(store.rows(KIND))) == 1


def test_again_replaces_a_row_that_cannot_be_read(pool, tmp_path):
    with Store(tmp_path / "s.db") as store:
        first = sweep(pool, store, batch_sizes=[1])
        fields = {**first.rows[0].as_dict(), "latency_s": "fast"}
        environment = fields.pop("environment")
        store.add(KIND, first.context.key(first.context.groups[0], 1), fields, environment, again=True)
        with pytest.raises(FgbenchError, match=r"'latency_s'.*; --again replaces it$"):
            sweep(pool, store, batch_sizes=[1])
        second = sweep(pool, store, batch_sizes=[1], again=True)
        assert (second.measured, second.rows[0].latency_s > 0) == (1, True)
        assert sweep(pool, store, batch_sizes=[1]).measured == 0


def test_retry_measures_what_failed_and_leaves_the_rest(pool, tmp_path):
    options = {"selectors": ["raises"], "plugins": [str(FAULTY)]}
    with Store(tmp_path / "s.db") as store:
        first = sweep(pool, store, **options)
        restless = sum(row["status"] != "ok" for row in first.rows)
        assert restless >= 1
        assert sweep(pool, store, **options).measured == 0
        assert sweep(pool, store, retry=True, **options).measured == restless


def test_a_larger_batch_than_one_that_did_not_fit_before_is_inferred_at_once(pool, tmp_path):
    options = {"selectors": ["allocates"], "plugins": [str(FAULTY)]}
    sweep(pool, tmp_path / "s.db", batch_sizes=[2], **options)
    later = sweep(pool, tmp_path / "s.db", batch_sizes=[2, 8], **options)
    assert outcomes(later.rows) == [(2, "oom"), (8, "oom_inferred")]
    assert later.measuring_s == 0


def test_a_timeout_is_tried_again_with_more_time_and_only_then(pool, tmp_path):
    options = {"selectors": ["sleeps"], "plugins": [str(FAULTY)], "batch_sizes": [2]}
    assert outcomes(sweep(pool, tmp_path / "s.db", timeout_s=2.0, **options).rows) == [(2, "timeout")]
    assert sweep(pool, tmp_path / "s.db", timeout_s=2.0, **options).measured == 0
    again = sweep(pool, tmp_path / "s.db", timeout_s=3.0, **options)
    assert (again.measured, again.rows[0]["reason"]) == (1, "no result within 3 s")


def test_a_plug_in_that_a_model_does_not_use_changes_nothing(pool, tmp_path):
    first = sweep(pool, tmp_path / "s.db", batch_sizes=[1])
    assert sweep(pool, tmp_path / "s.db", batch_sizes=[1], plugins=[str(FAULTY)]).rows == first.rows


def test_what_is_to_be_measured_again_is_shown_until_it_is(pool, tmp_path):
    first = sweep(pool, tmp_path / "s.db", batch_sizes=[1])
    none = sweep(pool, tmp_path / "s.db", batch_sizes=[1], again=True, budget_s=1e-9)
    assert none.rows == first.rows
    assert len(none.left_out) == 1


def test_repeats_are_rows_of_their_own_in_workers_of_their_own(pool, tmp_path):
    events = []
    done = sweep(pool, tmp_path / "s.db", events=events, repeats=2, batch_sizes=[1], image_sizes=[64, 96])
    assert [(row["image_size"], row["repeat"]) for row in done.rows] == [(64, 1), (64, 2), (96, 1), (96, 2)]
    assert done.rows[0]["blocks"] != done.rows[1]["blocks"]
    assert sum(row["best"] for row in done.rows) == 4


def test_a_spent_budget_leaves_points_out_and_says_which(pool, tmp_path):
    done = sweep(pool, tmp_path / "s.db", budget_s=1e-9, models=["vit", "glsim"])
    assert done.rows == []
    assert len(done.left_out) == 6
    some = sweep(pool, tmp_path / "s.db", budget_s=600.0)
    assert (len(some.rows), some.left_out) == (3, [])
    assert [row["batch_size"] for row in some.rows] == [1, 2, 4]


def test_progress_tells_every_point_and_the_figure_so_far(pool, tmp_path):
    events = []
    sweep(pool, tmp_path / "s.db", events=events)
    rows = [event for event in events if event.row is not None]
    assert [(event.done, event.total) for event in rows] == [(1, 3), (2, 3), (3, 3)]
    assert {event.row["batch_size"] for event in rows} == {1, 2, 4}
    assert any(event.latency_s for event in events)
    assert events[-1].what == "glsim gls fast test_vit at 96 float32 batch 4"


def test_what_does_not_fit_is_named_and_the_others_are_measured(pool, tmp_path):
    problems = []
    done = sweep(pool, tmp_path / "s.db", problems, models=["vit", "glsim"], selectors=["gls"], batch_sizes=[1])
    assert [row["model"] for row in done.rows] == ["glsim"]
    assert [str(problem) for problem in problems] == ["this model has no selector: 'vit'; leave --selectors out"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"models": ["glimm"]}, "unknown model 'glimm'; did you mean glsim"),
        ({"backbones": ["no_such_vit"]}, "no_such_vit"),
        ({"image_sizes": [8]}, "8"),
        ({"device": "cuda"}, "cannot measure on cuda"),
        ({"dtypes": ["tf32"]}, "only CUDA devices have 'tf32'"),
        ({"cuda_graph": True}, "CUDA graphs run on CUDA devices"),
        ({"selectors": ["psm"]}, "glsim"),
    ],
)
def test_what_cannot_be_measured_is_refused_before_anything_is(pool, tmp_path, change, said):
    if change.get("device") == "cuda":
        torch = pytest.importorskip("torch")
        if torch.cuda.is_available():
            pytest.skip("a CUDA device is there")
    with pytest.raises(FgbenchError) as refused:
        open_sweep(request(**change), pool, lambda _: None)
    assert refused.value.exit_code == 2
    assert said.lower() in str(refused.value).lower()


def test_two_sweeps_at_once_share_the_work(tmp_path):
    """Two processes on one store: every point once, and both end with all rows."""
    script = (
        "import sys, json; sys.path.insert(0, sys.argv[1])\n"
        "from pathlib import Path\n"
        "from fgbench.workers.pool import WorkerPool\n"
        "from helpers.sweeping import sweep\n"
        "asked = dict(models=['vit', 'glsim'], image_sizes=[64, 96], batch_sizes=[1, 2])\n"
        "done = sweep(WorkerPool(), Path(sys.argv[2]), **asked)\n"
        "print(json.dumps([done.measured, len(done.rows)]))\n"
    )
    words = [sys.executable, "-c", script, str(Path(__file__).parents[1]), str(tmp_path / "s.db")]
    both = [subprocess.Popen(words, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    told = [json.loads(process.communicate(timeout=900)[0]) for process in both]
    assert [rows for _, rows in told] == [8, 8]
    assert sum(measured for measured, _ in told) == 8
    with Store(tmp_path / "s.db") as store:
        assert len(list(store.rows(KIND))) == 8


def test_a_point_that_another_sweep_claims_is_waited_for(pool, tmp_path, monkeypatch):
    """The other one stores it: it is taken from there, not measured."""
    monkeypatch.setattr("fgbench.sweep.sweep.LOOK_S", 0.05)
    context = open_sweep(request(batch_sizes=[1, 2]), pool, lambda _: None)
    with Store(tmp_path / "s.db") as store:
        other_key = context.key(context.groups[0], 1)
        claimed = [True]

        class Busy(Store):
            def claim(self, kind: str, key: str) -> bool:
                return not (key == other_key and claimed[0]) and super().claim(kind, key)

        waits = []

        def tell(event) -> None:
            if "another sweep" in event.what:
                waits.append(event)
                if len(waits) == 3:
                    template = dict(done.rows[0])
                    environment = template.pop("environment")
                    store.add(KIND, other_key, {**template, "batch_size": 1, "reason": "theirs"}, environment)

        with Busy(tmp_path / "s.db") as busy:
            done = Sweep(context=context, store=busy, pool=pool, tell=tell)
            done.run()
    assert done.measured == 1
    assert [(row["batch_size"], row["reason"] == "theirs") for row in done.rows] == [(1, True), (2, False)]


def test_one_device_is_one_sweeps(tmp_path):
    order, told = [], threading.Event()
    with device_lock("GPU-1", folder=tmp_path) as mine:
        assert mine

        def other() -> None:
            with device_lock("GPU-1", told.set, folder=tmp_path):
                order.append("other")

        thread = threading.Thread(target=other)
        thread.start()
        assert told.wait(120)
        with device_lock("GPU-2", folder=tmp_path):
            order.append("another device")
        order.append("first")
    thread.join(120)
    assert order == ["another device", "first", "other"]


def test_whoever_waits_is_next_and_nobody_waits_beyond_his_time(tmp_path):
    order, waiting = [], threading.Event()

    def other() -> None:
        with device_lock("x", waiting.set, folder=tmp_path):
            order.append("other")

    thread = threading.Thread(target=other)
    with device_lock("x", folder=tmp_path):
        thread.start()
        assert waiting.wait(120)
        with device_lock("x", folder=tmp_path, until=time.monotonic() + 0.3) as held:
            assert not held
    with device_lock("x", folder=tmp_path):  # at once, and still it is the other's turn
        order.append("first again")
    thread.join(120)
    assert order == ["other", "first again"]


def test_a_lock_ends_with_its_process(tmp_path):
    script = (
        "import sys, time; from pathlib import Path; from fgbench.sweep.device_lock import device_lock\n"
        "with device_lock('x', folder=Path(sys.argv[1])): print('held', flush=True); time.sleep(3600)\n"
    )
    child = subprocess.Popen([sys.executable, "-c", script, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert child.stdout.readline() == "held\n"
    child.kill()
    child.wait()
    child.stdout.close()
    waited = []
    with device_lock("x", lambda: waited.append(1), folder=tmp_path):
        assert waited == []


def test_a_device_can_be_used_where_no_lock_can_be_made(tmp_path):
    (tmp_path / "file").touch()
    with device_lock("x", folder=tmp_path / "file") as held:
        assert held
