"""Ratios on a GPU: TransFG at 1024 to its ViT, GLSim to its ViT, selection to a copy of its maps.

Each ratio is that of two sides that take turns in one process, by device events. ``pytest
tests/benchmarks/bench_cuda.py -o python_files="bench_*.py" --benchmark-only``; without a GPU everything is skipped.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable

import pytest
import torch

from fgbench import create_model
from fgbench_selectors import Features, Maps, get
from fgbench_selectors.backends.recording import record_backends

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device is there"),
]
SIZE, BATCH, HALF = 1024, 8, torch.bfloat16


def milliseconds(call: Callable[[], object], calls: int) -> float:
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    with torch.inference_mode():
        start.record()
        for _ in range(calls):
            call()
        end.record()
    end.synchronize()
    return start.elapsed_time(end) / calls


def in_turns(first: Callable[[], object], second: Callable[[], object], rounds: int = 9, calls: int = 3) -> float:
    """How many times as long the first takes as the second: the median over rounds, after a warm-up."""
    for _ in range(3):
        milliseconds(first, calls), milliseconds(second, calls)
    return statistics.median(milliseconds(first, calls) / milliseconds(second, calls) for _ in range(rounds))


def peak_bytes(call: Callable[[], object]) -> int:
    """The allocator's peak, weights included."""
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    with torch.inference_mode():
        call()
    torch.cuda.synchronize()
    return torch.cuda.max_memory_allocated()


def model(name: str, size: int, **options: object):
    return create_model(name, img_size=size, **options).eval().to("cuda", HALF)


def images(size: int, batch: int) -> torch.Tensor:
    return torch.randn(batch, 3, size, size, device="cuda", dtype=HALF)


def test_transfg_at_1024_beside_the_vit_with_its_patches(benchmark):
    """At most 1.8 times the time, 1.4 wanted."""
    x, transfg, vit = images(SIZE, BATCH), model("transfg", SIZE), model("vit", SIZE, overlap=4)
    with record_backends() as chosen:
        ratio = benchmark.pedantic(lambda: in_turns(lambda: transfg(x), lambda: vit(x)), rounds=1)
    benchmark.extra_info.update(times_the_vit=ratio, target=1.8, back_ends=chosen)
    assert ratio <= 1.8


def test_memory_of_transfg_at_1024(benchmark):
    """At most a twentieth of what the published maps alone take: L − 1 of B·H·N·N in bfloat16."""
    x, transfg = images(SIZE, BATCH), model("transfg", SIZE)
    fast = benchmark.pedantic(lambda: peak_bytes(lambda: transfg(x)), rounds=1)
    tokens, heads, blocks = transfg.encoder.num_tokens, transfg.encoder.num_heads, transfg.encoder.depth - 1
    published = blocks * BATCH * heads * tokens**2 * HALF.itemsize
    benchmark.extra_info.update(fast_bytes=fast, published_maps_bytes=published, times_less=published / fast, target=20)
    assert published / fast >= 20


@pytest.mark.parametrize("size", [224, 448])
@pytest.mark.parametrize("batch", [1, 32])
def test_glsim_beside_its_vit(benchmark, size, batch):
    """At most 2.05 times the time."""
    x, glsim, vit = images(size, batch), model("glsim", size), model("vit", size)
    ratio = benchmark.pedantic(lambda: in_turns(lambda: glsim(x), lambda: vit(x), calls=5), rounds=1)
    benchmark.extra_info.update(times_the_vit=ratio, target=2.05)
    assert ratio <= 2.05


@pytest.mark.parametrize("dtype", [torch.float32, HALF], ids=str)
@pytest.mark.parametrize(("batch", "tokens"), [(8, 1370), (1, 4097)])
@pytest.mark.parametrize("name", ["psm", "rollout"])
def test_bandwidth_from_ready_maps(benchmark, name, batch, tokens, dtype):
    """At least 60 % of the rate at which the GPU copies: every map is read once, a copy reads and writes."""
    heads, blocks = 12, 3
    maps = [torch.rand(batch, heads, tokens, tokens, device="cuda", dtype=dtype) / tokens for _ in range(blocks)]
    features = Features(attention=[Maps(some) for some in maps] + [None] * (name == "psm"), grid=(1, tokens - 1))
    selector, target = get(name), torch.empty_like(maps[0])
    read = (blocks - 1) * maps[0].nbytes  # of the first one, a row

    def copies() -> None:
        for some in maps[1:]:
            target.copy_(some)

    ratio = benchmark.pedantic(lambda: in_turns(lambda: selector(features), copies, calls=10), rounds=1)
    share = 1 / ratio / 2  # the copies move twice as many bytes
    benchmark.extra_info.update(share_of_copy_bandwidth=share, bytes_read=read, target=0.6)
    assert share >= 0.6
