"""The conformance check of selectors. Plug-ins call it in their own tests.

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
from fgbench_selectors.registry import IMPLS, blame, describe, get, selectors
from fgbench_selectors.selector import Selector, score_breach

HEADS, HEAD_DIM, DEPTH, CLASSES = 3, 8, 4, 7
GEOMETRIES = ((1, (3, 3), 1), (3, (4, 6), 1), (2, (5, 3), 3), (2, (4, 4), 0))  # batch, grid, prefix tokens
TOLERANCE = 1e-4  # of the largest score of a row, or of the range of its scores


def check_selector(name: str) -> None:
    """Check that a selector keeps its contract.

    For several batch sizes, grids and numbers of prefix tokens, with only the input that ``needs`` declares: both
    implementations return finite floating-point scores of the declared shape, agree in value and order, give the same
    scores twice, do not change their input, score every image independently, accept queries and keys or ready maps,
    and run on the meta device, where they are counted.

    Args:
        name: A registered name.

    Raises:
        UnknownNameError: If the name is not registered.
        BrokenPluginError: If the selector breaks the contract; the message names the first breach.

    """
    selectors.load(name)
    origin = selectors.entry(name).origin
    for batch, grid, prefix in GEOMETRIES:
        if prefix or not _make(name, IMPLS[0]).needs.class_token:
            with blame(name, origin):
                why = _breach(name, random_features(batch, grid, prefix))
            if why:
                raise BrokenPluginError(name, origin, f"{why} (batch {batch}, grid {grid}, {prefix} prefix tokens)")


def random_features(batch: int, grid: tuple[int, int], prefix: int, seed: int = 0) -> Features:
    """Random features with the tokens, their class logits and all blocks recorded.

    Args:
        batch: Number of images.
        grid: Patches per column and row.
        prefix: Tokens before the patches.
        seed: Seed of the random numbers.

    """
    generator = torch.Generator().manual_seed(seed)
    tokens = prefix + grid[0] * grid[1]

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator)

    per_head = (batch, HEADS, tokens, HEAD_DIM)
    blocks = [QK(draw(*per_head), draw(*per_head)) for _ in range(DEPTH)]
    return Features(
        tokens=draw(batch, tokens, HEADS * HEAD_DIM),
        attention=blocks,
        num_prefix_tokens=prefix,
        grid=grid,
        class_logits=3 * draw(batch, tokens, CLASSES),
    )


def as_maps(features: Features, *, logits: bool) -> Features:
    """The same features with ready maps in place of queries and keys; with ``logits`` these are recorded too."""
    blocks = [block and Maps(block.probs_map(), block.logits_map() if logits else None) for block in features.attention]
    return replace(features, attention=blocks)


def _make(name: str, impl: str) -> Selector:
    with torch.random.fork_rng(devices=[]):  # a learned selector draws the same weights for both implementations
        torch.default_generator.manual_seed(0)
        return get(name, impl=impl).eval()


def _breach(name: str, complete: Features) -> str | None:
    results: dict[str, Tensor] = {}
    for impl in IMPLS:
        selector = _make(name, impl)
        if not (selector.needs.tokens or selector.needs.class_logits) and selector.needs.blocks is None:
            return f"{impl}: its 'needs' declare neither tokens nor blocks nor class logits"
        declared = complete.declared(selector.needs)
        try:
            scores, why = _run(selector, declared, complete)
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            problem = "reads more than its 'needs' declare" if _runs(selector, complete) else "does not run"
            return f"{impl}: it {problem}: {describe(error)}"
        if why:
            return f"{impl}: {why}"
        results[impl] = scores
    if not _equal(results["fast"], results["published"]):
        return "published and fast disagree"
    if not _same_order(results["fast"], results["published"]):
        return "published and fast disagree on which patches are the best"
    return None


def _run(selector: Selector, features: Features, complete: Features) -> tuple[Tensor, str | None]:
    """The scores, and the first breach of the contract."""
    tensors = _tensors(features)
    copies = [tensor.clone() for tensor in tensors]
    scores = selector(features)
    if not all(torch.equal(a, b) for a, b in zip(tensors, copies, strict=True)):
        return scores, "it changes its input"
    why = score_breach(selector, features, scores)
    return scores, why or _value_breach(selector, features, scores) or _reading_breach(
        selector, features, complete, scores
    )


def _value_breach(selector: Selector, features: Features, scores: Tensor) -> str | None:
    if not scores.isfinite().all():
        return "its scores are not finite"
    if _is_view(scores, features):
        return "its scores are a view of its input"
    if not torch.equal(scores, selector(features)):
        return "a second call gives other scores"
    if not selector.learned and selector(features.map(lambda x: x.clone().requires_grad_())).requires_grad:
        return "gradient flows through it, and it is not declared 'learned'"
    for index in range(scores.shape[0]):
        if not _equal(selector(features.map(_image(index))), scores[index : index + 1]):
            return "the scores of an image depend on its neighbours in the batch"
    return None


def _reading_breach(selector: Selector, features: Features, complete: Features, scores: Tensor) -> str | None:
    if not _equal(selector(complete), scores):
        return "it reads more than its 'needs' declare: its scores change when everything is recorded"
    maps = as_maps(features, logits=selector.needs.logits)
    from_maps = selector(maps)
    if _is_view(from_maps, maps):
        return "its scores are a view of its input"
    if not _equal(from_maps, scores):
        return "ready maps give other scores than queries and keys"
    meta_features = features.map(lambda x: x.to("meta"))
    try:
        meta_scores = selector.to("meta")(meta_features)
    except Exception as error:  # any exception prevents a count
        return f"it does not run on the meta device: {describe(error)}"
    return score_breach(selector, meta_features, meta_scores)


def _runs(selector: Selector, features: Features) -> bool:
    try:
        selector(features)
    except KeyboardInterrupt:
        raise
    except BaseException:
        return False
    return True


def _equal(scores: Tensor, expected: Tensor) -> bool:
    """Whether scores are equal up to rounding, relative to the largest score of each row."""
    a, b = _rows(scores), _rows(expected)
    return a.shape == b.shape and bool(((a - b).abs() <= TOLERANCE * b.abs().amax(dim=-1, keepdim=True)).all())


def _same_order(scores: Tensor, expected: Tensor) -> bool:
    """Whether the order by ``scores`` sorts ``expected`` too; equal scores may be in either order."""
    a, b = _rows(scores), _rows(expected)
    best = b.sort(dim=-1, descending=True).values
    in_order = b.gather(-1, a.argsort(dim=-1, descending=True))
    return bool(((best - in_order).abs() <= TOLERANCE * (best[..., :1] - best[..., -1:])).all())


def _rows(scores: Tensor) -> Tensor:
    return (scores if scores.ndim > 1 else scores.unsqueeze(-1)).detach().double()


def _is_view(scores: Tensor, features: Features) -> bool:
    return scores.untyped_storage().data_ptr() in {x.untyped_storage().data_ptr() for x in _tensors(features)}


def _image(index: int) -> Callable[[Tensor], Tensor]:
    return lambda batch: batch[index : index + 1]


def _tensors(features: Features) -> list[Tensor]:
    tensors: list[Tensor] = []
    features.map(lambda tensor: tensors.append(tensor) or tensor)  # type: ignore[func-returns-value]
    return tensors
