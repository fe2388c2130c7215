"""A timm vision transformer that is run block by block, and remembers what a selector reads and nothing else."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from fgbench.errors import FgbenchError
from fgbench.models.attention import Projected, attend, attend_densely, attend_recorded, merge_heads, project
from fgbench.models.options import check_images
from fgbench_selectors import QK, Features, Maps, Needs

BLOCK_PARTS = ("norm1", "attn", "drop_path1", "norm2", "mlp", "drop_path2")
ATTENTION_PARTS = ("qkv", "q_norm", "k_norm", "attn_drop", "proj", "proj_drop", "scale", "num_heads", "fused_attn")


@dataclass(slots=True)
class State:
    """A forward pass under way: tokens (B, N, D), and what has been recorded of each block so far."""

    tokens: Tensor
    rope: Tensor | None = None
    attention: list[QK | Maps | None] = field(default_factory=list)
    hidden: list[Tensor] = field(default_factory=list)  # every block's output, where it was asked for


class Encoder(nn.Module):
    """Patch embedding, blocks and last norm of a timm ViT; its head is not used.

    Attention stays fused. ``record`` names the blocks whose queries and keys are kept, with the log-sum-exp of their
    logits where the kernel returns it; with ``maps=True`` those blocks build their N×N maps instead, as the published
    models do. Nothing is hooked, and the tokens are the same with and without recording.

    Raises :class:`FgbenchError` where the backbone has other blocks than a plain transformer's, or no class token
    although ``class_token`` asks for one.
    """

    vit: Any

    def __init__(self, vit: Any, name: str, image_size: int, *, class_token: bool = True) -> None:
        super().__init__()
        self.vit = vit
        self.name, self.image_size = name, image_size
        self.has_class_token = getattr(vit, "cls_token", None) is not None
        if class_token and not self.has_class_token:
            raise FgbenchError("the backbone has no class token to classify by:", name)
        for block in self.vit.blocks:
            _check_parts(name, block)
        projection: Any = self.vit.patch_embed.proj
        self.depth: int = len(self.vit.blocks)
        self.embed_dim: int = self.vit.embed_dim
        self.num_heads: int = self.vit.blocks[0].attn.num_heads
        self.patch_size: int = projection.kernel_size[0]
        self.stride: int = projection.stride[0]
        self.grid: tuple[int, int] = tuple(self.vit.patch_embed.grid_size)
        self.num_prefix_tokens: int = self.vit.num_prefix_tokens

    @property
    def num_patches(self) -> int:
        """Patches of the grid, G²."""
        return self.grid[0] * self.grid[1]

    @property
    def num_tokens(self) -> int:
        """N: prefix tokens and patches."""
        return self.num_prefix_tokens + self.num_patches

    def forward(self, images: Tensor) -> Tensor:
        """Images (B, 3, S, S) → normalised tokens (B, N, D), as timm's ``forward_features``."""
        state = self.start(images)
        self.run(state, range(self.depth))
        return self.norm(state.tokens)

    def start(self, images: Tensor, class_token: Tensor | None = None) -> State:
        """Embed images: patches, prefix tokens and positions. ``class_token`` (1, 1, D) replaces the class token."""
        check_images(images, self.image_size)
        embedded = self.vit._pos_embed(self.vit.patch_embed(images))
        tokens, rope = embedded if isinstance(embedded, tuple) else (self.vit.patch_drop(embedded), None)
        if class_token is not None:
            first = class_token + self.class_position()
            tokens = torch.cat([first.expand(len(tokens), -1, -1), tokens[:, 1:]], dim=1)
        return State(self.vit.norm_pre(tokens), rope)

    def class_position(self) -> Tensor | float:
        """The class token's position embedding (1, 1, D); 0 where the backbone gives it none."""
        if self.vit.no_embed_class or self.vit.pos_embed is None:
            return 0.0
        position: Tensor = self.vit.pos_embed[:, :1]
        return position

    def run(
        self,
        state: State,
        blocks: range,
        record: Needs | None = None,
        *,
        maps: bool = False,
        hidden: bool = False,
        depth: int | None = None,
    ) -> None:
        """Run some blocks, in order; ``record`` counts the blocks of the whole encoder, or of ``depth`` blocks."""
        wanted = self.recorded_blocks(record, depth)
        for index in blocks:
            block = self.vit.blocks[index]
            x = block.norm1(state.tokens)
            projected = project(block.attn, x, self._rope(state, index))
            kept: QK | Maps | None = None
            if index in wanted and maps:
                out, probs, logits = attend_densely(block.attn, projected)
                kept = Maps(probs.detach(), logits.detach() if record is not None and record.logits else None)
            elif index in wanted:  # no gradient reaches the backbone through a selector
                out, lse = attend_recorded(block.attn, projected)
                kept = QK(projected.q.detach(), projected.k.detach(), block.attn.scale, lse)
            else:
                out = attend(block.attn, projected)
            state.tokens = _rest(block, state.tokens, merge_heads(block.attn, x, out))
            state.attention.append(kept)
            if hidden:
                state.hidden.append(state.tokens)

    def last_block_token(self, state: State, index: int = 0) -> Tensor:
        """The normalised prefix token ``index`` after the last block (B, 1, D), and nothing for all the others."""
        return self.norm(self.block_on(self.depth - 1, state, slice(index, index + 1)))

    def block_on(self, index: int, state: State, asking: slice = slice(None)) -> Tensor:
        """One block, computed for the prefix tokens of a slice; they attend to all."""
        block = self.vit.blocks[index]
        x = block.norm1(state.tokens)
        queries = None if asking == slice(None) else x[:, asking]
        projected = project(block.attn, x, self._rope(state, index), asking=queries)
        merged = merge_heads(block.attn, x if queries is None else queries, attend(block.attn, projected))
        return _rest(block, state.tokens[:, asking], merged)

    def run_in_pairs(self, state: State, partner: Tensor) -> None:
        """All blocks, with every image attending to its partner's tokens too; ``partner`` (B,) are indices.

        Source: DCAL (Zhu et al., CVPR 2022), section 3.3, pair-wise cross-attention.
        """
        for index, block in enumerate(self.vit.blocks):
            x = block.norm1(state.tokens)
            q, k, v = project(block.attn, x, self._rope(state, index))
            both = Projected(q, torch.cat([k, k[partner]], dim=2), torch.cat([v, v[partner]], dim=2))
            state.tokens = _rest(block, state.tokens, merge_heads(block.attn, x, attend(block.attn, both)))

    def recorded_blocks(self, record: Needs | None, depth: int | None = None) -> range:
        """The indices of the blocks that are recorded, from 0; ``depth`` as if the encoder had fewer blocks."""
        return range(0) if record is None or record.blocks is None else range(depth or self.depth)[record.blocks]

    def features(self, state: State, record: Needs, *, depth: int | None = None) -> Features:
        """What was recorded, as selectors take it; blocks that have not run count as not recorded."""
        not_run = (depth or self.depth) - len(state.attention)
        return Features(
            tokens=self.norm(state.tokens).detach() if record.tokens else None,
            attention=[*state.attention, *[None] * not_run],
            num_prefix_tokens=state.tokens.shape[1] - self.num_patches,
            grid=self.grid,
            has_class_token=self.has_class_token,
        )

    def norm(self, tokens: Tensor) -> Tensor:
        """The last norm, on every token, wherever timm keeps it."""
        normed: Tensor = self.vit.fc_norm(self.vit.norm(tokens))
        return normed

    def _rope(self, state: State, index: int) -> Tensor | None:
        """Rotary positions of a block; some backbones have other ones in every block."""
        if state.rope is None:
            return None
        return state.rope[index] if getattr(self.vit, "rope_mixed", False) else state.rope


