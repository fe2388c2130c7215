"""Random backbones for hypothesis: shapes vary, numbers come from a seed."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from helpers import references
from hypothesis import strategies as st

from fgbench_selectors import QK, Features, Maps


@dataclass
class Case:
    """One batch of features in float64, and what the references need of each image."""

    features: Features
    logits: list[list[np.ndarray]]  # per image, per block (H, N, N)
    tokens: np.ndarray  # (B, N, D)
    class_logits: np.ndarray  # (B, N, classes)

    def maps(self) -> Features:
        blocks = [block and Maps(block.probs_map(), block.logits_map()) for block in self.features.attention]
        return replace(self.features, attention=blocks)

    @property
    def prefix(self) -> int:
        return self.features.num_prefix_tokens


@st.composite
def cases(draw: st.DrawFn, max_side: int = 6) -> Case:
    batch = draw(st.integers(1, 3))
    heads, head_dim = draw(st.integers(1, 4)), draw(st.integers(1, 8))
    depth = draw(st.integers(2, 5))
    prefix = draw(st.integers(1, 5))
    grid = (draw(st.integers(1, max_side)), draw(st.integers(1, max_side)))
    spread = draw(st.sampled_from([0.1, 1.0, 4.0]))  # flat to peaked attention
    return make_case(batch, heads, head_dim, depth, prefix, grid, spread, draw(st.integers(0, 2**32 - 1)))


def make_case(
    batch: int = 2,
    heads: int = 3,
    head_dim: int = 8,
    depth: int = 4,
    prefix: int = 1,
    grid: tuple[int, int] = (4, 4),
    spread: float = 1.0,
    seed: int = 0,
) -> Case:
    rng = np.random.default_rng(seed)
    n = prefix + grid[0] * grid[1]
    q, k = (spread * rng.standard_normal((depth, batch, heads, n, head_dim)) for _ in range(2))
    tokens = rng.standard_normal((batch, n, heads * head_dim))
    class_logits = spread * rng.standard_normal((batch, n, 7))
    features = Features(
        tokens=torch.from_numpy(tokens),
        attention=[QK(torch.from_numpy(q[i]), torch.from_numpy(k[i])) for i in range(depth)],
        num_prefix_tokens=prefix,
        grid=grid,
        class_logits=torch.from_numpy(class_logits),
    )
    logits = [[references.logits(q[i, b], k[i, b]) for i in range(depth)] for b in range(batch)]
    return Case(features, logits, tokens, class_logits)
