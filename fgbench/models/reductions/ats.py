"""ATS (Fayyaz et al., ECCV 2022): tokens are sampled by their significance, as many as an image needs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from fgbench.models.reductions.evit import share_of_patches
from fgbench.models.reductions.reduction import BlockView, Reduction
from fgbench_selectors.backends.precision import is_exporting

if TYPE_CHECKING:
    from fgbench.models.encoder import State

FEWEST_LEVELS = 2


class ATS(Reduction):
    """In a block, sample tokens evenly from the distribution of their significance; the number depends on the image.

    The significance of a patch is the attention that it gets from the class token, summed over heads, times the norm of
    its value; it is divided by the sum over patches. Patches are sorted in ascending order, and the cumulative sum is
    moved to 0 … 1. For equally spaced levels from its smallest value above 0 up to 1, the patch with the nearest value
    is chosen; patches that are chosen twice count once. Attention is computed for the chosen tokens alone.

    Stage s has ⌊keep_rate^s · G²⌋ levels, and so at most as many tokens. The released code has G² levels in each of the
    blocks 4 to 12: ``keep_rate=1, at=range(4, 13)``. In a batch, images with fewer tokens are padded by tokens that no
    other one attends to; where values are not known, as in a count and an exported graph, up to the most.
    Source: ATS, section 3; released code.

    Args:
        encoder: The encoder.
        options: Options of :class:`fgbench.models.reductions.reduction.Reduction`.

    """

    pads_tokens = True

    def queries(self, index: int, state: State, view: BlockView) -> Tensor | None:
        """The places (B, 1 + K) of the prefix and the sampled tokens, in ascending order of their significance."""
        stage = self.stage_at(index)
        if stage is None:
            return None
        assert state.sources is not None
        scores, real = self.significance(state, view)
        levels = max(FEWEST_LEVELS, share_of_patches(self.keep_rate, stage, state))
        sampled, valid = sample(scores, real, levels)
        places = self._drop(state, sampled, valid)
        prefix = valid.new_ones(valid.shape[0], state.sources.num_prefix)
        there = torch.cat([prefix, valid], dim=1)
        state.key_bias = torch.zeros_like(there, dtype=scores.dtype).masked_fill(~there, -torch.inf)[:, None, None]
        return places

    def significance(self, state: State, view: BlockView) -> tuple[Tensor, Tensor]:
        """Scores (B, n) of the patch tokens, 0 for padding, with the sum 1; and which are no padding.

        A selector's scores below 0 count as 0; where an image has no other ones, such as distances, the lowest does.
        """
        assert state.sources is not None
        prefix = state.sources.num_prefix
        if self.selector is not None:
            scores = self.scores(state, state.tokens, view)
            lowest, highest = scores.amin(dim=1, keepdim=True), scores.amax(dim=1, keepdim=True)
            scores = torch.where(highest > 0, scores.clamp_min(0), scores - lowest)
        else:
            norms = view.projected.v.float().square().sum(dim=(1, 3)).sqrt()
            scores = (view.class_row().sum(dim=1) * norms)[:, prefix:]
        real = torch.ones_like(scores, dtype=torch.bool)
        if view.key_bias is not None:
            real = view.key_bias[:, 0, 0, prefix:] == 0
            scores = scores.masked_fill(~real, 0.0)
        return scores / scores.sum(dim=1, keepdim=True).clamp_min(torch.finfo(scores.dtype).tiny), real

    def _drop(self, state: State, index: Tensor, valid: Tensor) -> Tensor:
        """Keep the patches (B, K) that are valid; the others among them are padding, and nobody's place."""
        assert state.sources is not None
        before = state.sources
        places = self.drop(state, index)
        length = state.tokens.shape[1]
        order = torch.arange(places.shape[1], device=places.device).expand_as(places)
        real = torch.cat([valid.new_ones(valid.shape[0], before.num_prefix), valid], dim=1)
        to = torch.full((places.shape[0], length), -1, dtype=places.dtype, device=places.device)
        state.sources = before.moved(to.scatter(1, places, torch.where(real, order, -1)))
        return places


def sample(scores: Tensor, real: Tensor, levels: int) -> tuple[Tensor, Tensor]:
    """Sample tokens by the inverse of their cumulative distribution.

    Args:
        scores: (B, n), not negative, with the sum 1.
        real: Which tokens (B, n) are no padding.
        levels: Samples, equally spaced; from 2 on.

    Returns:
        Indices (B, K) of the sampled tokens in ascending order of their scores, behind which other tokens follow up to
        the largest number in the batch; and which of them were sampled.

    """
    order = scores.masked_fill(~real, -1.0).sort(dim=1, stable=True).indices  # padding comes first
    cumulated, real = scores.gather(1, order).cumsum(dim=1), real.gather(1, order)
    lowest, highest = cumulated.masked_fill(~real, torch.inf).amin(dim=1, keepdim=True), cumulated[:, -1:]
    share = (cumulated - lowest) / (highest - lowest).clamp_min(torch.finfo(scores.dtype).tiny)
    first = share.masked_fill(share <= 0, torch.inf).amin(dim=1, keepdim=True).clamp_max(1)
    share = share.masked_fill(~real, -torch.inf)
    steps = torch.linspace(0, 1, levels, dtype=share.dtype, device=share.device)
    wanted = first + (1 - first) * steps
    nearest = (wanted.unsqueeze(2) - share.unsqueeze(1)).abs().argmin(dim=2)
    chosen = torch.zeros_like(share, dtype=torch.bool).scatter(1, nearest, True)
    most = min(levels, scores.shape[1])
    if not (scores.is_meta or is_exporting()):
        most = int(chosen.sum(dim=1).max())
    behind = (~chosen).to(torch.uint8).sort(dim=1, stable=True).indices[:, :most]
    return order.gather(1, behind), chosen.gather(1, behind)
