"""Tables: columns of a kind of row, the table that they make, and every format of it.

Reports of others import from here what builds a table. ``made`` and ``of_cells`` are the earlier names of
:meth:`Table.from_frame <fgbench_reports.tables.table.Table.from_frame>` and ``Table.from_cells``.
"""

from __future__ import annotations

import importlib
from typing import Any

FROM_COLUMN = ("Cell", "Column", "MISSING", "NOTHING", "as_text", "figure", "is_missing", "shown", "word")
FROM_TABLE = ("Layout", "Table", "column_marks", "frame_of")
EARLIER_NAMES = {"made": "from_frame", "of_cells": "from_cells"}


def __getattr__(name: str) -> Any:
    """Load what builds tables where it is asked for: commands that print no table stay quick."""
    if name == "render":
        return importlib.import_module("fgbench_reports.tables.render")
    if name in FROM_COLUMN:
        return getattr(importlib.import_module("fgbench_reports.tables.column"), name)
    table = importlib.import_module("fgbench_reports.tables.table")
    if name in FROM_TABLE:
        return getattr(table, name)
    if name in EARLIER_NAMES:
        return getattr(table.Table, EARLIER_NAMES[name])
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
