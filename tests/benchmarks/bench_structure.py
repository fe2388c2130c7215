"""The structure stage of SIM-Trans at 448 pixels on ViT-B/16, one image, two CPU threads: graph against closed form.

Run with ``nox -s bench``. A ratio under its target fails the run; the figures stand in the benchmark's extra info.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import pytest
import torch

from fgbench import create_model
from fgbench.models.structure import HIDDEN, StructureGraph, attended_object, closed_form, graph_row

THREADS, SIDE, HEADS, WIDTH = 2, 37, 12, 768  # ViT-B/16, patches that overlap by 4 pixels at 448
CALLS = 100  # of the closed form in a turn


@pytest.fixture(autouse=True)
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(THREADS)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def row() -> torch.Tensor:
    """A₀ (1, H, G²), attention of a class token."""
    logits = 2 * torch.randn(1, HEADS, SIDE**2 + 1, generator=torch.Generator().manual_seed(0))
    return logits.softmax(dim=-1)[..., 1:]


def seconds(call: Callable[[], object], calls: int = 1) -> float:
    start = time.perf_counter()
    with torch.inference_mode():
        for _ in range(calls):
            call()
    return (time.perf_counter() - start) / calls


def times_faster(benchmark, slow: Callable[[], object], fast: Callable[[], object], rounds: int, calls: int) -> float:
    """How many times as long the slow one takes: the median over turns of both, after a warm-up."""
    seconds(slow), seconds(fast, calls)
    ratios, times = [], []

    def both() -> None:
        times.append((seconds(slow), seconds(fast, calls)))
        ratios.append(times[-1][0] / times[-1][1])

    benchmark.pedantic(both, rounds=rounds)
    published_s, fast_s = map(statistics.median, zip(*times, strict=True))
    ratio = statistics.median(ratios)
    benchmark.extra_info.update(published_s=published_s, fast_s=fast_s, times_faster=ratio)
    return ratio


def test_the_closed_form_against_the_published_graph(benchmark, row):
    """At least 300 times as fast from the same object, with the same result."""
    graph = StructureGraph(WIDTH)
    weights = graph.weight1.detach(), graph.weight2.detach()
    found = attended_object(row, (SIDE, SIDE))
    published, fast = graph_row(found, *weights), closed_form(found, *weights)
    difference = float((fast - published).abs().max() / published.abs().max())
    ratio = times_faster(
        benchmark, lambda: graph_row(found, *weights), lambda: closed_form(found, *weights), rounds=7, calls=CALLS
    )
    benchmark.extra_info.update(target=300, relative_difference=difference, hidden=HIDDEN)
    assert difference <= 1e-5
    assert ratio >= 300


def test_the_whole_stage_from_a_row_of_attention(benchmark, row):
    """At least 30 times as fast with the search of the object, which takes both the same time."""
    graph = StructureGraph(WIDTH).eval()
    grid = (SIDE, SIDE)
    ratio = times_faster(
        benchmark,
        lambda: graph(row, grid, published=True),
        lambda: graph(row, grid, published=False),
        rounds=7,
        calls=CALLS,
    )
    benchmark.extra_info.update(target=30)
    assert ratio >= 30


def test_simtrans_fast_against_published_at_448(benchmark):
    """Faster, with the same logits: without the graph, maps, and the patches of the last block."""
    model, image = create_model("simtrans", img_size=448).eval(), torch.randn(1, 3, 448, 448)

    def as_(impl: str) -> torch.Tensor:
        model.impl = impl
        return model(image)

    ratio = times_faster(benchmark, lambda: as_("published"), lambda: as_("fast"), rounds=5, calls=1)
    benchmark.extra_info.update(target=1.1)
    with torch.no_grad():
        assert torch.allclose(as_("published"), as_("fast"), atol=1e-4)
    assert ratio >= 1.1
