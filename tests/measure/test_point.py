"""The measurement of a worker in this process, on the CPU and, if there is one, on a GPU."""

from __future__ import annotations

import statistics
from dataclasses import replace

import pytest
import torch

from fgbench.errors import FgbenchError
from fgbench.measure import point, watch
from fgbench.measure.clocks import HostClock, WaitingQueue
from fgbench.measure.engine import is_out_of_memory
from fgbench.measure.engine_registry import open_engine
from fgbench.measure.engines import torch_engine
from fgbench.measure.point import LoadedSubject
from fgbench.measure.points import ModelSpec, RunMode
from fgbench.measure.subjects.model import ModelSubject
from fgbench.measure.timer import CPU_PLAN, GPU_PLAN, timing_plan

CASE = ModelSpec(model="glsim", backbone="test_vit", selector=None, impl=None, image_size=96, num_classes=10)
ONE = RunMode(threads=1)


@pytest.fixture(autouse=True)
def same_threads_as_before():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def loaded(case: ModelSpec = CASE, mode: RunMode = ONE, cap_s: float | None = None) -> LoadedSubject:
    return LoadedSubject(ModelSubject(case), open_engine(mode), cap_s)


def test_a_measurement_says_what_it_did():
    result = loaded(cap_s=0.3).measure(3)
    assert result["throughput_img_s"] == pytest.approx(3 / result["latency_s"])
    assert result["latency_s"] == statistics.median(result["blocks"])
    assert result["macs_per_image"] > 1e6
    assert result["bytes_per_image"] > 4 * 96 * 96 * 3  # the image alone is read
    assert result["seen"]["warm_up_iterations"] >= 2
    percentiles = {"latency_p50_s", "latency_p95_s", "latency_p99_s"}
    assert set(result["missing"]) & percentiles == {field for field in percentiles if result[field] is None}
    assert set(result["missing"]) - percentiles == {
        "peak_memory_allocated_bytes",
        "peak_memory_reserved_bytes",
        "energy_j_per_image",
    }


@pytest.mark.parametrize("compiled", [False, pytest.param(True, marks=pytest.mark.thorough)])
def test_a_measurement_names_the_back_ends_that_ran(compiled):
    transfg = loaded(replace(CASE, model="transfg"), replace(ONE, compiled=compiled), cap_s=0.2)
    assert transfg.measure(1)["seen"]["back_ends"] == {"attention": ["flash_cpu"], "left": ["dense"]}


def test_the_memory_of_the_warm_up_is_not_that_of_the_measurement(monkeypatch):
    """A first pass that takes 300 MB once: the peak of the warm-up has it, the figure does not."""
    subject, first = loaded(cap_s=0.1), [True]
    prepare_batch = subject.prepare_batch

    def greedy(batch_size):
        batch = prepare_batch(batch_size)

        def run():
            if first.pop() if first else False:
                torch.ones(75_000_000)
            return batch.run()

        return replace(batch, run=run)

    subject.prepare_batch = greedy
    result = subject.measure(1)
    if result["seen"]["peak_is_since_start"]:
        pytest.skip("the system does not let a peak begin again")
    assert result["seen"]["warm_up_peak_bytes"] > result["device_memory_bytes"] + 250e6


def test_load_from_others_is_tried_again_and_then_said(monkeypatch):
    shares = iter([0.5, 0.4])

    class Loaded:
        def __init__(self, threads: int) -> None: ...
        def start(self) -> None: ...
        def share(self) -> float:
            return next(shares)

    monkeypatch.setattr(watch, "Interference", Loaded)
    result = loaded(cap_s=0.05).measure(1)
    assert (result["status"], result["reason"]) == ("contended", "others took 40 % of our threads' time")
    assert result["seen"]["attempts"] == 2
    assert result["throughput_img_s"] > 0


def test_a_narrow_interval_that_is_not_reached_is_said(monkeypatch):
    plan = replace(CPU_PLAN, target=1e-9, cap_s=0.05)
    monkeypatch.setattr(point, "timing_plan", lambda *_: plan)
    result = loaded().measure(1)
    assert result["status"] in ("unconverged", "contended")
    if result["status"] == "unconverged":
        assert result["reason"].startswith("after 0.05 s the interval is ±")


