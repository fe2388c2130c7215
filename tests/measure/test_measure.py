"""What a worker measures, in this process, on the CPU – and on a GPU where there is one."""

from __future__ import annotations

import statistics
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from fgbench.errors import FgbenchError
from fgbench.measure import bench as measure
from fgbench.measure import modes, watch
from fgbench.measure.bench import Bench, resolve
from fgbench.measure.clocks import HostClock
from fgbench.measure.matrix_rate import best_s, matrix_rate
from fgbench.measure.points import ModelSpec, RunMode
from fgbench.measure.timer import CPU_PLAN, CUDA_PLAN, timing_plan
from fgbench.sweep.worker import is_out_of_memory
from fgbench_selectors.plugins import import_file

CASE = ModelSpec(model="glsim", backbone="test_vit", selector=None, impl=None, image_size=96, num_classes=10)
ONE = RunMode(threads=1)


@pytest.fixture(autouse=True)
def same_threads_as_before():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def test_defaults_are_filled_in():
    assert resolve(CASE) == replace(CASE, selector="gls", impl="fast")
    plain = resolve(replace(CASE, model="vit", backbone=""))
    assert (plain.backbone, plain.selector, plain.impl) == ("vit_base_patch16_224", None, None)
    assert resolve(replace(CASE, impl="published")).impl == "published"


def test_foreign_code_is_in_the_case(tmp_path):
    from fgbench_selectors.registry import selectors

    file = tmp_path / "mine.py"
    source = (
        "from fgbench_selectors import Needs, Selector\n"
        "class MineOfMeasure(Selector):\n"
        "    needs = Needs(tokens=True)\n"
        "    score_shape = ('batch', 'patches')\n"
        "    def published(self, features):\n"
        "        return features.read_tokens()[:, features.num_prefix_tokens :].norm(dim=-1)\n"
    )
    file.write_text(source)
    selectors.add_file(file)
    try:
        found = resolve(replace(CASE, selector="mineofmeasure"))
    finally:
        selectors._from_files.clear()
    assert found.foreign_code
    assert resolve(CASE).foreign_code is None


TIMM_PLUGIN = """
from timm.models import register_model
from timm.models.vision_transformer import _create_vision_transformer

@register_model
def brought_to_measure(pretrained=False, **options):
    shape = {"patch_size": 16, "embed_dim": 64, "depth": 2, "num_heads": 2}
    return _create_vision_transformer("vit_tiny_patch16_224", pretrained=pretrained, **{**shape, **options})
"""


def test_the_code_of_a_backbone_that_a_plug_in_brings_is_in_the_case(tmp_path):
    file = tmp_path / "brings.py"
    file.write_text(TIMM_PLUGIN)
    import_file(file)
    case = replace(CASE, model="vit", selector=None, impl=None, backbone="brought_to_measure")
    before = resolve(case).foreign_code
    file.write_text(TIMM_PLUGIN + "# another one\n")
    assert None is not before != resolve(case).foreign_code
    assert resolve(replace(case, backbone="vit_tiny_patch16_224")).foreign_code is None


def test_a_measurement_says_what_it_did():
    result = Bench(CASE, ONE, cap_s=0.3).measure(3)
    assert result["throughput_img_s"] == pytest.approx(3 / result["latency_s"])
    assert result["latency_s"] == statistics.median(result["blocks"])
    assert result["macs_per_image"] > 1e6
    assert result["bytes_per_image"] > 4 * 96 * 96 * 3  # the image alone is read
    assert result["seen"]["warm_up_iterations"] >= 2
    assert set(result["missing"]) == {
        "peak_memory_allocated_bytes",
        "peak_memory_reserved_bytes",
        "energy_j_per_image",
    }


@pytest.mark.parametrize("compiled", [False, True])
def test_a_measurement_names_the_back_ends_that_ran(compiled):
    bench = Bench(replace(CASE, model="transfg"), replace(ONE, compiled=compiled), cap_s=0.2)
    assert bench.measure(1)["seen"]["back_ends"] == {"attention": ["flash_cpu"], "left": ["dense"]}


def test_the_memory_of_the_warm_up_is_not_that_of_the_measurement(monkeypatch):
    """A first pass that takes 300 MB once: the peak of the warm-up has it, the figure does not."""
    bench = Bench(CASE, ONE, cap_s=0.1)
    run, first = bench.run, [True]

    def greedy(images):
        if first.pop() if first else False:
            torch.ones(75_000_000)
        return run(images)

    bench.run = greedy
    result = bench.measure(1)
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
    result = Bench(CASE, ONE, cap_s=0.05).measure(1)
    assert (result["status"], result["reason"]) == ("contended", "others took 40 % of our threads' time")
    assert result["seen"]["attempts"] == 2
    assert result["throughput_img_s"] > 0


