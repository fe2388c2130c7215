"""A timm vision transformer that runs block by block and records the input of a selector."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from fgbench.errors import FgbenchError
from fgbench.models.attention import Projected, attend, attend_densely, attend_recorded, merge_heads, project
from fgbench.models.blocks import check_block, finish_block
from fgbench.models.options import check_images
from fgbench.models.reductions.reduction import Reduction
from fgbench.models.reductions.run import run_reduced
from fgbench.models.reductions.sources import Sources
from fgbench.models.state import State as State
from fgbench.models.token_ops import take, take_rope
from fgbench.results.image_size import ImageSize
from fgbench_selectors import QK, Features, Maps, Needs
from fgbench_selectors.lifted import Lifted
from fgbench_selectors.qk import attention_row


class Encoder(nn.Module):
    """Patch embedding, blocks and last norm of a timm ViT; its head is not used.

    Attention stays fused. Of recorded blocks the queries and keys are kept, with the log-sum-exp of the logits where
    the kernel returns it, or the N×N maps, as in the published models. There are no hooks, and the tokens are the same
    with and without recording.

    Args:
        vit: timm's module.
        name: Its name, for errors.
        image_size: Of the images, in pixels.
        class_token: Whether a class token is required.

    Raises:
        FgbenchError: If the backbone does not have the blocks of a plain transformer, or has no class token although
            it is required.

    """

    vit: Any

    def __init__(self, vit: Any, name: str, image_size: ImageSize, *, class_token: bool = True) -> None:
        super().__init__()
        self.vit = vit
        self.name, self.image_size = name, image_size
        self.has_class_token = getattr(vit, "cls_token", None) is not None
        if class_token and not self.has_class_token:
            raise FgbenchError("the backbone has no class token to classify by:", name)
        for block in self.vit.blocks:
            check_block(name, block)
        projection: Any = self.vit.patch_embed.proj
        self.depth: int = len(self.vit.blocks)
        self.embed_dim: int = self.vit.embed_dim
        self.num_heads: int = self.vit.blocks[0].attn.num_heads
        self.patch_size: int = projection.kernel_size[0]
        self.stride: int = projection.stride[0]
        self.grid: tuple[int, int] = tuple(self.vit.patch_embed.grid_size)
        self.num_prefix_tokens: int = self.vit.num_prefix_tokens
        self.reduction: Reduction | None = None

    @property
    def has_rope(self) -> bool:
        """Whether queries and keys have rotary positions."""
        return getattr(self.vit, "rope", None) is not None

    @property
    def mixes_rope(self) -> bool:
        """Whether every block and head has rotary positions of its own."""
        return bool(getattr(self.vit, "rope_mixed", False))

    @property
    def num_patches(self) -> int:
        """Number of patches, G²."""
        return self.grid[0] * self.grid[1]

    @property
    def num_tokens(self) -> int:
        """N: prefix tokens and patches."""
        return self.num_prefix_tokens + self.num_patches

    @property
    def last_norm(self) -> nn.Module:
        """The last norm of timm's module, which is ``norm`` or ``fc_norm``."""
        norm: nn.Module = self.vit.fc_norm if isinstance(self.vit.norm, nn.Identity) else self.vit.norm
        return norm

    def forward(self, images: Tensor) -> Tensor:
        """The normalised tokens (B, N, D) of images (B, 3, S, S), as timm's ``forward_features``."""
        state = self.start(images)
        self.run(state, range(self.depth))
        return self.norm(state.tokens)

    def start(self, images: Tensor, class_token: Tensor | None = None) -> State:
        """Embed images: patches, prefix tokens and positions.

        Args:
            images: (B, 3, S, S).
            class_token: A token (1, 1, D) in place of the class token.

        Returns:
            The state before block 1.

        Raises:
            FgbenchError: If the images have another size.

        """
        check_images(images, self.image_size)
        embedded = self.vit._pos_embed(self.vit.patch_embed(images))
        tokens, rope = embedded if isinstance(embedded, tuple) else (self.vit.patch_drop(embedded), None)
        if class_token is not None:
            first = class_token + self.class_position()
            tokens = torch.cat([first.expand(tokens.shape[0], -1, -1), tokens[:, 1:]], dim=1)
        return State(self.vit.norm_pre(tokens), rope)

    def class_position(self) -> Tensor | float:
        """The position embedding (1, 1, D) of the class token; 0 where the backbone has none."""
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
        asking: slice = slice(None),
        depth: int | None = None,
    ) -> None:
        """Run some blocks, in order, and record the input of a selector.

        Args:
            state: The state, which is changed.
            blocks: Indices of the blocks, from 0.
            record: Needs of the selector.
            maps: Record N×N maps in place of queries and keys.
            hidden: Record the output of every block.
            asking: The first tokens, which alone the last of these blocks computes; all by default, and with maps.
            depth: The number of blocks that ``record`` refers to; all by default.

        """
        recorded = self.recorded_blocks(record, depth)
        logits = record is not None and record.logits
        for index in blocks:
            attention: QK | Maps | Lifted | None = None
            rows = asking if index == blocks[-1] else slice(None)
            if self.reduction is not None and not state.is_selection:  # all tokens are computed
                asked = {"record": index in recorded, "maps": maps and index in recorded, "logits": logits}
                state.tokens, attention, _ = run_reduced(self, index, state, slice(None), **asked)
                state.places.append(state.sources)  # type: ignore[arg-type]  # set by the first block
            elif index in recorded:
                block, rope = self.vit.blocks[index], self.rope_at(state, index)
                state.tokens, attention = run_recorded(block, state.tokens, rope, maps=maps, logits=logits, asking=rows)
            else:
                state.tokens = self.block_on(index, state, rows)
            state.attention.append(attention)
            if hidden:
                state.hidden.append(state.tokens)

    def last_block_token(self, state: State, index: int = 0) -> Tensor:
        """The normalised prefix token ``index`` (B, 1, D) after the last block, which is computed for it only."""
        return self.norm(self.block_on(self.depth - 1, state, slice(index, index + 1)))

    def block_on(self, index: int, state: State, asking: slice = slice(None)) -> Tensor:
        """Run one block for some of the prefix tokens; they attend to all tokens.

        Args:
            index: Index of the block, from 0.
            state: The state before the block, which is not changed.
            asking: The tokens that are computed; all by default.

        Returns:
            These tokens (B, N_q, D) after the block.

        """
        return self.block_with_row(index, state, asking)[0]

    def block_with_row(
        self, index: int, state: State, asking: slice = slice(None), *, maps: bool = False
    ) -> tuple[Tensor, Callable[[], Tensor]]:
        """Run one block as :meth:`block_on`, and give access to the attention of the first token.

        Args:
            index: Index of the block, from 0.
            state: The state before the block, which is not changed.
            asking: The tokens that are computed, from the first one on; all by default.
            maps: Build the map of their attention; otherwise attention is fused.

        Returns:
            These tokens (B, N_q, D) after the block; and a function that returns A[0, :] (B, H, N), with gradient: a
            row of the map, or computed from the token's query and all keys, float32 or better.

        """
        if self.reduction is not None and not state.is_selection:
            out, _, read_row = run_reduced(self, index, state, asking, maps=maps)
            return out, read_row
        block = self.vit.blocks[index]
        x = block.norm1(state.tokens)
        queries = None if asking == slice(None) else x[:, asking]
        projected = project(block.attn, x, self.rope_at(state, index), asking=queries)
        read: Callable[[], Tensor]
        if maps:
            out, probs, _ = attend_densely(block.attn, projected)
            read = partial(probs.select, 2, 0)
        else:
            out = attend(block.attn, projected)
            read = partial(attention_row, projected.q[:, :, :1], projected.k, block.attn.scale)
        merged = merge_heads(block.attn, x if queries is None else queries, out)
        return finish_block(block, state.tokens[:, asking], merged), read

    def run_in_pairs(self, state: State, partner: Tensor) -> None:
        """Run all blocks; every image attends to its own tokens and to those of a partner.

        Source: DCAL (Zhu et al., CVPR 2022), section 3.3, pair-wise cross-attention.

        Args:
            state: The state, which is changed.
            partner: Index of each image's partner (B,).

        """
        for index, block in enumerate(self.vit.blocks):
            x = block.norm1(state.tokens)
            q, k, v = project(block.attn, x, self._rope(state, index))
            pair = Projected(q, torch.cat([k, k[partner]], dim=2), torch.cat([v, v[partner]], dim=2))
            state.tokens = finish_block(block, state.tokens, merge_heads(block.attn, x, attend(block.attn, pair)))

    def keep(self, state: State, index: Tensor) -> State:
        """Leave out patches.

        Args:
            state: A state before block 1.
            index: Patches (B, K) that are kept.

        Returns:
            The state of the prefix tokens and of these patches, in this order.

        """
        prefix = state.tokens.shape[1] - self.num_patches
        tokens = torch.cat([state.tokens[:, :prefix], take(state.tokens, index + prefix)], dim=1)
        rope = None if state.rope is None else take_rope(state.rope, index, mixed=self.mixes_rope)
        return State(tokens, rope, sources=None if self.reduction is None else Sources.of_all(tokens, prefix))

    def recorded_blocks(self, record: Needs | None, depth: int | None = None) -> range:
        """Indices, from 0, of the blocks that these needs read of ``depth`` blocks (all by default)."""
        return range(0) if record is None or record.blocks is None else range(depth or self.depth)[record.blocks]

    def features(
        self, state: State, record: Needs, *, depth: int | None = None, class_logits: Tensor | None = None
    ) -> Features:
        """The recorded input of a selector; blocks that have not run are not recorded.

        Args:
            state: The state after the blocks that were run.
            record: Needs of the selector.
            depth: The number of blocks that ``record`` refers to; all by default.
            class_logits: Logits (B, N, classes) of a classifier for every token, where they are needed.

        """
        not_run = (depth or self.depth) - len(state.attention)
        present = [sources.present for sources in state.places]
        tokens = state.tokens if state.sources is None or not record.tokens else state.sources.lift(state.tokens)
        return Features(
            tokens=self.norm(tokens).detach() if record.tokens else None,
            attention=[*state.attention, *[None] * not_run],
            num_prefix_tokens=self.prefix_of(state),
            grid=self.grid,
            has_class_token=self.has_class_token,
            class_logits=class_logits if record.class_logits else None,
            present=[] if not state.places else [*present, *[present[-1]] * not_run],
        )

    def prefix_of(self, state: State) -> int:
        """The number of tokens before the patches of a state, whose last block may have been computed for fewer."""
        if state.sources is not None:
            return state.sources.num_prefix
        recorded = next((block.shape[2] for block in reversed(state.attention) if block is not None), None)
        return (state.tokens.shape[1] if recorded is None else recorded) - self.num_patches

    def patches_at(self, state: State, index: Tensor) -> Tensor:
        """The tokens (B, K, D) of a state for patches (B, K), as :meth:`tokens_at`."""
        if state.sources is None:
            return take(state.tokens, index + state.tokens.shape[1] - self.num_patches)
        return self.tokens_at(state, index + state.sources.num_prefix)

    def tokens_at(self, state: State, index: Tensor, block: int | None = None) -> Tensor:
        """Tokens of a state, or of the recorded output of a block.

        Args:
            state: The state.
            index: Places (B, K) among all tokens of the image, prefix tokens included.
            block: Index of the block, from 0; None for the tokens of the state.

        Returns:
            (B, K, D). A token that was dropped is replaced by the one that it was fused into, or by the class token.

        """
        tokens, sources = (state.tokens, state.sources) if block is None else (state.hidden[block], None)
        if block is not None and state.places:
            sources = state.places[block]
        return take(tokens, index if sources is None else sources.owner.gather(1, index))

    def norm(self, tokens: Tensor) -> Tensor:
        """Tokens (B, N, D) after timm's last norm, which is ``norm`` or ``fc_norm``."""
        normed: Tensor = self.vit.fc_norm(self.vit.norm(tokens))
        return normed

    def rope_at(self, state: State, index: int) -> Tensor | None:
        """Rotary positions of a block; in some backbones every block has its own."""
        if state.rope is None:
            return None
        return state.rope[index] if self.mixes_rope else state.rope

    _rope = rope_at  # its earlier name


