"""Column entropy of the joint map, the selection of AA-Trans (released code); no short cut to it is known."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from fgbench_selectors.backends import blocks
from fgbench_selectors.errors import FeaturesError
from fgbench_selectors.features import Features, Needs
from fgbench_selectors.lifted import AnyAttention
from fgbench_selectors.selector import Selector

SMALL = 1e-3  # below it an exponential or a logarithm is a series, whose next term is 10⁻¹⁵ of the sum or less


class ColumnEntropy(Selector):
    """Entropy of every column of the product of the maps of blocks L−1 … 1, for every head → (B, H, G²).

    J = (σA_{L−1}) ⋯ (σA_2) A_1 per head, K = softmax over the *rows* of J between patches, e_j = Σ_i K_ij ln K_ij.
    AA-Trans takes the smallest e of every head: the patch that all patches attend to alike. The score is
    −(e_j + ln G²), the entropy minus that of an even column: at most 0, and the highest one is selected.

    All rows of the product are read, so that no chain of vectors replaces it: both implementations cost O(L·H·N³).
    ``fast`` has less memory.

    Columns of a product of many maps are even up to digits that float32 does not have, and often up to those that
    float64 does not have: there rounding selects in the released code. Here it does not. With rows of maps that sum to
    one, the mean of a column stays what it is, and the softmax does not see it: it is subtracted after every product,
    and the differences keep their digits. All of it is float64. Devices without float64 (MPS) are refused.
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
        deviation: Tensor | None = None
        for block in _read(features):
            probs = block.probs_map().double()
            product = probs if deviation is None else (self._factor(features) * probs) @ deviation
            deviation = _less_mean(product)
        assert deviation is not None
        prefix = features.num_prefix_tokens
        return _column_scores(deviation[:, :, prefix:, prefix:])

    def fast(self, features: Features) -> Tensor:
        """Multiply a few heads' maps with a few columns at a time: no larger matrix, and the same O(L·H·N³).

        In a graph and where there are no values (the meta device), it is the product of whole maps in float64.
        """
        read = _read(features)
        batch, heads, tokens = read[0].shape
        prefix, patches = features.num_prefix_tokens, features.num_patches
        scale = self._factor(features) ** (len(read) - 1)
        if torch.compiler.is_compiling() or features.device.type == "meta":
            deviation = _less_mean(read[0].map(_double).probs_map())
            for block in read[1:]:
                deviation = _less_mean(block.map(_double).probs_map() @ deviation)
            return _column_scores(scale * deviation[:, :, prefix:, prefix:])
        scores = torch.empty(batch * heads, patches, dtype=torch.float64, device=features.device)
        for group in _slices(batch * heads, blocks.STREAM_ELEMENTS // 2 // tokens**2):
            own = [block.map(_part(group)) for block in read]
            width = blocks.STREAM_ELEMENTS // 2 // (tokens * (group.stop - group.start))
            for columns in _slices(patches, width):
                places = slice(prefix + columns.start, prefix + columns.stop)
                # The next block of rows may overwrite the last one.
                deviation = _less_mean(torch.cat([rows[..., places].clone() for _, rows in own[0].row_blocks()], dim=1))
                for block in own[1:]:
                    deviation = _less_mean(torch.cat([rows @ deviation for _, rows in block.row_blocks()], dim=1))
                scores[group, columns] = _column_scores(scale * deviation[:, prefix:])
        return scores.view(batch, heads, patches)

    def _factor(self, features: Features) -> Tensor:
        """σ in float64, where the features are."""
        return self.sigma.to(features.device, torch.float64)


def _read(features: Features) -> Sequence[AnyAttention]:
    if features.device.type == "mps":
        raise FeaturesError("column_entropy needs float64, which the device lacks:", "mps", "use the CPU")
    return features.read_blocks(slice(None, -1))


def _less_mean(columns: Tensor) -> Tensor:
    return columns - columns.mean(dim=-2, keepdim=True)


def _column_scores(columns: Tensor) -> Tensor:
    """−(e_j + ln n) of the columns of (…, n, C) → (…, C), however small their differences are.

    With d a column less its mean, z the mean of exp(d) − 1, and the mean of d·exp(d) in place of that of K ln K, it is
    ln(1 + z) − mean(d·exp(d))/(1 + z). As the mean of d is 0, both are taken without their first order, which rounding
    would leave in them. Small values are series, so that an exported graph, which has no expm1, keeps their digits.
    """
    d = _less_mean(columns)
    second = d.square() * (0.5 + d * (1 / 6 + d * (1 / 24 + d / 120)))  # exp(d) − 1 − d
    second = torch.where(d.abs() < SMALL, second, d.expm1() - d)
    z = second.mean(dim=-2)
    logarithm = torch.where(z < SMALL, z * (1 - z * (1 / 2 - z * (1 / 3 - z * (1 / 4 - z / 5)))), z.log1p())
    return logarithm - (d * (d + second)).mean(dim=-2) / (1 + z)


def _part(group: slice) -> Callable[[Tensor], Tensor]:
    """A function that takes some of the B·H heads of (B, H, …), in float64, as one image's."""
    return lambda x: x.flatten(0, 1)[group].unsqueeze(0).double()


def _double(x: Tensor) -> Tensor:
    return x.double()


def _slices(length: int, step: int) -> Iterator[slice]:
    """Consecutive slices of at most ``step``, and of at least one."""
    step = max(1, step)
    return (slice(start, min(start + step, length)) for start in range(0, length, step))
