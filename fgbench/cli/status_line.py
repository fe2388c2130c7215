"""A line on standard error that says what is done now, while that is a terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from fgbench.results.escaping import log_line


@contextmanager
def status_line(first: str) -> Iterator[Callable[[str], None]]:
    """Show a line as long as work goes on; what is given shows another one."""
    from rich.console import Console
    from rich.text import Text

    with Console(stderr=True).status(Text(log_line(first))) as status:
        yield lambda what: status.update(Text(log_line(what)))
