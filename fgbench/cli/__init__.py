"""The command line: options, errors and progress here, a file per command in ``commands``."""

from __future__ import annotations

from typing import Any


def __getattr__(name: str) -> Any:
    """The program is imported when it is asked for: its commands import from this room themselves."""
    if name in ("app", "main"):
        from fgbench.cli import program

        return getattr(program, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
