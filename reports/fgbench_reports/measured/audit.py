"""The answers of ``fgbench audit`` as tables: a line per model, a column per question."""

from __future__ import annotations

from collections.abc import Sequence

from fgbench.results.records import AuditRow
from fgbench_reports.tables.column import NOTHING, Cell, word
from fgbench_reports.tables.render import RowTables
from fgbench_reports.tables.table import Table

KEPT, BROKEN, NOT_ASKED = "yes", "NO", "–"
NOTES = (
    "repeat: the same images come again; batch: alone and in a batch; order: in another order; process: in two "
    "processes with the same weights; impl: published and fast; half: bfloat16 and float32.",
    "yes: logits, selected tokens and boxes are the same, as far as rounding lets them; –: it cannot be asked.",
)


def audit_tables(rows: Sequence[AuditRow]) -> RowTables:
    """The rows of an audit as each format shows them.

    Args:
        rows: A row per model and question.

    """
    questions = list(dict.fromkeys(row.question for row in rows))
    has_options = any(row.options for row in rows)
    models: dict[tuple[str, str, str, int], dict[str, AuditRow]] = {}
    for row in rows:
        models.setdefault((row.model, _options(row), row.backbone, row.image_size), {})[row.question] = row
    lines = []
    for (model, options, backbone, size), answers in models.items():
        line = {"model": word(model), **({"options": word(options)} if has_options else {})}
        line |= {"backbone": word(backbone), "size": word(size)}
        lines.append(line | {name: _cell(answers.get(name)) for name in questions})
    reasons = [
        f"{' '.join(filter(None, (row.model, _options(row))))}, {row.question}: {row.reason}."
        for row in rows
        if row.reason is not None
    ]
    table = Table.from_cells(
        "audit", "Promises kept", lines, names=("model", "options", "backbone", *questions), notes=[*NOTES, *reasons]
    )
    return RowTables(rows=rows, narrow=[table], wide=[table], notes=[*NOTES, *reasons])


def _options(row: AuditRow) -> str:
    """The options of the model as they are typed; empty without any."""
    return " ".join(f"{name}={_typed(value)}" for name, value in row.options.items())


def _typed(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _cell(row: AuditRow | None) -> Cell:
    if row is None or row.kept is None:
        return Cell(None, NOT_ASKED) if row is not None else NOTHING
    return Cell(row.kept, KEPT if row.kept else BROKEN)
