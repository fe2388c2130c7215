"""Attention rollout (Abnar & Zuidema, ACL 2020), as RAMS-Trans, DCAL, EV and GLSim read it."""

from __future__ import annotations

import torch
from torch import Tensor

from fgbench_selectors.errors import FgbenchError
from fgbench_selectors.features import Features, Needs
from fgbench_selectors.selector import Selector

READINGS = {
    "cls": "the class token's row (GLSim's heat maps)",
    "dcal": "the class token's row (DCAL)",
    "rams": "the mean over all rows (RAMS-Trans)",
    "ev": "the class token's row, divided by its largest value (EV)",
}


class Rollout(Selector):
    """One row of R = Ā_L ⋯ Ā_1, Ā = ½(mean over heads of A + I) → (B, G²).

    Source: Abnar & Zuidema 2020, section 3; RAMS-Trans 2021, section 3.2; DCAL 2022, section 3.1; EV (Conde &
    Turgutlu) 2021, section 3.

    Args:
        impl: ``published`` or ``fast``.
        reading: The row that is the result: row 0 (``cls``, ``dcal``), the mean of all rows (``rams``), or row 0
            divided by its maximum (``ev``).

    Raises:
        FgbenchError: If the reading is unknown.

    """

    needs = Needs(blocks=slice(None), class_token=True)
    score_shape = ("batch", "patches")

    def __init__(self, impl: str = "fast", reading: str = "cls") -> None:
        super().__init__(impl)
        if reading not in READINGS:
            raise FgbenchError("unknown reading of the rollout", reading, f"known: {', '.join(READINGS)}")
        self.reading = reading
        self.needs = Needs(blocks=slice(None), class_token=reading != "rams")

    def published(self, features: Features) -> Tensor:
        """Average the heads, add the identity, renormalise, multiply N×N matrices: O(L·N³)."""
        joint: Tensor | None = None
        for block in features.read_blocks(slice(None)):
            mean = block.probs_map().mean(dim=1)
            residual = mean + torch.eye(mean.shape[-1], dtype=mean.dtype, device=mean.device)
            step = residual / residual.sum(dim=-1, keepdim=True)
            joint = step if joint is None else step @ joint
        assert joint is not None
        row = joint.mean(dim=1) if self.reading == "rams" else joint[:, 0]
        return self._read(row, features)

    def fast(self, features: Features) -> Tensor:
        """Multiply one row by the blocks in turn, v ← ½(v + mean over heads of v A): O(L·H·N²), without maps."""
        last, *earlier = reversed(features.read_blocks(slice(None)))
        batch, _, tokens = last.shape
        if self.reading == "rams":
            row = last.row(0)  # for its dtype and device
            v = row.new_full((batch, tokens), 1 / tokens)
            v = (v + last.left_mean(v)) / 2
        else:
            v = last.row(0).mean(dim=1)
            v[:, 0] += 1
            v = v / 2
        for block in earlier:
            v = (v + block.left_mean(v)) / 2
        return self._read(v, features)

    def _read(self, row: Tensor, features: Features) -> Tensor:
        patches = row[:, features.num_prefix_tokens :]
        if self.reading == "ev":
            peak = patches.amax(dim=-1, keepdim=True)
            patches = patches / peak.masked_fill(peak == 0, 1)  # zeros stay zeros
        return patches