def test_a_narrow_interval_that_is_not_reached_is_said(monkeypatch):
    plan = replace(CPU_PLAN, target=1e-9, cap_s=0.05)
    monkeypatch.setattr(measure, "timing_plan", lambda *_: plan)
    result = Bench(CASE, ONE).measure(1)
    assert result["status"] in ("unconverged", "contended")
    if result["status"] == "unconverged":
        assert result["reason"].startswith("after 0.05 s the interval is ±")


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "amp"])
def test_a_dtype_is_what_is_computed_in(dtype):
    mode = replace(ONE, dtype=dtype)
    bench = Bench(CASE, mode, cap_s=0.05)
    images = modes.random_images(mode, 2, 96)
    seen: dict[str, torch.dtype] = {}
    for name, module in bench.run.named_modules():
        if name.endswith("blocks.0.mlp.fc1"):
            module.register_forward_hook(lambda _, __, out: seen.__setitem__("fc1", out.dtype))
            seen["weight"] = module.weight.dtype
    modes.eager_step(bench.run, images, mode)()
    half = torch.bfloat16
    assert seen == {
        "weight": half if dtype == "bfloat16" else torch.float32,
        "fc1": half if dtype != "float32" else torch.float32,
    }


def test_images_differ_from_each_other_and_are_the_same_every_time():
    one, again = (modes.random_images(ONE, 3, 32) for _ in range(2))
    assert torch.equal(one, again)
    assert not torch.equal(one[0], one[1])
    assert one.std() == pytest.approx(1, abs=0.1)
    last = modes.random_images(replace(ONE, channels_last=True), 2, 32)
    assert last.is_contiguous(memory_format=torch.channels_last)
    assert not torch.equal(modes.random_images(ONE, 1, 32, seed=1), one[:1])


def test_channels_last_reaches_the_weights():
    model = modes.prepare(nn.Conv2d(3, 8, 3), replace(ONE, channels_last=True))
    assert model.weight.is_contiguous(memory_format=torch.channels_last)


def test_a_host_clock_times_each_iteration(monkeypatch):
    times = iter([0.0, 1.0, 10.0, 12.0, 20.0, 23.0])
    monkeypatch.setattr("time.perf_counter", lambda: next(times))
    calls = []
    assert HostClock(lambda: calls.append(1)).run(3) == [1.0, 2.0, 3.0]
    assert len(calls) == 3


@pytest.mark.parametrize(("rate", "sides"), [(1e11, [1024]), (1e12, [1024, 4096])])
def test_the_rate_of_matrix_products_is_that_of_the_first_side_that_takes_long_enough(monkeypatch, rate, sides):
    assert matrix_rate(ONE) > 0
    seen = []

    def seconds(_, side: int) -> float:
        seen.append(side)
        return 2 * side**3 / rate

    monkeypatch.setattr("fgbench.measure.matrix_rate._product_s", seconds)
    assert matrix_rate(ONE) == pytest.approx(rate)
    assert seen == sides


def test_the_fastest_product_counts_on_a_cpu(monkeypatch):
    times = iter([9.0, 0.5, *[0.3, 0.2, 0.4] * 100])
    monkeypatch.setattr(
        "fgbench.measure.matrix_rate.HostClock",
        lambda step: SimpleNamespace(run=lambda iterations: [next(times) for _ in range(iterations)]),
    )
    assert best_s(lambda: None, "cpu") == 0.2


def test_a_plan_is_that_of_its_device_with_the_cap_that_was_asked_for():
    assert timing_plan("cuda", None) is CUDA_PLAN
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
def test_a_compiled_model_is_measured_where_there_is_a_compiler(host, tmp_path):
    import shutil

    from helpers.sweeping import sweep

    if shutil.which("g++") is None and shutil.which("clang++") is None:
        pytest.skip("torch.compile needs a C++ compiler")
    done = sweep(host, tmp_path / "s.db", models=["vit"], batch_sizes=[1], compiled=True, timeout_s=900.0)
    assert done.rows[0]["compiled"]
    assert done.rows[0]["throughput_img_s"] > 0, done.rows[0]["reason"]