def cross_block(block: Any, asking: Tensor, tokens: Tensor) -> Tensor:
    """A block of its own in which ``asking`` (B, N_q, D) attend to ``tokens`` (B, N, D) → (B, N_q, D)."""
    queries = block.norm1(asking)
    projected = project(block.attn, block.norm1(tokens), asking=queries)
    return _rest(block, asking, merge_heads(block.attn, queries, attend(block.attn, projected)))


def _rest(block: Any, tokens: Tensor, attended: Tensor) -> Tensor:
    """Both residual branches after the attention, with the block's layer scale and stochastic depth."""
    tokens = tokens + block.drop_path1(_scaled(block, 1, attended))
    out: Tensor = tokens + block.drop_path2(_scaled(block, 2, block.mlp(block.norm2(tokens))))
    return out


def _scaled(block: Any, branch: int, x: Tensor) -> Tensor:
    scale = getattr(block, f"ls{branch}", None)
    if scale is not None:
        scaled: Tensor = scale(x)
        return scaled
    gamma = getattr(block, f"gamma_{branch}", None)
    return x if gamma is None else gamma * x


def _check_parts(name: str, block: Any) -> None:
    attn = getattr(block, "attn", None)
    missing = [part for part in BLOCK_PARTS if not hasattr(block, part)]
    missing += [f"attn.{part}" for part in ATTENTION_PARTS if not hasattr(attn, part)]
    shared_keys = getattr(attn, "num_kv_heads", None) not in (None, getattr(attn, "num_heads", None))
    if missing or shared_keys or type(block).__name__ not in ("Block", "EvaBlock"):
        why = f"its blocks are {type(block).__name__}" + (f" without {', '.join(missing)}" if missing else "")
        why = "its heads share keys and values (grouped-query attention)" if shared_keys else why
        raise FgbenchError(f"backbone {name!r} cannot be run block by block: {why}", do="choose a plain ViT")
