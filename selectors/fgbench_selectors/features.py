"""Input of a selector (``Features``), and its declaration of the input that it reads (``Needs``)."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from fgbench_selectors.errors import FeaturesError, FgbenchError
from fgbench_selectors.lifted import AnyAttention, Lifted
from fgbench_selectors.qk import QK, Maps


@dataclass(frozen=True, slots=True)
class Needs:
    """The input that a selector reads. A backbone records only this.

    Args:
        tokens: Whether it reads the tokens after the encoder's last norm.
        blocks: The blocks whose attention it reads, as a slice of the list of blocks 1…L: ``slice(None, -1)`` is
            1…L−1. None reads no attention.
        logits: Whether it reads logits, which softmaxed maps do not hold.
        class_token: Whether it reads row 0 as the row of the class token.
        class_logits: Whether it reads the logits that a classifier gives every token.

    Raises:
        FgbenchError: If a field has the wrong type.

    """

    tokens: bool = False
    blocks: slice | None = None
    logits: bool = False
    class_token: bool = False
    class_logits: bool = False

    def __post_init__(self) -> None:
        """Check the types."""
        for name in ("tokens", "logits", "class_token", "class_logits"):
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

    Args:
        tokens: (B, N, D) after the encoder's last norm, or None.
        attention: A :class:`QK`, :class:`Maps` or :class:`fgbench_selectors.lifted.Lifted` per block 1…L; None where it
            was not recorded.
        num_prefix_tokens: Tokens before the patches (class token, distillation token, registers).
        grid: Patches per column and row (G_h, G_w), N = num_prefix_tokens + G_h·G_w; a square by default.
        has_class_token: Whether token 0 is a class token; by default it is where there are prefix tokens.
        class_logits: Logits (B, N, classes) of a classifier for every token, or None.
        present: Which tokens (B, N) are left after each block; None where all are. Empty where no token is dropped.

    Raises:
        FeaturesError: If the fields contradict one another.

    """

    tokens: Tensor | None = None
    attention: Sequence[AnyAttention | None] = ()
    num_prefix_tokens: int = 1
    grid: tuple[int, int] | None = None
    has_class_token: bool | None = None
    class_logits: Tensor | None = None
    present: Sequence[Tensor | None] = ()

    def __post_init__(self) -> None:
        """Check the fields against one another; fill in ``grid`` and ``has_class_token``."""
        sizes: list[tuple[int, int]] = []  # no set: a batch size that is exported as a variable has no hash
        for name, axes, given in (("tokens", "D", self.tokens), ("class_logits", "classes", self.class_logits)):
            if given is None:
                continue
            if given.ndim != 3:
                raise FeaturesError(f"{name} must be (B, N, {axes}), got shape", tuple(given.shape))
            sizes.append((given.shape[0], given.shape[1]))
        if not isinstance(self.attention, Sequence):
            raise FeaturesError(
                "attention must be a list with an entry per block, got a",
                type(self.attention).__name__,
                "write [QK(q, k)]",
            )
        for number, block in enumerate(self.attention, start=1):
            if block is None:
                continue
            if not isinstance(block, (QK, Maps, Lifted)):
                raise FeaturesError(
                    f"attention of block {number} is a", type(block).__name__, "give QK(q, k) or Maps(probs)"
                )
            sizes.append((block.shape[0], block.shape[2]))
        if not sizes:
            raise FeaturesError("features are empty", do="give tokens, attention, or both")
        if any(size != sizes[0] for size in sizes):
            raise FeaturesError("class_logits, tokens and blocks disagree on (batch, tokens):", sorted(set(sizes)))
        if not isinstance(self.num_prefix_tokens, int) or self.num_prefix_tokens < 0:
            raise FeaturesError("num_prefix_tokens must be 0 or a positive whole number, got", self.num_prefix_tokens)
        if self.has_class_token and self.num_prefix_tokens == 0:
            raise FeaturesError(
                "has_class_token is set and num_prefix_tokens is", 0, "count the class token among the prefix tokens"
            )
        object.__setattr__(self, "grid", self._checked_grid(sizes[0][1] - self.num_prefix_tokens))
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
        """Device of the tensors."""
        for given in (self.tokens, self.class_logits):
            if given is not None:
                return given.device
        return next(block.device for block in self.attention if block is not None)

    @property
    def num_patches(self) -> int:
        """Number of patches, G_h·G_w."""
        rows, columns = self.grid  # type: ignore[misc]  # filled in by __post_init__
        return rows * columns

    def map(self, change: Callable[[Tensor], Tensor]) -> Features:
        """A copy with ``change`` applied to every tensor: ``features.map(lambda x: x.cuda())``."""
        return replace(
            self,
            tokens=None if self.tokens is None else change(self.tokens),
            attention=[block and block.map(change) for block in self.attention],
            class_logits=None if self.class_logits is None else change(self.class_logits),
            present=[here if here is None else change(here.to(torch.float32)) > 0 for here in self.present],
        )

    def declared(self, needs: Needs) -> Features:
        """A copy that holds only what a backbone records for these needs."""
        indices = range(0) if needs.blocks is None else range(len(self.attention))[needs.blocks]
        blocks = [block if index in indices else None for index, block in enumerate(self.attention)]
        tokens = self.tokens if needs.tokens else None
        class_logits = self.class_logits if needs.class_logits else None
        return replace(self, tokens=tokens, attention=blocks, class_logits=class_logits)

    def present_tokens(self, blocks: slice | None) -> Tensor | None:
        """Which tokens are left; None where all are.

        Args:
            blocks: A slice of the list of blocks 1…L, for each of them; None: after the last one that has run.

        Returns:
            (B, N), or (B, blocks, N).

        """
        if all(there is None for there in self.present):
            return None
        known = next(there for there in self.present if there is not None)
        if blocks is None:
            return known if self.present[-1] is None else self.present[-1]
        numbered = list(self.present[blocks])
        return torch.stack([torch.ones_like(known) if there is None else there for there in numbered], dim=1)

    def read_tokens(self) -> Tensor:
        """The tokens (B, N, D).

        Raises:
            FeaturesError: If they were not recorded.

        """
        if self.tokens is None:
            raise FeaturesError("the tokens after the last norm are needed and were not recorded")
        return self.tokens

    def read_class_logits(self) -> Tensor:
        """The logits (B, N, classes) of a classifier for every token.

        Raises:
            FeaturesError: If they were not recorded.

        """
        if self.class_logits is None:
            raise FeaturesError("the logits of a classifier for every token are needed and were not recorded")
        return self.class_logits

    def read_blocks(self, blocks: slice) -> list[AnyAttention]:
        """Attention of some of the blocks.

        Args:
            blocks: A slice of the list of blocks 1…L.

        Returns:
            One entry per block of the slice.

        Raises:
            FeaturesError: If the slice is empty or one of its blocks was not recorded.

        """
        numbered = list(enumerate(self.attention, start=1))[blocks]
        missing = [number for number, block in numbered if block is None]
        if missing or not numbered:
            which = f"block{'s' if missing[1:] else ''} {', '.join(map(str, missing))}" if missing else "any block"
            raise FeaturesError(
                f"attention of {which} is needed and was not recorded", do=f"L is {len(self.attention)}"
            )
        return [block for _, block in numbered if block is not None]