def run_recorded(
    block: Any,
    tokens: Tensor,
    rope: Tensor | None = None,
    *,
    maps: bool = False,
    logits: bool = False,
    asking: slice = slice(None),
) -> tuple[Tensor, QK | Maps]:
    """Run a block, and record its attention. No gradient reaches the block through what is recorded.

    Args:
        block: A timm block.
        tokens: (B, N, D).
        rope: Rotary positions, where the backbone has them.
        maps: Record N×N maps in place of queries and keys.
        logits: Record the logits of maps, too.
        asking: The first tokens, which alone are computed; all by default, and with maps.

    Returns:
        The tokens (B, N, D) after the block, and its attention; that of all tokens, whichever are computed.

    """
    x = block.norm1(tokens)
    projected = project(block.attn, x, rope)
    attention: QK | Maps
    if maps:
        out, probs, before = attend_densely(block.attn, projected)
        attention = Maps(probs.detach(), before.detach() if logits else None)
    elif asking == slice(None):
        out, lse = attend_recorded(block.attn, projected)
        attention = QK(projected.q.detach(), projected.k.detach(), block.attn.scale, lse)
    else:
        tokens, x = tokens[:, asking], x[:, asking]
        out = attend(block.attn, projected._replace(q=projected.q[:, :, asking]))
        attention = QK(projected.q.detach(), projected.k.detach(), block.attn.scale)  # no log-sum-exp of the others
    return finish_block(block, tokens, merge_heads(block.attn, x, out)), attention


