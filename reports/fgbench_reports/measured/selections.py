"""The report ``selections``: every selection by itself, in work, memory traffic and time."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from fgbench.results.records import SelectionRow
from fgbench_reports.data import KINDS, group_by
from fgbench_reports.report import Data, Item, Missing, Report
from fgbench_reports.selector_cost import COLUMNS, MEASURES, by_place, ratios, selection_frame
from fgbench_reports.sweep_rows import environment_notes
from fgbench_reports.tables.column import Cell, figure, word
from fgbench_reports.tables.numbers import significant
from fgbench_reports.tables.table import Table, distinct, file_name

if TYPE_CHECKING:
    import pandas as pd

NAMES = ("selector", "impl", "v·A by", "status")
# What a printed column is made of, in its unit; others hold words.
VALUES: Mapping[str, tuple[str, float]] = {
    "size": ("image_size", 1),
    "N": ("num_tokens", 1),
    "FLOPs": ("flops", 1),
    "bytes": ("bytes", 1),
    "ms": ("latency_s", 1e3),
    "added MB": ("added_memory_bytes", 1e-6),
}


class Selections(Report):
    """Selections by themselves, published beside fast: FLOPs, bytes, milliseconds, added memory, and their ratios."""

    title = "Selections by themselves"

    def items(self, data: Data) -> Iterable[Item]:
        """Two tables per machine, environment and batch: every selection, and how much cheaper the fast one is."""
        groups = by_place(data.selection)
        for name, (place, rows) in zip(distinct(file_name(place) for place, _ in groups), groups, strict=True):
            printed = selection_frame(rows).to_dict("records")
            ordered = [row for some in group_by(rows, "image_size").values() for row in some]
            lines = [_line(row, cells) for row, cells in zip(ordered, printed, strict=True)]
            note = "published starts from ready N×N maps, fast from queries, keys and their log-sum-exps."
            yield Table.from_cells(
                name, f"Selections by themselves · {place}", lines, names=NAMES, notes=[note, *environment_notes(rows)]
            )
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


def _line(row: SelectionRow, printed: Mapping[str, Any]) -> dict[str, Cell]:
    line = {}
    for heading, text in printed.items():
        if heading in VALUES:
            field, factor = VALUES[heading]
            value = getattr(row, field)
            line[heading] = Cell(None if value is None else value * factor, text)
        elif heading in COLUMNS or heading.startswith("%"):
            line[heading] = Cell(_number(text), text)
        else:
            line[heading] = Cell(text, text)
    return line


def _number(text: str) -> float | None:
    try:
        return float(text.lstrip("<"))
    except ValueError:
        return None


def _ratios(rows: Sequence[SelectionRow]) -> list[dict[str, Cell]]:
    return [
        {"size": word(size), "selector": word(selector)}
        | {f"{name} ×": figure(value, significant) for name, value in ratios(pair).items()}
        for (size, selector), pair in group_by(rows, "image_size", "selector").items()
        if selector is not None and {name for name in MEASURES if ratios(pair)[name] is not None}
    ]
