"""The part of a selection that rounding does not change; processors order nearly equal scores differently."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def assert_selects(scores: Tensor, index: Sequence[int] | Tensor, tolerance: float) -> None:
    """``index`` (K,) holds the K highest scores (N,), the highest first, where they differ by more than ``tolerance``.

    Scores that differ by less may stand in any order, and either may be the last one that is selected.
    """
    chosen = [int(i) for i in index]
    values = scores.double().tolist()
    assert all(0 <= i < len(values) for i in chosen), f"{chosen} are not all among {len(values)} scores"
    assert len(set(chosen)) == len(chosen), f"{chosen} holds one twice"
    left_out = sorted(set(range(len(values))) - set(chosen), key=lambda i: -values[i])
    best = max(left_out, key=values.__getitem__, default=None)
    # From the last one to the first: whatever comes later, or is left out, is at most a tolerance higher.
    for place in reversed(range(len(chosen))):
        here = chosen[place]
        if best is not None:
            excess = values[best] - values[here]
            assert excess <= tolerance, (
                f"{here} is selected in place {place} before {best}, whose score is higher by {excess:.3g}, "
                f"more than {tolerance:.3g}"
            )
        if best is None or values[here] > values[best]:
            best = here


def assert_same_selection(
    scores: Tensor, index_a: Sequence[int] | Tensor, index_b: Sequence[int] | Tensor, tolerance: float
) -> None:
    """Both (…, K) select the highest of the same scores (…, N) as far as the scores, ± ``tolerance``, define it."""
    a, b = torch.as_tensor(index_a), torch.as_tensor(index_b)
    assert a.shape == b.shape, f"{tuple(a.shape)} are selected, and {tuple(b.shape)}"
    assert a.shape[:-1] == scores.shape[:-1], f"{tuple(a.shape)} are selected by scores {tuple(scores.shape)}"
    assert torch.isfinite(scores).all(), "scores are not all finite"
    rows = scores.reshape(-1, scores.shape[-1])
    for row, one, other in zip(rows, a.reshape(-1, a.shape[-1]), b.reshape(-1, b.shape[-1]), strict=True):
        if not torch.equal(one, other):
            assert_selects(row, one, tolerance)
            assert_selects(row, other, tolerance)


def defined(scores: Tensor, k: int, tolerance: float) -> int:
    """How many of the first ``k`` places of the order of scores (…, N) belong to one index alone."""
    ordered = scores.double().sort(dim=-1, descending=True).values
    apart = ordered[..., :-1] - ordered[..., 1:] > tolerance
    edge = torch.ones_like(ordered[..., :1], dtype=torch.bool)
    alone = torch.cat([edge, apart], dim=-1) & torch.cat([apart, edge], dim=-1)
    return int(alone[..., :k].sum())
