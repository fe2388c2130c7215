"""Where the patches of an image are, once tokens were dropped or merged."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from fgbench_selectors import QK, Maps
from fgbench_selectors.lifted import Lifted


@dataclass(frozen=True, slots=True)
class Sources:
    """The token that every token of the image is in.

    Args:
        owner: Place (B, N) in the present sequence, for each of the N tokens before the first reduction; any place
            where the token was dropped.
        share: Its share (B, N) of that token: 1 by itself, 0 where it was dropped; shares of one token have the sum 1.
        num_prefix: Tokens before the patches, which no reduction drops or merges.

    """

    owner: Tensor
    share: Tensor
    num_prefix: int

    @classmethod
    def of_all(cls, tokens: Tensor, num_prefix: int) -> Sources:
        """Every one of the tokens (B, N, D) is by itself."""
        batch, length = tokens.shape[:2]
        owner = torch.arange(length, device=tokens.device).expand(batch, -1)
        return cls(owner, tokens.new_ones(batch, length, dtype=torch.float32), num_prefix)

    @property
    def num_patches(self) -> int:
        """Patches before the first reduction."""
        return self.owner.shape[1] - self.num_prefix

    @property
    def present(self) -> Tensor:
        """Which tokens (B, N) of the image were not dropped."""
        return self.share > 0

    def moved(self, to: Tensor, share: Tensor | None = None) -> Sources:
        """After a reduction of the M tokens of the present sequence.

        Args:
            to: The new place (B, M) of each; −1 where it is dropped.
            share: Its share (B, M) of the token in the new place; 1 by default.

        """
        owner = to.gather(1, self.owner)
        mine = self.share if share is None else self.share * share.float().gather(1, self.owner)
        return replace(self, owner=owner.clamp_min(0), share=mine * (owner >= 0))

    def kept(self, places: Tensor, length: int) -> Sources:
        """After the ``length`` tokens of the present sequence became those at ``places`` (B, K), in this order."""
        return self.moved(new_places(places, length))

    def lift(self, tokens: Tensor) -> Tensor:
        """For every token of the image the token (B, N, D) that it is in; a dropped one has that of its owner."""
        return tokens.gather(1, self.owner.unsqueeze(-1).expand(-1, -1, tokens.shape[-1]))

    def lifted(self, attention: QK | Maps) -> Lifted:
        """Attention among the tokens of the present sequence, as attention among those of the image."""
        return Lifted(attention, self.owner.unsqueeze(1), self.share.unsqueeze(1))

    def lift_row(self, row: Tensor) -> Tensor:
        """A row of attention (B, H, M), divided among the tokens of the image: (B, H, N)."""
        owner = self.owner.unsqueeze(1).expand(-1, row.shape[1], -1)
        return row.gather(2, owner) * self.share.unsqueeze(1).to(row.dtype)

    def gather_scores(self, scores: Tensor, length: int, *, divided: bool) -> Tensor:
        """Scores of the patches of the image, gathered for the tokens of the present sequence.

        Args:
            scores: (B, N − num_prefix).
            length: M.
            divided: Whether the scores of merged patches are parts of their token's score; otherwise each of them has
                that score.

        Returns:
            (B, M − num_prefix).

        """
        parts = scores * self.present[:, self.num_prefix :] if divided else scores * self.share[:, self.num_prefix :]
        whole = scores.new_zeros(scores.shape[0], length)
        return whole.scatter_add(1, self.owner[:, self.num_prefix :], parts.to(scores.dtype))[:, self.num_prefix :]


def new_places(places: Tensor, length: int) -> Tensor:
    """For each of ``length`` tokens its index in ``places`` (B, K), which names no token twice; −1 where it has none.

    Returns:
        (B, length).

    """
    order = torch.arange(places.shape[1], device=places.device).expand_as(places)
    nowhere = torch.full((places.shape[0], length), -1, dtype=places.dtype, device=places.device)
    return nowhere.scatter(1, places, order)


def with_prefix(index: Tensor, num_prefix: int) -> Tensor:
    """The places (B, P + K) of the P prefix tokens, and of patches (B, K)."""
    prefix = torch.arange(num_prefix, device=index.device).expand(index.shape[0], -1)
    return torch.cat([prefix, index + num_prefix], dim=1)
