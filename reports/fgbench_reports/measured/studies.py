"""Studies: every condition over its seeds, and its difference from the condition that it is compared with."""

from __future__ import annotations

from collections.abc import Sequence

from fgbench.results.records import AccuracyRow, StudyRow
from fgbench_reports.tables.render import RowTables
from fgbench_reports.tables.table import Table


def study_tables(runs: Sequence[AccuracyRow], places: Sequence[StudyRow]) -> RowTables:
    """The rows of a study as each format shows them."""
    tables: list[Table] = []
    return RowTables(rows=[*runs, *places], narrow=tables, wide=tables)
