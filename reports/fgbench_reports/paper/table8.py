"""Table 8: what selection mechanisms cost beside ViT-T/16."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, ClassVar

from fgbench_reports.data import Data
from fgbench_reports.paper.selector_costs import CostTable, cost_items, cost_lines
from fgbench_reports.report import Item, Report
from fgbench_reports.tables.table import frame_of

if TYPE_CHECKING:
    import pandas as pd

TABLE = CostTable(
    name="table8",
    title="Table 8: what selection mechanisms cost beside ViT-T/16",
    backbone="vit_tiny_patch16_224",
    patch_size=16,
)


def table8(data: Data) -> pd.DataFrame:
    """Table 8 as numbers: 10⁶ FLOPs and percent of the backbone's, published, counted, and their difference."""
    return frame_of(cost_lines(TABLE, data))


class Table8(Report):
    """Table 8: what selection mechanisms cost beside ViT-T/16, published and counted."""

    name: ClassVar[str] = "table8"

    def items(self, data: Data) -> Iterable[Item]:
        """The table, and what has not been counted."""
        return cost_items(TABLE, data)
