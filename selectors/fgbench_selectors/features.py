"""What a backbone hands to a selector, and how a selector says what it wants."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from fgbench_selectors.errors import FeaturesError, FgbenchError
from fgbench_selectors.qk import QK, Maps


@dataclass(frozen=True, slots=True)
class Needs:
    """What a selector reads, so that a backbone records that and nothing else.

    ``blocks`` slices the blocks 1…L as Python slices a list: ``slice(None, -1)`` is 1…L−1.
    """

    tokens: bool = False  # the tokens after the encoder's last norm
    blocks: slice | None = None  # the blocks whose attention is read; None reads none
    logits: bool = False  # softmaxed maps alone do not suffice
    class_token: bool = False  # row 0 is read as the class token's

    def __post_init__(self) -> None:
        """Refuse what no backbone could record."""
        for name in ("tokens", "logits", "class_token"):
            if not isinstance(getattr(self, name), bool):
                raise FgbenchError(f"Needs({name}=…) must be True or False, got", getattr(self, name))
        if self.blocks is None:
            return
        if not isinstance(self.blocks, slice):
            raise FgbenchError("Needs(blocks=…) must be a slice, got", self.blocks, "slice(3, 4) reads block 4 alone")
        ends = (self.blocks.start, self.blocks.stop, self.blocks.step)
        if not all(end is None or isinstance(end, int) for end in ends) or self.blocks.step == 0:
            raise FgbenchError("Needs(blocks=…) must be a slice of whole numbers, got", self.blocks)


@dataclass(frozen=True, eq=False)
class Features:
    """The record of one forward pass through a backbone of L blocks.

    tokens: (B, N, D) after the encoder's last norm, or None.
    attention: per block 1…L a :class:`QK` or :class:`Maps`; None where it was not recorded.
    num_prefix_tokens: tokens before the patches (class token, distillation, registers).
    grid: patches per column and row (G_h, G_w), N = num_prefix_tokens + G_h·G_w; a square when left out.
    has_class_token: whether token 0 is a class token; by default it is when there is a prefix.

    Raises :class:`FeaturesError` when the parts contradict one another.
    """

    tokens: Tensor | None = None
    attention: Sequence[QK | Maps | None] = ()
    num_prefix_tokens: int = 1
    grid: tuple[int, int] | None = None
    has_class_token: bool | None = None

    def __post_init__(self) -> None:
        """Check the parts against one another; fill in grid and class token."""
        sizes: set[tuple[int, int]] = set()
        if self.tokens is not None:
            if self.tokens.ndim != 3:
                raise FeaturesError("tokens must be (B, N, D), got shape", tuple(self.tokens.shape))
            sizes.add((self.tokens.shape[0], self.tokens.shape[1]))
        if not isinstance(self.attention, Sequence):
            raise FeaturesError(
                "attention must be a list with an entry per block, got a",
                type(self.attention).__name__,
                "write [QK(q, k)]",
            )
        for number, block in enumerate(self.attention, start=1):
            if block is None:
                continue
            if not isinstance(block, (QK, Maps)):
                raise FeaturesError(
                    f"attention of block {number} is a", type(block).__name__, "give QK(q, k) or Maps(probs)"
                )
            sizes.add((block.shape[0], block.shape[2]))
        if not sizes:
            raise FeaturesError("features are empty", do="give tokens, attention, or both")
        if len(sizes) > 1:
            raise FeaturesError("tokens and blocks disagree on (batch, tokens):", sorted(sizes))
        if not isinstance(self.num_prefix_tokens, int) or self.num_prefix_tokens < 0:
            raise FeaturesError("num_prefix_tokens must be 0 or a positive whole number, got", self.num_prefix_tokens)
        if self.has_class_token and self.num_prefix_tokens == 0:
            raise FeaturesError(
                "has_class_token is set and num_prefix_tokens is", 0, "count the class token among the prefix tokens"
            )
        object.__setattr__(self, "grid", self._checked_grid(sizes.pop()[1] - self.num_prefix_tokens))
        if self.has_class_token is None:
            object.__setattr__(self, "has_class_token", self.num_prefix_tokens > 0)

    def _checked_grid(self, patches: int) -> tuple[int, int]:
        if patches < 1:
            raise FeaturesError(
                "no patch tokens are left behind the prefix; num_prefix_tokens is", self.num_prefix_tokens
            )
        if self.grid is None:
            side = math.isqrt(patches)
            if side * side != patches:
                raise FeaturesError(
                    f"{patches} patch tokens are no square grid",
                    do="pass grid=(rows, columns), or check num_prefix_tokens",
                )
            return side, side
        if (
            not isinstance(self.grid, Sequence)
            or [type(side) for side in self.grid] != [int, int]
            or min(self.grid) < 1
        ):
            raise FeaturesError("grid must be (rows, columns) in whole numbers from 1, got", self.grid)
        rows, columns = self.grid
        if rows * columns != patches:
            raise FeaturesError(f"{patches} patch tokens do not fill the grid", self.grid)
        return rows, columns

    @property
    def device(self) -> torch.device:
        """Where the tensors live."""
        if self.tokens is not None:
            return self.tokens.device
        return next(block.device for block in self.attention if block is not None)

    @property
    def num_patches(self) -> int:
        """Patches of the grid, G_h·G_w."""
        rows, columns = self.grid  # type: ignore[misc]  # filled in by __post_init__
        return rows * columns

    def map(self, change: Callable[[Tensor], Tensor]) -> Features:
        """The same record with every tensor changed: ``features.map(lambda x: x.cuda())``."""
        return replace(
            self,
            tokens=None if self.tokens is None else change(self.tokens),
            attention=[block and block.map(change) for block in self.attention],
        )

    def declared(self, needs: Needs) -> Features:
        """What a backbone records for these needs, and nothing else."""
        read = range(0) if needs.blocks is None else range(len(self.attention))[needs.blocks]
        blocks = [block if index in read else None for index, block in enumerate(self.attention)]
        return replace(self, tokens=self.tokens if needs.tokens else None, attention=blocks)

    def read_tokens(self) -> Tensor:
        """(B, N, D) tokens, or an error that says they are missing."""
        if self.tokens is None:
            raise FeaturesError("the tokens after the last norm are needed and were not recorded")
        return self.tokens

    def read_blocks(self, blocks: slice) -> list[QK | Maps]:
        """Attention of the blocks of a slice of 1…L, or an error that names the missing ones."""
        numbered = list(enumerate(self.attention, start=1))[blocks]
        missing = [number for number, block in numbered if block is None]
        if missing or not numbered:
            which = f"block{'s' if missing[1:] else ''} {', '.join(map(str, missing))}" if missing else "any block"
            raise FeaturesError(
                f"attention of {which} is needed and was not recorded", do=f"L is {len(self.attention)}"
            )
        return [block for _, block in numbered if block is not None]
