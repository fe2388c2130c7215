"""Patches of half the side (FAL-ViT): four in every patch of an encoder, with an embedding of their own."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from fgbench.errors import FgbenchError
from fgbench.models.checkpoints.positions import resize_bilinear
from fgbench.models.encoder import Encoder, State
from fgbench.models.token_ops import take, take_rope

OFFSETS = ((0, 0), (0, 1), (1, 0), (1, 1))  # row and column of the finer patches in a patch, in their order


class FinerPatches(nn.Module):
    """Embeds the finer patches of some patches, and puts the prefix tokens of the encoder before them.

    The projection and the position embeddings are those of the finer patches alone. The position embeddings begin as
    those of the encoder, resized bilinearly with corners aligned; as zeros where it has none. Rotary positions are
    those of the patch that a finer patch is part of.
    Source: FAL-ViT, released code; for rotary positions, which it does not have, our choice.

    Args:
        encoder: The encoder.

    Raises:
        FgbenchError: If patches overlap, or their side is odd.

    """

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        if encoder.patch_size % 2:
            raise FgbenchError(f"patches of {encoder.name} cannot be split in four, their side is", encoder.patch_size)
        if encoder.stride != encoder.patch_size:
            overlap = encoder.patch_size - encoder.stride
            raise FgbenchError("patches that are split in four cannot overlap, got overlap", overlap, "give 0")
        self.patch, self.grid = encoder.patch_size, encoder.grid
        self.finer_grid = (2 * encoder.grid[0], 2 * encoder.grid[1])
        self.proj = nn.Conv2d(3, encoder.embed_dim, self.patch // 2, self.patch // 2)
        positions = encoder.vit.pos_embed
        # Those of prefix tokens, of which some backbones have none.
        self.num_prefix_positions: int = 0 if positions is None else positions.shape[1] - encoder.num_patches
        patches = self.finer_grid[0] * self.finer_grid[1]
        self.pos_embed = nn.Parameter(torch.zeros(1, self.num_prefix_positions + patches, encoder.embed_dim))
        if positions is not None:
            with torch.no_grad():
                prefix = self.num_prefix_positions
                self.pos_embed.copy_(resize_bilinear(positions, list(self.finer_grid), list(self.grid), prefix))

    def start(self, encoder: Encoder, images: Tensor, rope: Tensor | None, index: Tensor, *, published: bool) -> State:
        """Embed the finer patches of patches.

        Args:
            encoder: The encoder.
            images: (B, 3, S, S).
            rope: Rotary positions of all patches, where the backbone has them.
            index: Patches (B, K).
            published: Embed all finer patches, and take those of these patches.

        Returns:
            The state before block 1, of the prefix tokens and (B, 4·K) finer patches: the first one of each patch, then
            the second one of each, and so on.

        """
        vit: Any = encoder.vit
        finer = self.finer_index(index)
        images = images[..., : self.grid[0] * self.patch, : self.grid[1] * self.patch]  # whole patches
        if published:
            patches = take(self.proj(images).flatten(2).transpose(1, 2), finer)
        else:
            patches = self.embed_some(images, index)
        first = self.num_prefix_positions
        patches = patches + self.pos_embed[0, first:][finer]
        prefix = torch.cat(prefix_tokens(vit), dim=1)
        if first:
            prefix = prefix + self.pos_embed[:, :first]
        tokens = torch.cat([prefix.expand(images.shape[0], -1, -1), patches], dim=1)
        tokens = vit.norm_pre(vit.pos_drop(tokens))
        if rope is not None:
            rope = take_rope(rope, index.repeat(1, len(OFFSETS)), mixed=encoder.mixes_rope)
        return State(tokens, rope, is_selection=True)

    def finer_index(self, index: Tensor) -> Tensor:
        """Indices (B, 4·K), among all finer patches in reading order, of those in patches (B, K)."""
        width = self.finer_grid[1]
        first = 4 * index - 2 * (index % self.grid[1])  # of row 2r and column 2c
        return torch.cat([first + down * width + right for down, right in OFFSETS], dim=1)

    def embed_some(self, images: Tensor, index: Tensor) -> Tensor:
        """Embed the finer patches of some patches only.

        Args:
            images: Whole patches of images (B, 3, G·P, G·P).
            index: Patches (B, K).

        Returns:
            (B, 4·K, D), without positions.

        """
        (rows, columns), patch, side = self.grid, self.patch, self.patch // 2
        pixels = images.unflatten(3, (columns, patch)).unflatten(2, (rows, patch))  # (B, 3, rows, P, columns, P)
        pixels = pixels.permute(0, 2, 4, 1, 3, 5).flatten(3).flatten(1, 2)  # (B, G², 3·P²)
        chosen = take(pixels, index).unflatten(2, (3, 2, side, 2, side))
        chosen = chosen.permute(0, 3, 5, 1, 2, 4, 6).flatten(4).flatten(1, 3)  # (B, 4·K, 3·(P/2)²)
        return functional.linear(chosen, self.proj.weight.flatten(1), self.proj.bias)


def prefix_tokens(vit: Any) -> list[Tensor]:
    """The tokens (1, …, D) that a timm ViT puts before the patches, in their order."""
    names = ("cls_token", "dist_token", "reg_token")
    return [token for name in names if (token := getattr(vit, name, None)) is not None]
