"""Published against fast on the same features in one process: B=1, H=12, 11 blocks, N=1370, two CPU threads.

Run with ``nox -s bench``. A ratio under its target fails the run; the figures stand in the benchmark's extra info.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from fgbench_selectors import QK, Features, Maps, get
from fgbench_selectors.backends.fused import attend

BLOCKS, HEADS, TOKENS, HEAD_DIM, THREADS = 11, 12, 1370, 64, 2
MEMORY_PROBE = Path(__file__).with_name("memory_probe.py")


@pytest.fixture(scope="module", autouse=True)
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(THREADS)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def queries_and_keys() -> list[QK]:
    generator = torch.Generator().manual_seed(0)
    shape = (1, HEADS, TOKENS, HEAD_DIM)
    drawn = [[torch.randn(shape, generator=generator) for _ in range(2)] for _ in range(BLOCKS)]
    return [QK(q, k, lse=attend(q, k, k, HEAD_DIM**-0.5)[1]) for q, k in drawn]  # as a backbone hands them over


@pytest.fixture(scope="module")
def ready_maps(queries_and_keys) -> list[Maps]:
    return [Maps(block.probs_map()) for block in queries_and_keys]


def features_for(name: str, blocks: list) -> Features:
    """PSM reads all blocks but the last: it gets one more that is not recorded, and so reads 11 as rollout does."""
    return Features(attention=[*blocks, None] if name == "psm" else blocks)


def median_seconds(run: Callable[[], torch.Tensor], rounds: int) -> tuple[float, torch.Tensor]:
    seconds, result = [], run()
    for _ in range(rounds):
        start = time.perf_counter()
        result = run()
        seconds.append(time.perf_counter() - start)
    return sorted(seconds)[rounds // 2], result


def compare(benchmark, name: str, features: Features, target: float) -> None:
    published, fast = (get(name, impl=impl) for impl in ("published", "fast"))
    published_s, slow_scores = median_seconds(lambda: published(features), rounds=3)
    scores = benchmark.pedantic(fast, args=(features,), rounds=15, warmup_rounds=2)
    ratio = published_s / benchmark.stats.stats.median
    benchmark.extra_info.update(published_s=published_s, times_faster=ratio, target=target)
    assert torch.equal(scores.argmax(-1), slow_scores.argmax(-1))
    assert ratio >= target


@pytest.mark.parametrize(("name", "target"), [("psm", 100), ("rollout", 10)])
def test_from_ready_maps(benchmark, ready_maps, name, target):
    compare(benchmark, name, features_for(name, ready_maps), target)


@pytest.mark.parametrize(("name", "target"), [("psm", 6), ("rollout", 1)])
def test_from_queries_and_keys(benchmark, queries_and_keys, name, target):
    compare(benchmark, name, features_for(name, queries_and_keys), target)


@pytest.mark.parametrize(("name", "target"), [("psm", 10), ("rollout", 3)])
def test_memory_from_queries_and_keys(benchmark, name, target):
    """Bytes that a selection adds to the process at its peak, each in a fresh process."""

    def added(impl: str) -> int:
        sizes = map(str, (BLOCKS, HEADS, TOKENS, HEAD_DIM, THREADS))
        command = [sys.executable, str(MEMORY_PROBE), name, impl, *sizes]
        return int(subprocess.run(command, check=True, capture_output=True, text=True, timeout=300).stdout)

    published = added("published")
    fast = benchmark.pedantic(added, args=("fast",), rounds=3)
    benchmark.extra_info.update(published_bytes=published, fast_bytes=fast, times_less=published / fast, target=target)
    assert published / fast >= target
