"""The conformance check that every selector passes; plug-ins run it in their own tests.

from fgbench_selectors.conformance import check_selector

def test_mine_conforms():
    check_selector("mine")
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from fgbench_selectors.errors import BrokenPluginError
from fgbench_selectors.features import Features
from fgbench_selectors.qk import QK, Maps
from fgbench_selectors.registry import PLUGIN_FAILURES, describe, get, selectors
from fgbench_selectors.selector import IMPLS, Selector, score_breach

HEADS, HEAD_DIM, DEPTH = 3, 8, 4


def check_selector(name: str) -> None:
    """Raise :class:`BrokenPluginError` with the first clause of the contract that a selector breaks.

    Over batches, grids that are no squares and several prefix tokens: both implementations give finite
    scores of the declared shape, agree with each other, repeat themselves, leave their input alone, treat
    every image on its own, take queries and keys or ready maps, and run on the meta device for counting.
    """
    selectors.load(name)
    origin = selectors.entries()[name].origin
    for batch, grid, prefix in ((1, (3, 3), 1), (3, (4, 6), 1), (2, (5, 3), 3)):
        features = random_features(batch, grid, prefix)
        if why := _breach(name, features):
            raise BrokenPluginError(name, origin, f"{why} (batch {batch}, grid {grid}, {prefix} prefix tokens)")


def random_features(batch: int, grid: tuple[int, int], prefix: int, seed: int = 0) -> Features:
    """Features of a small random backbone: every block and the tokens recorded."""
    generator = torch.Generator().manual_seed(seed)
    tokens = prefix + grid[0] * grid[1]

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator)

    per_head = (batch, HEADS, tokens, HEAD_DIM)
    blocks = [QK(draw(*per_head), draw(*per_head)) for _ in range(DEPTH)]
    return Features(tokens=draw(batch, tokens, HEADS * HEAD_DIM), attention=blocks, num_prefix_tokens=prefix, grid=grid)


def as_maps(features: Features) -> Features:
    """The same features with ready maps in place of queries and keys."""
    blocks = [block and Maps(block.probs_map(), block.logits_map()) for block in features.attention]
    return replace(features, attention=blocks)


def _breach(name: str, features: Features) -> str | None:
    results: dict[str, Tensor] = {}
    for impl in IMPLS:
        selector = get(name, impl=impl).eval()
        given = _tensors(features)
        kept = [tensor.clone() for tensor in given]
        try:
            scores = selector(features)
        except PLUGIN_FAILURES as error:
            return f"{impl}: it does not run: {describe(error)}"
        if not all(torch.equal(a, b) for a, b in zip(given, kept, strict=True)):
            return f"{impl}: it changes its input"
        if why := score_breach(selector, features, scores) or _value_breach(selector, features, scores):
            return f"{impl}: {why}"
        results[impl] = scores.detach()
    if not torch.allclose(results["published"], results["fast"], rtol=1e-3, atol=1e-6):
        return "published and fast disagree"
    return None


def _value_breach(selector: Selector, features: Features, scores: Tensor) -> str | None:
    if not scores.isfinite().all():
        return "its scores are not finite"
    if not torch.equal(scores, selector(features)):
        return "a second call gives other scores"
    if not selector.learned and selector(features.map(lambda x: x.clone().requires_grad_())).requires_grad:
        return "gradient flows through it, and it is not declared 'learned'"
    for index in range(scores.shape[0]):
        alone = selector(features.map(_image(index)))
        if not torch.allclose(alone[0], scores[index], rtol=1e-4, atol=1e-6):
            return "the scores of an image depend on its neighbours in the batch"
    if not torch.allclose(selector(as_maps(features)), scores, rtol=1e-4, atol=1e-6):
        return "ready maps give other scores than queries and keys"
    elsewhere = features.map(lambda x: x.to("meta"))
    try:
        on_meta = selector.to("meta")(elsewhere)
    except Exception as error:  # whatever it is, it keeps the selector from being counted
        return f"it does not run on the meta device: {describe(error)}"
    return score_breach(selector, elsewhere, on_meta)


def _image(index: int) -> Callable[[Tensor], Tensor]:
    return lambda batch: batch[index : index + 1]


def _tensors(features: Features) -> list[Tensor]:
    found: list[Tensor] = []
    features.map(lambda tensor: found.append(tensor) or tensor)  # type: ignore[func-returns-value]
    return found
