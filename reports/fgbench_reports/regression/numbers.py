"""Changes as people read them."""

from __future__ import annotations


def signed_percent(change: float) -> str:
    """A relative change: 0.051 → ``+5.1 %``; never a change that reads like none."""
    size = abs(change) * 100
    decimals = 1 if size >= 0.1 else 3
    text = f"{size:.{decimals}f}"
    if float(text) == 0 and size > 0:
        text = "0.001"
        return f"{'+' if change > 0 else '−'}<{text} %"
    return f"{'+' if change > 0 else '−' if change < 0 else '±'}{text} %"
