"""Pages that people write, with parts that are generated, and the files of rows behind them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any


def filled(page: str, parts: Mapping[str, str]) -> str:
    """A page whose parts between ``<!-- begin NAME -->`` and ``<!-- end NAME -->`` are replaced."""
    for name, text in parts.items():
        begin, end = f"<!-- begin {name} -->\n", f"<!-- end {name} -->"
        before, found, rest = page.partition(begin)
        _, closed, after = rest.partition(end)
        if not (found and closed):
            raise ValueError(f"the page has no part {name!r}: {begin.strip()} … {end}")
        page = f"{before}{begin}\n{text}\n{end}{after}"
    return page


def as_text(kept: Mapping[str, Any]) -> str:
    """JSON with a row per line: what changed from one run to the next can be read in a diff."""
    parts = []
    for name, value in kept.items():
        lines = ",\n".join(map(json.dumps, value)) if isinstance(value, list) else None
        parts.append(f"{json.dumps(name)}: " + (json.dumps(value) if lines is None else f"[\n{lines}\n]"))
    return "{\n" + ",\n".join(parts) + "\n}\n"
