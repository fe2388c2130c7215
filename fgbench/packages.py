"""Packages of extras: whether they are installed, and the line that says which extra has them. No torch."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable

from fgbench.errors import FgbenchError


def why_missing(extra: str, packages: Iterable[str]) -> str | None:
    """Why packages cannot be imported, in words; None where they are there.

    Args:
        extra: The extra of fgbench that has them.
        packages: Names, as they are imported.

    """
    missing = [name for name in packages if importlib.util.find_spec(name) is None]
    if not missing:
        return None
    are = "is" if len(missing) == 1 else "are"
    return f"{' and '.join(missing)} {are} not installed: pip install 'fgbench[{extra}]'"


def need(extra: str, *packages: str) -> None:
    """Raise :class:`FgbenchError` where packages of an extra are not installed."""
    if why := why_missing(extra, packages):
        raise FgbenchError(why)
