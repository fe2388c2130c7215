"""Column entropy of the joint map, the selection of AA-Trans (released code); no short cut to it is known."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from fgbench_selectors.backends import blocks
from fgbench_selectors.errors import FeaturesError
from fgbench_selectors.features import Features, Needs
from fgbench_selectors.qk import QK, Maps
from fgbench_selectors.selector import Selector


class ColumnEntropy(Selector):
    """Entropy of every column of the product of the maps of blocks L−1 … 1, for every head → (B, H, G²).

    J = (σA_{L−1}) ⋯ (σA_2) A_1 per head, K = softmax over the *rows* of J between patches, e_j = Σ_i K_ij ln K_ij.
    AA-Trans takes the smallest e of every head: the patch that all patches attend to alike. The score is
    −(e_j + ln G²), the entropy minus that of an even column: at most 0, and the highest one is selected.

    All rows of the product are read, so that no chain of vectors replaces it: both implementations cost O(L·H·N³).
    ``fast`` has less memory.

    Values of J are in [0, 1] and columns of K nearly even, so that e differs in its fifth digit or later: in float32
    rounding can select, in half precision it does. Here the product, the entropies and the scores are float64.
    Entropies are differences from the even column, and rows of maps that were rounded before are made to sum to one
    again. Devices without float64 (MPS) are refused.
    Source: AA-Trans, released code (``sigma`` included, which no gradient reaches).

    Args:
        impl: ``published`` or ``fast``.

    """

    needs = Needs(blocks=slice(None, -1))
    score_shape = ("batch", "heads", "patches")

    def __init__(self, impl: str = "fast") -> None:
        super().__init__(impl)
        self.sigma: Tensor
        self.register_buffer("sigma", torch.ones(1))  # a parameter in the released code, 1 at the start

    def published(self, features: Features) -> Tensor:
        """Multiply all heads' N×N matrices, then read all of the product."""
        joint: Tensor | None = None
        for block in _read(features):
            probs = _sum_to_one(block.probs_map().double())
            joint = probs if joint is None else (self.sigma.double() * probs) @ joint
        assert joint is not None
        prefix = features.num_prefix_tokens
        return _column_scores(joint[:, :, prefix:, prefix:])

    def fast(self, features: Features) -> Tensor:
        """Multiply a few heads' maps with a few columns at a time: no larger matrix, and the same O(L·H·N³).

        In a graph and where there are no values (the meta device), it is the product of whole maps in float64.
        """
        read = _read(features)
        batch, heads, tokens = read[0].shape
        prefix, patches = features.num_prefix_tokens, features.num_patches
        scale = self.sigma.double() ** (len(read) - 1)
        if torch.compiler.is_compiling() or features.device.type == "meta":
            joint = _map_of(read[0].map(_double))
            for block in read[1:]:
                joint = _map_of(block.map(_double)) @ joint
            return _column_scores(scale * joint[:, :, prefix:, prefix:])
        scores = torch.empty(batch * heads, patches, dtype=torch.float64, device=features.device)
        for group in _slices(batch * heads, blocks.STREAM_ELEMENTS // 2 // tokens**2):
            own = [block.map(_part(group)) for block in read]
            width = blocks.STREAM_ELEMENTS // 2 // (tokens * (group.stop - group.start))
            for columns in _slices(patches, width):
                places = slice(prefix + columns.start, prefix + columns.stop)
                joint = torch.cat([rows[..., places].clone() for rows in _rows(own[0])], dim=1)
                for block in own[1:]:
                    joint = torch.cat([rows @ joint for rows in _rows(block)], dim=1)
                scores[group, columns] = _column_scores(scale * joint[:, prefix:])
        return scores.view(batch, heads, patches)


def _read(features: Features) -> Sequence[QK | Maps]:
    if features.device.type == "mps":
        raise FeaturesError("column_entropy needs float64, which the device lacks:", "mps", "use the CPU")
    return features.read_blocks(slice(None, -1))


def _column_scores(joint: Tensor) -> Tensor:
    """−(e_j + ln n) of the columns of maps (…, n, C) → (…, C), as −mean_i((1 + r) ln(1 + r) − r) with r = n·K − 1.

    The mean of r is 0. Subtracting r leaves r²/2 where r is small; a sum of K ln K would lose it in ln n.
    """
    r = joint.softmax(dim=-2) * joint.shape[-2] - 1
    return -((1 + r) * r.log1p() - r).mean(dim=-2)


def _sum_to_one(probs: Tensor) -> Tensor:
    return probs / probs.sum(dim=-1, keepdim=True)


def _map_of(block: QK | Maps) -> Tensor:
    """The dense map; of queries and keys its rows sum to one to float64's precision."""
    return _sum_to_one(block.probs_map()) if isinstance(block, Maps) else block.probs_map()


def _rows(block: QK | Maps) -> Iterator[Tensor]:
    """Rows of the map in blocks (B·H, rows, N); the next block may overwrite the last one."""
    for _, probs in block.row_blocks():
        yield _sum_to_one(probs) if isinstance(block, Maps) else probs


def _part(group: slice) -> Callable[[Tensor], Tensor]:
    """A function that takes some of the B·H heads of (B, H, …), in float64, as one image's."""
    return lambda x: x.flatten(0, 1)[group].unsqueeze(0).double()


def _double(x: Tensor) -> Tensor:
    return x.double()


def _slices(length: int, step: int) -> Iterator[slice]:
    """Consecutive slices of at most ``step``, and of at least one."""
    step = max(1, step)
    return (slice(start, min(start + step, length)) for start in range(0, length, step))
