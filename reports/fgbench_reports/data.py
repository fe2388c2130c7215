"""The rows that reports read, by kind."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields
from operator import attrgetter, itemgetter
from typing import Any, TypeVar, cast

from fgbench.results.records import (
    ABOUT,
    RECORDS,
    AccuracyRow,
    BackendRow,
    FlopsRow,
    PredictionsRow,
    QualityRow,
    Record,
    SelectionRow,
    Status,
    StudyRow,
    ThroughputRow,
)
from fgbench.results.records import KINDS as ROW_KINDS
from fgbench_reports.hour_price import Prices

FIELDS = frozenset(each.name for record in RECORDS.values() for each in fields(record))
Row = Mapping[str, Any]
AnyKind = FlopsRow | ThroughputRow | AccuracyRow | QualityRow | SelectionRow | BackendRow | StudyRow | PredictionsRow
AnyRow = TypeVar("AnyRow", bound=Row)
AnyRecord = TypeVar("AnyRecord", bound=Record)

# Kinds of rows, as the store names them, and the command that makes each.
KINDS = {kind: RECORDS[kind].command for kind in ROW_KINDS}


@dataclass(frozen=True, slots=True, kw_only=True)
class Data:
    """Saved rows by kind, as records of ``fgbench.results.records``.

    Plain mappings, such as rows of a JSON file, become records; fields that they lack are None, and a status that they
    lack follows from the figures. The field ``environment`` of a row may be empty. In rows of ``flops`` it may hold
    ``patch_stride`` and ``num_classes``, in rows of ``selection`` ``roof``: {product_flop_s, copy_bytes_s}.
    """

    flops: Sequence[FlopsRow] = ()
    throughput: Sequence[ThroughputRow] = ()
    accuracy: Sequence[AccuracyRow] = ()  # single runs; means over seeds are made again from them
    selection_quality: Sequence[QualityRow] = ()
    selection: Sequence[SelectionRow] = ()
    backend: Sequence[BackendRow] = ()
    study: Sequence[StudyRow] = ()  # the places of runs in studies
    predictions: Sequence[PredictionsRow] = ()  # of runs, per image
    gpu_hour_price: Prices | None = None  # of one GPU, or by kinds, in the currency that the reader thinks in
    baseline: str | None = None  # a model: tables of throughput and of whole models have ratios to it
    sources: Sequence[str] = ()  # where the rows come from, for people
    # Taken out of the rows of throughput: nothing but their own reports may mix them with forward passes.
    training: Sequence[ThroughputRow] = ()  # steps of training
    parts: Sequence[ThroughputRow] = ()  # of runs
    _made: dict[str, Any] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        for kind in KINDS:
            rows = getattr(self, kind)
            if not all(isinstance(row, Record) for row in rows):
                object.__setattr__(self, kind, [_record(kind, row) for row in rows])
        parts = [row for row in self.throughput if row.part is not None]
        training = [row for row in self.throughput if row.part is None and row.is_training]
        if parts or training:
            passes = [row for row in self.throughput if row.part is None and not row.is_training]
            for name, rows in (("throughput", passes), ("training", training), ("parts", parts)):
                object.__setattr__(self, name, rows if name == "throughput" else [*getattr(self, name), *rows])

    def once(self, name: str, make: Callable[[], Any]) -> Any:
        """What several reports make of the same rows, made at the first call.

        Args:
            name: The name of the result.
            make: Makes it.

        """
        if name not in self._made:
            self._made[name] = make()
        return self._made[name]

    def of_kind(self, kind: str) -> Sequence[Row]:
        """The rows of a kind out of :data:`KINDS`; those of throughput with training steps and parts."""
        rows: Sequence[Row] = getattr(self, kind)
        return [*rows, *self.training, *self.parts] if kind == ThroughputRow.kind else rows


def group_by(rows: Iterable[AnyRow], *fields: str | Callable[[AnyRow], Any]) -> dict[Any, list[AnyRow]]:
    """Group rows by the values of fields.

    Args:
        rows: Rows of one kind.
        fields: The names of the fields, or functions from a row to a value.

    Returns:
        The rows of each group, both in the order in which they come. The key of a group is the value of one field, or
        a tuple of the values of several.

    """
    groups: dict[Any, list[AnyRow]] = {}
    of = [_reader(name) if isinstance(name, str) else name for name in fields]
    one = of[0] if len(of) == 1 else None
    for row in rows:
        key = tuple([value(row) for value in of]) if one is None else one(row)
        groups.setdefault(key, []).append(row)
    return groups


def _reader(field: str) -> Callable[[Row], Any]:
    """A function from a row to the value of a field; attributes of records are read much faster than items."""
    of_record, of_mapping = attrgetter(field), itemgetter(field)
    return lambda row: of_record(row) if field in FIELDS and isinstance(row, Record) else of_mapping(row)


def records(kind: type[AnyRecord], rows: Iterable[Row]) -> list[AnyRecord]:
    """Rows of one kind as its records; plain mappings become records, as in :class:`Data`."""
    return [cast(AnyRecord, _record(kind.kind, row)) for row in rows]


def _record(kind: str, row: Row) -> Row:
    """The record of a row that may be a plain mapping. Its values are not checked: readers of files check them."""
    if isinstance(row, Record):
        return row
    record = RECORDS[kind]
    given = {record.earlier_names.get(name, name): value for name, value in row.items()}
    declared = {each.name: each for each in fields(record) if each.name != "other"}
    values = {name: given.pop(name) for name in declared if name in given}
    for name, each in declared.items():
        if name not in values and each.default is MISSING and each.default_factory is MISSING:
            values[name] = None
    if "status" in values:
        untold = Status.OK if values.get("latency_s") or values.get("throughput_img_s") else Status.ERROR
        values["status"] = Status(values["status"] or untold)
    return record(**values, other={name: value for name, value in given.items() if name not in ABOUT})
