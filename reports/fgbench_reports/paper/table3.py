"""Table 3: accuracy on iNat17, beside what was trained here."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, ClassVar

from fgbench_reports.data import Data
from fgbench_reports.paper.literature import LiteratureTable, literature_items, literature_lines
from fgbench_reports.report import Item, Report
from fgbench_reports.tables.table import frame_of

if TYPE_CHECKING:
    import pandas as pd

TABLE = LiteratureTable(name="table3", dataset="inat17")


def table3(data: Data) -> pd.DataFrame:
    """Table 3 as numbers: top-1 in percent, published and measured, and their difference in points."""
    return frame_of(literature_lines(TABLE, data))


class Table3(Report):
    """Table 3: accuracy on iNat17, published and measured."""

    name: ClassVar[str] = "table3"

    def items(self, data: Data) -> Iterable[Item]:
        """The table, and the models that have not been trained."""
        return literature_items(TABLE, data)
