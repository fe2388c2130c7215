"""Pages that people write, with blocks that are filled from saved rows.

A block stands between two lines of a Markdown page, each an HTML comment::

    <!-- begin NAME -->
    <!-- end NAME -->

What stands between them is replaced; the rest of the page is left alone.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence

MARKER = re.compile(r"^<!-- (begin|end) (.*?) -->$", re.MULTILINE)


def block_names(page: str) -> list[str]:
    """The names of a page's blocks.

    Args:
        page: The text of the page.

    Returns:
        Each name once, in the order of the page.

    Raises:
        ValueError: The page has no block, or a block that is not closed, not opened, or inside another one.

    """
    names: list[str] = []
    opened: str | None = None
    for kind, name in MARKER.findall(page):
        if kind == "begin" and opened is None:
            opened = name
            names.append(name)
        elif kind == "end" and name == opened:
            opened = None
        else:
            before = "no block is open" if opened is None else f"the block {opened!r} is open"
            raise ValueError(f"the line '<!-- {kind} {name} -->' is out of place: {before}")
    if opened is not None:
        raise ValueError(f"the block {opened!r} has no line '<!-- end {opened} -->'")
    if not names:
        raise ValueError("it has no block; write a line '<!-- begin NAME -->' and a line '<!-- end NAME -->'")
    return list(dict.fromkeys(names))


def filled(page: str, contents: Mapping[str, str]) -> str:
    """A page with new blocks.

    Args:
        page: The text of the page.
        contents: Markdown by the name of a block. Blocks of other names stay as they are.

    Returns:
        The text of the page. To fill it again with the same contents changes nothing.

    Raises:
        ValueError: The page has no block of a name in ``contents``.

    """
    for name, text in contents.items():
        begin, end = f"<!-- begin {name} -->\n", f"<!-- end {name} -->"
        block = re.compile(f"^{re.escape(begin)}.*?^{re.escape(end)}$", re.MULTILINE | re.DOTALL)
        new = f"{begin}\n{text.rstrip()}\n\n{end}".replace("\\", r"\\")  # re.sub reads a backslash as its own
        page, count = block.subn(new, page)
        if not count:
            raise ValueError(f"the page has no block {name!r}: {begin.strip()} … {end}")
    return page


def as_text(sections: Mapping[str, object]) -> str:
    """A JSON object with a row per line, so that a diff shows which rows changed.

    Args:
        sections: Values by their names; a list of rows takes a line for each row.

    Returns:
        JSON that ends in a new line.

    """
    parts = []
    for name, value in sections.items():
        lines: Sequence[str] | None = list(map(json.dumps, value)) if isinstance(value, list) else None
        joined = ",\n".join(lines) if lines is not None else ""
        parts.append(f"{json.dumps(name)}: " + (json.dumps(value) if lines is None else f"[\n{joined}\n]"))
    return "{\n" + ",\n".join(parts) + "\n}\n"
