"""What the paper's text says of a study, beside what was measured."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from fgbench_reports.paper.statements import PAPER, REMARKS, Statement
from fgbench_reports.tables.column import Cell, word
from fgbench_reports.tables.table import Table

if TYPE_CHECKING:
    from fgbench_reports.measured.studies import Line, StudyGroup


def statement_table(group: StudyGroup, name: str, statements: Sequence[Statement]) -> Table:
    """What the paper's text says beside what was measured here."""
    lines = []
    for one in statements:
        measured = _reductions(group.lines, one)
        values = [value for _, value in measured]
        shown = ", ".join(f"{condition}: {value:.1f}" for condition, value in measured)
        lines.append(
            {
                "condition": word(one.condition or "all"),
                "against": word(one.against),
                "paper, error −%": Cell(one.percent, f"{one.words} {one.percent:.2f}".strip()),
                "here, error −%": Cell(values[0] if len(values) == 1 else None, shown or "–"),
                "section": word(one.section),
            }
        )
    notes = [
        f"{PAPER}: the relative reductions of the error that its text gives; the accuracies of the table are not in it."
    ]
    notes += [REMARKS[group.study]] if group.study in REMARKS else []
    return Table.from_cells(
        f"{name}-statements",
        f"{group.title}: the paper's text beside it",
        lines,
        names=("condition", "against"),
        notes=notes,
    )


def _reductions(lines: Sequence[Line], statement: Statement) -> list[tuple[str, float]]:
    """Relative reductions of the error that were measured for what a statement is about."""
    found = []
    by_name = {line.place.condition: line for line in lines}
    for line in lines:
        name = line.place.condition
        about = name == statement.condition if statement.condition else line.place.against is not None
        other = by_name.get(statement.against if statement.condition else line.place.against or "")
        if about and other is not None and other.top1 < 100:
            found.append((name, 100 * (1 - (100 - line.top1) / (100 - other.top1))))
    return found
