"""The combiner of PIM on the levels of a Swin-L at 384 pixels, one image, one CPU thread: published against fast.

Run with ``nox -s bench``. A ratio under its target fails the run; the figures stand in the benchmark's extra info.
"""

from __future__ import annotations

import pytest
import torch
from benchmarks.bench_structure import times_faster
from helpers.randomness import randomise

from fgbench.models.plug_in import Combiner

WIDTH, CLASSES, NODES = 1536, 200, 85
TOKENS, SELECTED = (2304, 576, 144, 144), (2048, 512, 128, 32)


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def test_the_folded_combiner_against_the_published_one(benchmark):
    """At least 4 times as fast, with the same logits: no token is gathered, no node has channels."""
    made = torch.Generator().manual_seed(0)
    combiner = Combiner(sum(SELECTED), NODES, WIDTH, CLASSES, dropout=0.1).eval()
    combiner.load_state_dict(randomise(combiner.state_dict()))
    features = [torch.randn(1, tokens, WIDTH, generator=made) for tokens in TOKENS]
    orders = [torch.rand(1, tokens, generator=made).argsort(dim=1) for tokens in TOKENS]
    index = [order[:, :k] for order, k in zip(orders, SELECTED, strict=True)]
    with torch.no_grad():
        fast, published = (combiner(features, index, published=published) for published in (False, True))
    ratio = times_faster(
        benchmark,
        lambda: combiner(features, index, published=True),
        lambda: combiner(features, index),
        rounds=9,
        calls=5,
    )
    benchmark.extra_info.update(target=4, difference=float((fast - published).abs().max()))
    assert torch.allclose(fast, published, atol=1e-4)
    assert ratio >= 4
