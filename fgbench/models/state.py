"""The state of a forward pass between two blocks."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from fgbench.models.reductions.sources import Sources
from fgbench_selectors.lifted import AnyAttention


@dataclass(slots=True)
class State:
    """The state of a forward pass between two blocks.

    Args:
        tokens: (B, N, D).
        rope: Rotary positions, where the backbone has them.
        attention: Recorded attention of every block that has run; None where it was not recorded.
        hidden: Output (B, N, D) of every block that ran with ``hidden=True``.
        sources: Where the patches are, where the encoder reduces tokens.
        places: The same after every block that has run.
        key_bias: Added to the logits of every key (B, 1, 1, N) in the next block; None for nothing.
        memo: Values that a reduction keeps from block to block.
        is_selection: Whether the tokens were selected by a model: no reduction acts on them.

    """

    tokens: Tensor
    rope: Tensor | None = None
    attention: list[AnyAttention | None] = field(default_factory=list)
    hidden: list[Tensor] = field(default_factory=list)
    sources: Sources | None = None
    places: list[Sources] = field(default_factory=list)
    key_bias: Tensor | None = None
    memo: dict[str, Any] = field(default_factory=dict)
    is_selection: bool = False
