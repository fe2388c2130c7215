"""The engines of torch: precision, memory format, compilation, CUDA graphs, settings that are given back."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from fgbench.errors import FgbenchError
from fgbench.measure.devices import Cpu
from fgbench.measure.engines.torch_cpu import TorchCpu
from fgbench.measure.engines.torch_cuda import GRAPH_WARM_RUNS, TorchCuda, graph_step
from fgbench.measure.engines.torch_engine import forget_compiled
from fgbench.measure.points import ModelSpec, RunMode
from fgbench.measure.subject import random_images
from fgbench.measure.subjects.model import ModelSubject
from fgbench_selectors.backends.recording import note

CASE = ModelSpec(model="glsim", backbone="test_vit", selector=None, impl=None, image_size=96, num_classes=10)
ONE = RunMode(threads=1)


@pytest.fixture(autouse=True)
def same_threads_as_before():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "amp"])
def test_a_dtype_is_what_is_computed_in(dtype):
    mode = replace(ONE, dtype=dtype)
    engine, subject = TorchCpu(mode, Cpu()), ModelSubject(CASE)
    network = engine.prepare(subject.build("cpu"))
    seen: dict[str, torch.dtype] = {}
    for name, module in network.named_modules():
        if name.endswith("blocks.0.mlp.fc1"):
            module.register_forward_hook(lambda _, __, out: seen.__setitem__("fc1", out.dtype))
            seen["weight"] = module.weight.dtype
    engine.step(network, engine.inputs(subject, 2))()
    half = torch.bfloat16
    assert seen == {
        "weight": half if dtype == "bfloat16" else torch.float32,
        "fc1": half if dtype != "float32" else torch.float32,
    }


def test_channels_last_reaches_the_weights_and_the_images():
    engine = TorchCpu(replace(ONE, channels_last=True), Cpu())
    model = engine.prepare(nn.Conv2d(3, 8, 3))
    assert model.weight.is_contiguous(memory_format=torch.channels_last)
    (images,) = engine.inputs(ModelSubject(CASE), 2)
    assert images.is_contiguous(memory_format=torch.channels_last)


def test_every_batch_size_is_compiled_however_many_there_are(monkeypatch):
    """Dynamo gives up after eight recompilations, and the ninth batch would run eager; a backend that counts."""
    compiled = []

    def backend(module, _):
        compiled.append(module)
        return module.forward

    real = torch.compile
    monkeypatch.setattr(torch, "compile", lambda model, **options: real(model, backend=backend, **options))
    run = TorchCpu(replace(ONE, compiled=True), Cpu()).prepare(nn.Linear(3, 2))
    for batch_size in range(1, 12):
        forget_compiled()
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


def capture(run, images):
    """A graph of a function on images, checked on others."""
    return graph_step(lambda: run(images), (images,), lambda: (random_images(*images.shape[::2], seed=1),), 1e-4)


def test_a_graph_whose_replay_ignores_its_input_is_refused(monkeypatch):
    images = random_images(2, 32)
    graph_on_cpu(monkeypatch, replay=lambda: None)  # the captured output stays what it was
    with pytest.raises(FgbenchError, match="computes something else on other images"):
        capture(lambda x: x.flatten(1).cumsum(1), images)


def test_a_graph_whose_replay_follows_its_input_is_taken_and_the_images_are_as_before(monkeypatch):
    images = random_images(2, 32)
    before, kept = images.clone(), torch.empty(2, 3 * 32 * 32)

    def run(x):
        return kept.copy_(x.flatten(1).cumsum(1))

    graph_on_cpu(monkeypatch, replay=lambda: run(images))
    step, replayed, difference = capture(run, images)
    assert replayed is kept
    assert difference == 0
    assert torch.equal(images, before)
    step()


def test_a_pass_that_cannot_be_captured_says_why(monkeypatch):
    graph_on_cpu(monkeypatch, replay=lambda: None)
    calls = []

    def run(x):
        calls.append(1)
        if len(calls) > GRAPH_WARM_RUNS:
            raise RuntimeError("CUDA error: operation not permitted when stream is capturing\nmore")
        return x

    with pytest.raises(FgbenchError, match="cannot be captured in a CUDA graph: 'CUDA error: operation not permitted"):
        capture(run, random_images(1, 32))


def test_back_ends_are_those_of_a_capture_since_a_replay_chooses_none(monkeypatch):
    graph_on_cpu(monkeypatch, replay=lambda: output.copy_(images.flatten(1)))
    for name in ("empty_cache", "reset_peak_memory_stats"):
        monkeypatch.setattr(torch.cuda, name, lambda: None)
    images = random_images(1, 8)
    output = torch.empty(1, 3 * 64)

    def run(x):
        note("attention", "flash")
        return output.copy_(x.flatten(1))

    engine = TorchCuda(RunMode(device="cuda", cuda_graph=True), Cpu())
    batch = engine.batch(run, (images,), lambda: (random_images(1, 8, seed=1),))
    assert batch.facts == {"cuda_graph_relative_difference": 0.0, "back_ends": {"attention": ["flash"]}}


def test_what_only_cuda_has_is_refused_on_a_cpu():
    with pytest.raises(FgbenchError, match="CUDA graphs run on CUDA devices"):
        TorchCpu.settle(replace(ONE, cuda_graph=True))
    with pytest.raises(FgbenchError, match="only CUDA devices have 'tf32'"):
        TorchCpu.settle(replace(ONE, dtype="tf32"))
    for option in ("compiled", "channels_last"):
        with pytest.raises(FgbenchError, match="int8 runs in eager torch"):
            TorchCpu.settle(replace(ONE, dtype="int8", **{option: True}))
    for engine in (TorchCuda,):
        with pytest.raises(FgbenchError, match="engine 'torch' does not compute in 'int8'; it has: float32, tf32, "):
            engine.settle(replace(ONE, dtype="int8"))


def test_threads_are_filled_in_on_a_cpu_alone():
    assert TorchCpu.settle(RunMode()).threads == torch.get_num_threads()
    assert TorchCpu.settle(ONE) == ONE
    assert TorchCuda.settle(RunMode(device="cuda", threads=3)).threads is None


def test_a_closed_engine_leaves_torch_as_it_was():
    before = torch.get_num_threads(), torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high")
    engine = TorchCpu(replace(ONE, threads=2), Cpu())
    assert (torch.get_num_threads(), torch.get_float32_matmul_precision()) == (2, "highest")
    engine.close()
    assert (torch.get_num_threads(), torch.get_float32_matmul_precision()) == (before[0], "high")
    torch.set_float32_matmul_precision(before[1])


@pytest.mark.parametrize(("dtype", "flags"), [("tf32", (True, True, True)), ("float32", (False, False, True))])
def test_a_gpus_precision_is_set_and_given_back(monkeypatch, dtype, flags):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: (9, 0))
    now = lambda: (  # noqa: E731
        torch.backends.cuda.matmul.allow_tf32,
        torch.backends.cudnn.allow_tf32,
        torch.backends.cudnn.benchmark,
    )
    before = now()
    engine = TorchCuda(RunMode(device="cuda", dtype=dtype), Cpu())
    assert now() == flags
    engine.close()
    assert now() == before


def test_a_gpu_without_tf32_is_told(monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: (7, 0))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "V100")
    with pytest.raises(FgbenchError, match="this GPU has no TF32: 'V100'"):
        TorchCuda(RunMode(device="cuda", dtype="tf32"), Cpu())
