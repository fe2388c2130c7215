from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

# What a terminal or a CI wants to look like: rich reads it, and the expected tables are plain.
for wish in ("FORCE_COLOR", "NO_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE", "COLUMNS", "LINES", "CLICOLOR_FORCE"):
    os.environ.pop(wish, None)


@pytest.fixture
def same_as_snapshot(request) -> Callable[[str, str], None]:
    """Compare text with ``snapshots/<name>`` beside the test; FGBENCH_UPDATE_SNAPSHOTS=1 rewrites it."""
    folder = Path(request.path).parent / "snapshots"

    def compare(name: str, text: str) -> None:
        if os.environ.get("FGBENCH_UPDATE_SNAPSHOTS"):
            (folder / name).write_text(text, encoding="utf-8")
        assert text == (folder / name).read_text(encoding="utf-8")

    return compare