def test_a_host_clock_times_each_iteration(monkeypatch):
    times = iter([0.0, 1.0, 10.0, 12.0, 20.0, 23.0])
    monkeypatch.setattr("time.perf_counter", lambda: next(times))
    calls = []
    assert HostClock(lambda: calls.append(1)).run(3) == [1.0, 2.0, 3.0]
    assert len(calls) == 3


def test_a_device_is_waited_for_within_an_iteration_and_looked_at_behind_the_last():
    order = []
    HostClock(lambda: order.append("run"), lambda: order.append("wait"), lambda: order.append("look")).run(2)
    assert order == ["run", "wait", "run", "wait", "look"]


def test_a_queue_that_waits_has_finished_what_it_has_launched():
    calls = []
    queue = WaitingQueue(lambda: calls.append("run"), lambda: calls.append("wait"))
    queue.launch()
    queue.launch()
    assert (queue.launched(), queue.completed(), calls) == (2, 2, ["run", "wait"] * 2)
    queue.drain()


def test_a_plan_is_that_of_its_device_with_the_cap_that_was_asked_for():
    assert timing_plan("cuda", None) is GPU_PLAN
    short = timing_plan("cpu", 0.2)
    assert (short.cap_s, short.target) == (0.2, CPU_PLAN.target)
    assert short.warm_s <= short.warm_cap_s <= 0.2


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError("[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: can't allocate memory: you tried to"),
        RuntimeError("CUDA error: out of memory"),
        RuntimeError("cuBLAS error: CUBLAS_STATUS_ALLOC_FAILED when calling cublasCreate"),
        RuntimeError("std::bad_alloc"),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"),
        OSError(12, "Cannot allocate memory"),
    ],
)
def test_out_of_memory_is_known_in_everybodys_words(error):
    assert is_out_of_memory(error)
    wrapped = FgbenchError("timm cannot build it")
    wrapped.__cause__ = error
    assert is_out_of_memory(wrapped)


@pytest.mark.parametrize("error", [ValueError("out of memory of what was said"), RuntimeError("shapes differ"), None])
def test_other_errors_are_others(error):
    assert not is_out_of_memory(error)


@pytest.mark.slow
def test_a_compiled_model_is_measured_where_there_is_a_compiler(pool, tmp_path):
    import shutil

    from helpers.sweeping import sweep

    if shutil.which("g++") is None and shutil.which("clang++") is None:
        pytest.skip("torch.compile needs a C++ compiler")
    done = sweep(pool, tmp_path / "s.db", models=["vit"], batch_sizes=[1], compiled=True, timeout_s=900.0)
    assert done.rows[0]["compiled"]
    assert done.rows[0]["throughput_img_s"] > 0, done.rows[0]["reason"]


def test_a_compiled_model_forgets_before_every_batch(monkeypatch):
    forgotten = []
    monkeypatch.setattr(torch_engine, "forget_compiled", lambda: forgotten.append(1))
    monkeypatch.setattr(torch, "compile", lambda model, **_: model)
    vit = loaded(replace(CASE, model="vit"), replace(ONE, compiled=True), cap_s=0.01)
    vit.measure(1)
    vit.measure(2)
    assert len(forgotten) == 2


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device is there")
@pytest.mark.parametrize("dtype", ["float32", "tf32", "bfloat16", "float16", "amp"])
@pytest.mark.parametrize("graph", [False, True])
def test_on_a_gpu(pool, tmp_path, dtype, graph):
    from helpers.sweeping import sweep

    done = sweep(pool, tmp_path / "s.db", device="cuda", threads=None, dtypes=[dtype], cuda_graph=graph, models=["vit"])
    for row in done.rows:
        assert row["throughput_img_s"] > 0, row["reason"]
        assert row["peak_memory_reserved_bytes"] >= row["peak_memory_allocated_bytes"] > 0
        assert 0 < row["mfu"] < 1
