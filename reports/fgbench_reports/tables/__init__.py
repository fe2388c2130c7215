"""Tables: values, how they are printed, and every format. One system for commands, reports and pages."""

from __future__ import annotations

import importlib
from typing import Any

FROM_BUILD = ("Cell", "MISSING", "NOTHING", "figure", "frame_of", "is_missing", "made", "of_cells", "shown", "word")


def __getattr__(name: str) -> Any:
    """Reports of others import what builds tables from here."""
    if name in FROM_BUILD:
        return getattr(importlib.import_module("fgbench_reports.tables.build"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
