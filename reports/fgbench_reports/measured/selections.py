"""The report ``selections``: every selection by itself, in work, memory traffic and time."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from fgbench.results.records import SelectionRow
from fgbench_reports.data import KINDS
from fgbench_reports.report import Data, Item, Missing, Report
from fgbench_reports.selector_cost import AGREEMENT, MEASURES, NAMES, by_place, ratio_lines, selection_lines
from fgbench_reports.sweep_rows import environment_notes
from fgbench_reports.tables.column import Cell
from fgbench_reports.tables.table import Table, distinct, file_name

if TYPE_CHECKING:
    import pandas as pd


class Selections(Report):
    """Selections by themselves, published beside fast: FLOPs, bytes, milliseconds, added memory, and their ratios."""

    title = "Selections by themselves"

    def items(self, data: Data) -> Iterable[Item]:
        """Two tables per machine, environment and batch: every selection, and how much cheaper the fast one is."""
        groups = by_place(data.selection)
        for name, (place, rows) in zip(distinct(file_name(place) for place, _ in groups), groups, strict=True):
            note = "published starts from ready N×N maps, fast from queries, keys and their log-sum-exps."
            title, notes = f"Selections by themselves · {place}", [note, *environment_notes(rows)]
            yield Table.from_cells(name, title, selection_lines(rows), names=NAMES, notes=notes)
            pairs = _ratios(rows)
            if pairs:
                title = f"Published over fast · {place}"
                yield Table.from_cells(f"{name}-ratios", title, pairs, names=NAMES)
        if not groups:
            what = "the time and memory of every selection by itself"
            yield Missing(what=what, command=KINDS["selection"])


def selections(data: Data) -> pd.DataFrame:
    """Every selection as it was measured, a line each."""
    import pandas as pd

    hidden = ("environment", "blocks", "backends")
    return pd.DataFrame([{key: row[key] for key in row if key not in hidden} for row in data.selection])


def _ratios(rows: Sequence[SelectionRow]) -> list[dict[str, Cell]]:
    """The lines of which some ratio is known, without the word that says whether the measures agree."""
    headings = [f"{name} ×" for name in MEASURES]
    return [
        {heading: cell for heading, cell in line.items() if heading != AGREEMENT}
        for line in ratio_lines(rows)
        if any(line[heading].value is not None for heading in headings)
    ]
