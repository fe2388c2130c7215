"""The result of a count, as values and as tables."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from fgbench.errors import FgbenchError
from fgbench.flops.cost import Cost, Flops

if TYPE_CHECKING:
    import pandas as pd

SHOWN_DEPTH = 2  # levels of modules below the outermost one in a notebook
SHOWN_ROWS = 60


@dataclass(frozen=True, slots=True, repr=False)
class Count:
    """The work of one run.

    Args:
        total: All work.
        by_operator: Work by operator, such as ``aten::bmm``.
        by_module: Work by path of the module, such as ``VisionTransformer.blocks.0``, with the work of the modules
            that it calls; empty for ``modules=False``.
        by_label: The total divided by stage for models of fgbench, by the labels of :meth:`FlopCounter.under`, or else
            by the class of the innermost module, such as ``Linear``.
        bytes: Bytes that operators move, where each reads its arguments and writes its results once.
        activation_bytes: Bytes of all new tensors that operators return; views and results in place are not new.

    """

    total: Cost
    by_operator: Mapping[str, Cost]
    by_module: Mapping[str, Cost] = field(default_factory=dict)
    by_label: Mapping[str, Cost] = field(default_factory=dict)
    bytes: int = 0
    activation_bytes: int = 0

    @property
    def macs(self) -> int:
        """Multiply–adds of matrix products and convolutions."""
        return self.total.macs

    @property
    def flops(self) -> Flops:
        """Work in convention ``full``; ``count.flops("fvcore")`` is the figure in the other convention."""
        return self.total.flops

    def table(self, by: str = "module", *, depth: int | None = None) -> pd.DataFrame:
        """Macs, flops and percent of all flops in a table whose first row is the total.

        Args:
            by: ``module``, ``operator`` or ``label``. A module includes the modules that it calls: rows do not add up.
            depth: Levels of modules below the outermost one; all by default.

        Raises:
            FgbenchError: For another word.

        """
        import pandas as pd

        tables = {"module": self.by_module, "operator": self.by_operator, "label": self.by_label}
        if by not in tables:
            raise FgbenchError("a count has no table by", by, f"it has: {', '.join(tables)}")
        rows = {
            name: cost
            for name, cost in tables[by].items()
            if by != "module" or depth is None or name.count(".") <= depth
        }
        costs = [self.total, *rows.values()]
        whole = int(self.flops)
        percent = [100 * cost.flops / whole if whole else None for cost in costs]
        return pd.DataFrame(
            {
                "macs": [cost.macs for cost in costs],
                "flops": [int(cost.flops) for cost in costs],
                "percent": pd.array(percent, dtype="Float64"),
            },
            index=pd.Index(["total", *rows], name=by),  # "total" may be there twice
        )

    def __repr__(self) -> str:
        """The totals, in one line."""
        return (
            f"Count(macs={self.macs:,}, flops={self.flops:,}, bytes={self.bytes:,}, "
            f"activation_bytes={self.activation_bytes:,}; {len(self.by_operator)} operators, "
            f"{len(self.by_module)} modules)"
        )

    def _repr_html_(self) -> str:
        """The table by module in a notebook, or by operator where no module ran."""
        table = self.table("module", depth=SHOWN_DEPTH) if self.by_module else self.table("operator")
        left_out = len(self.by_module or self.by_operator) + 1 - min(len(table), SHOWN_ROWS)
        figures = {"macs": "{:,}".format, "flops": "{:,}".format, "percent": lambda value: f"{value:.2f}"}
        html: str = table.head(SHOWN_ROWS).to_html(formatters=figures, escape=True)
        return html + (f"<p>{left_out} further rows: count.table()</p>" if left_out else "")
