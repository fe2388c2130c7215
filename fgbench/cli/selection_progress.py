"""The progress of ``fgbench selection``: a bar, and a line per finished point."""

from __future__ import annotations

from fgbench.cli.bar import Bar
from fgbench.results.records import BackendRow, SelectionRow
from fgbench.sweep.selector_sweep import SelectorEvent


class SelectionProgress(Bar):
    """A bar on standard error while that is a terminal, and a line per finished point anywhere."""

    def __call__(self, event: SelectorEvent) -> None:
        """Show an event."""
        with self.guarded():
            if self.heard:
                self.move(event.what, event.done, event.total)
                for row in event.rows:
                    self.line(describe(event.what, row))


def describe(what: str, row: SelectionRow | BackendRow) -> str:
    """A finished row in a line."""
    name = f"{what}, {row.backend}" if isinstance(row, BackendRow) else what
    if row.latency_s is None:
        return f"{name}: {row.status}, {row.reason}"
    line = f"{name}: {1000 * row.latency_s:.4g} ms"
    return line if row.status.is_ok else f"{line} ({row.status}: {row.reason})"