def run_for_chosen(block: Any, tokens: Tensor, choose: Callable[[QK], Tensor]) -> Tensor:
    """Run a block for tokens that are chosen by the block's own attention; they attend to all tokens.

    Args:
        block: A timm block.
        tokens: (B, N, D).
        choose: A function from the block's attention, without gradient, to the indices (B, K) of tokens.

    Returns:
        These tokens (B, K, D) after the block.

    """
    x = block.norm1(tokens)
    q, k, v = project(block.attn, x)
    index = choose(QK(q.detach(), k.detach(), block.attn.scale))
    asking = q.gather(2, index[:, None, :, None].expand(-1, q.shape[1], -1, q.shape[3]))
    out = attend(block.attn, Projected(asking, k, v))
    return finish_block(block, take(tokens, index), merge_heads(block.attn, take(x, index), out))


def cross_block(block: Any, asking: Tensor, tokens: Tensor, key_bias: Tensor | None = None) -> Tensor:
    """Run a block in which some tokens attend to others.

    Args:
        block: A timm block.
        asking: Tokens with queries (B, N_q, D).
        tokens: Tokens with keys and values (B, N, D).
        key_bias: Added to the logits of every key (B, 1, 1, N); None for nothing.

    Returns:
        (B, N_q, D).

    """
    queries = block.norm1(asking)
    projected = project(block.attn, block.norm1(tokens), asking=queries)
    return finish_block(block, asking, merge_heads(block.attn, queries, attend(block.attn, projected, key_bias)))