def test_every_batch_size_is_compiled_however_many_there_are(monkeypatch):
    """Dynamo gives up after eight recompilations, and the ninth batch would run eager; a backend that counts."""
    compiled = []

    def backend(module, _):
        compiled.append(module)
        return module.forward

    real = torch.compile
    monkeypatch.setattr(torch, "compile", lambda model, **options: real(model, backend=backend, **options))
    run = modes.prepare(nn.Linear(3, 2), replace(ONE, compiled=True))
    for batch_size in range(1, 12):
        modes.forget_compiled()
        run(torch.ones(batch_size, 3))
    assert len(compiled) == 11
    config = torch._dynamo.config
    limit = "recompile_limit" if hasattr(config, "recompile_limit") else "cache_size_limit"
    # One of timm's optimizers lifts it for the whole process.
    with config.patch(**{limit: 8}), pytest.raises(Exception, match="limit"):
        run_many(run, range(1, 12))
    torch.compiler.reset()


def run_many(run, sizes) -> None:
    for size in sizes:
        run(torch.ones(size, 3))


def test_a_compiled_model_forgets_before_every_batch(monkeypatch):
    forgotten = []
    monkeypatch.setattr(measure, "forget_compiled", lambda: forgotten.append(1))
    monkeypatch.setattr(torch, "compile", lambda model, **_: model)
    bench = Bench(replace(CASE, model="vit"), replace(ONE, compiled=True), cap_s=0.01)
    bench.measure(1)
    bench.measure(2)
    assert len(forgotten) == 2


def graph_on_cpu(monkeypatch, replay):
    """Stand in for CUDA's graphs: a capture runs the step once, a replay does what the test says."""

    class Graph:
        def replay(self) -> None:
            replay()

    class Nothing:
        def __init__(self, *_: object) -> None: ...
        def __enter__(self) -> None: ...
        def __exit__(self, *_: object) -> None: ...
        def wait_stream(self, _: object) -> None: ...

    for name, stand_in in {
        "Stream": Nothing,
        "current_stream": Nothing,
        "stream": Nothing,
        "graph": Nothing,
        "CUDAGraph": Graph,
    }.items():
        monkeypatch.setattr(torch.cuda, name, stand_in)


def test_a_graph_whose_replay_ignores_its_input_is_refused(monkeypatch):
    images = modes.random_images(ONE, 2, 32)
    graph_on_cpu(monkeypatch, replay=lambda: None)  # the captured output stays what it was
    with pytest.raises(FgbenchError, match="computes something else on other images"):
        modes.graph_step(lambda x: x.flatten(1).cumsum(1), images, ONE)


def test_a_graph_whose_replay_follows_its_input_is_taken_and_the_images_are_as_before(monkeypatch):
    images = modes.random_images(ONE, 2, 32)
    before, kept = images.clone(), torch.empty(2, 3 * 32 * 32)

    def run(x):
        return kept.copy_(x.flatten(1).cumsum(1))

    graph_on_cpu(monkeypatch, replay=lambda: run(images))
    step, seen = modes.graph_step(run, images, ONE)
    assert seen == {"cuda_graph_relative_difference": 0.0}
    assert torch.equal(images, before)
    step()


def test_a_pass_that_cannot_be_captured_says_why(monkeypatch):
    graph_on_cpu(monkeypatch, replay=lambda: None)
    calls = []

    def run(x):
        calls.append(1)
        if len(calls) > modes.GRAPH_WARM_RUNS:
            raise RuntimeError("CUDA error: operation not permitted when stream is capturing\nmore")
        return x

    with pytest.raises(FgbenchError, match="cannot be captured in a CUDA graph: 'CUDA error: operation not permitted"):
        modes.graph_step(run, modes.random_images(ONE, 1, 32), ONE)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device is there")
@pytest.mark.parametrize("dtype", ["float32", "tf32", "bfloat16", "float16", "amp"])
@pytest.mark.parametrize("graph", [False, True])
def test_on_a_gpu(host, tmp_path, dtype, graph):
    from helpers.sweeping import sweep

    done = sweep(host, tmp_path / "s.db", device="cuda", threads=None, dtypes=[dtype], cuda_graph=graph, models=["vit"])
    for row in done.rows:
        assert row["throughput_img_s"] > 0, row["reason"]
        assert row["peak_memory_reserved_bytes"] >= row["peak_memory_allocated_bytes"] > 0
        assert 0 < row["mfu"] < 1
