"""fgbench: what selecting the discriminative parts of an image costs, and what it buys."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fgbench.flops.counter import Count as Count
    from fgbench.flops.counter import count_flops as count_flops

__all__ = ["Count", "count_flops"]


def __getattr__(name: str) -> Any:
    """Import torch only when something that needs it is asked for: ``fgbench --help`` must not wait."""
    if name in __all__:
        from fgbench.flops import counter

        return getattr(counter, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
