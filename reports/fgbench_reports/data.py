"""The rows that reports are filled from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from fgbench.results.records import AccuracyRow, BackendRow, FlopsRow, QualityRow, SelectionRow, ThroughputRow

Row = Mapping[str, Any]
AnyRow = TypeVar("AnyRow", bound=Row)

# Kinds of rows, as the store names them, and the command that makes each.
KINDS = {
    "flops": "fgbench flops --convention full paper",
    "throughput": "fgbench throughput",
    "accuracy": "fgbench accuracy",
    "selection_quality": "fgbench accuracy --quality",
    "selection": "fgbench selection",
    "backend": "fgbench selection --kernels",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Data:
    """Saved rows by kind, records of ``fgbench.results.records``.

    ``environment`` is never missing, but may be empty. Of ``flops`` it may hold ``patch_stride`` and ``num_classes``;
    of ``selection`` ``roof``: {product_flop_s, copy_bytes_s}.
    """

    flops: Sequence[FlopsRow] = ()
    throughput: Sequence[ThroughputRow] = ()
    accuracy: Sequence[AccuracyRow] = ()  # single runs; means over seeds are made again from them
    selection_quality: Sequence[QualityRow] = ()
    selection: Sequence[SelectionRow] = ()
    backend: Sequence[BackendRow] = ()
    gpu_hour_price: float | None = None  # of one GPU, in the currency that the reader thinks in
    sources: Sequence[str] = ()  # where the rows come from, for people

    def of_kind(self, kind: str) -> Sequence[Row]:
        """The rows of a kind out of :data:`KINDS`."""
        rows: Sequence[Row] = getattr(self, kind)
        return rows


def group_by(rows: Iterable[AnyRow], *fields: str) -> dict[Any, list[AnyRow]]:
    """Rows by the values of some fields, in the order in which they come.

    Args:
        rows: Rows of one kind.
        fields: The fields. The values of several are a tuple, that of one stands alone.

    """
    groups: dict[Any, list[AnyRow]] = {}
    one = fields[0] if len(fields) == 1 else None
    for row in rows:
        key = tuple([row[name] for name in fields]) if one is None else row[one]
        groups.setdefault(key, []).append(row)
    return groups
