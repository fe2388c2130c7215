"""EViT and ToMe beside the plain ViT-B/16 at 224 pixels, batch 8, two CPU threads: what fewer tokens save.

Run with ``nox -s bench``. Models take turns, and a ratio is that of a turn. A ratio under its target fails the run, and
so does one that the counted work does not predict; the figures stand in the benchmark's extra info.
"""

from __future__ import annotations

import statistics
import time

import pytest
import torch
from torch import Tensor, nn

from fgbench import create_model
from fgbench.flops.count_models import count_model

THREADS, BATCH, SIZE, RATE = 2, 8, 224, 0.7
TURNS = 7
TARGET = 1.3  # times the throughput of the plain model
PREDICTED_WITHIN = 0.10  # of the time that the counted work tells


@pytest.fixture(autouse=True)
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(THREADS)
    yield
    torch.set_num_threads(before)


def seconds(model: nn.Module, images: Tensor) -> float:
    start = time.perf_counter()
    with torch.inference_mode():
        model(images)
    return time.perf_counter() - start


def flops(**options: object) -> float:
    with torch.device("meta"):
        return float(count_model(create_model("vit", img_size=SIZE, **options).eval(), SIZE).flops())


@pytest.mark.parametrize("reduction", ["evit", "tome"])
def test_a_reduced_vit_is_as_much_faster_as_its_count_says(benchmark, reduction):
    """At least 1.3 times the throughput of the plain ViT, and within 10 % of the ratio of the counted FLOPs."""
    plain = create_model("vit", img_size=SIZE).eval()
    reduced = create_model("vit", img_size=SIZE, reduction=reduction, keep_rate=RATE).eval()
    images = torch.randn(BATCH, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0))
    counted = flops() / flops(reduction=reduction, keep_rate=RATE)
    for model in (plain, reduced):
        seconds(model, images)
    ratios: list[float] = []

    def both() -> None:
        before, mine, after = seconds(plain, images), seconds(reduced, images), seconds(plain, images)
        ratios.append((before + after) / 2 / mine)

    benchmark.pedantic(both, rounds=TURNS)
    ratio = statistics.median(ratios)
    benchmark.extra_info.update(target=TARGET, times_the_throughput=ratio, counted=counted, ratios=ratios)
    assert ratio >= TARGET
    assert abs(ratio / counted - 1) <= PREDICTED_WITHIN
