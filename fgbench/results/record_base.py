"""The base of all records: a frozen row that is a mapping too, the status of a measured point, limits of values."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from enum import Enum
from functools import cache
from html import escape
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, TypeAlias

from msgspec import Meta

from fgbench.results.escaping import visible
from fgbench.results.image_size import ImageSize, image_size

# History of the version of rows, and of files that hold rows by section:
# none  rows have neither ``kind`` nor ``schema_version``; the kind follows from the fields
# 1     ``kind`` and ``schema_version`` are the last fields of every row; rows of flops have ``stage`` beside ``part``.
#       Files by section had version 1 before, with rows of no version.
SCHEMA_VERSION = 1
ABOUT = ("kind", "schema_version")  # the last fields of a row
UNSAVED = {"saved": False}  # metadata of a field that files and stores do not have in the row itself
UNLISTED = {"saved": False, "listed": False}  # metadata of a field that the mapping view does not have either

LARGEST = 10**30  # far above any count and any rate
Count = Annotated[int, Meta(ge=0, le=2**63 - 1)]
Side = Annotated[int, Meta(ge=1, le=2**63 - 1)]  # a number that others are divided by
if TYPE_CHECKING:
    Size: TypeAlias = ImageSize
else:
    Size = Side  # texts of sizes that are no squares are read beside the others
Figure = Annotated[float, Meta(ge=0, le=LARGEST)]
Positive = Annotated[float, Meta(gt=0, le=LARGEST)]  # a failed point has no figure, and not 0


class Status(str, Enum):
    """How a measured point ended. A status is equal to its text, which stands in files."""

    OK = "ok"
    OOM = "oom"  # the point needs more memory than there is
    OOM_INFERRED = "oom_inferred"  # a smaller batch needs more memory than there is
    UNCONVERGED = "unconverged"  # the time ran out before the interval was narrow enough
    CONTENDED = "contended"  # another process used the device
    TIMEOUT = "timeout"
    CRASHED = "crashed"
    ERROR = "error"

    def __str__(self) -> str:
        return str.__str__(self)

    def __format__(self, spec: str) -> str:
        return str.__format__(self, spec)

    @property
    def is_ok(self) -> bool:
        """Whether the figures are as precise as asked for."""
        return self is Status.OK

    @property
    def has_figures(self) -> bool:
        """Whether the row has a latency and a throughput."""
        return self in (Status.OK, Status.UNCONVERGED, Status.CONTENDED)

    @property
    def is_result(self) -> bool:
        """Whether the point was measured: it has figures, or it is known to need more memory than there is."""
        return self.has_figures or self.is_oom

    @property
    def is_oom(self) -> bool:
        """Whether the point needs more memory than there is, measured or inferred from a smaller batch."""
        return self in (Status.OOM, Status.OOM_INFERRED)


STATUSES = tuple(status.value for status in Status)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Record(Mapping[str, Any]):
    """A row of one kind. Its fields are attributes: ``row.latency_s``.

    A record is also a mapping (``row["latency_s"]``, ``row.get(...)``, ``{**row}``), as report plug-ins read rows.
    The mapping has the fields, ``kind``, ``schema_version`` and the undeclared fields of a file.
    """

    kind: ClassVar[str]
    schema_version: ClassVar[int] = SCHEMA_VERSION
    mark: ClassVar[str]  # a field that rows of this kind have, and rows of the kinds behind it in RECORDS do not
    section: ClassVar[str]  # of a file that holds rows by section
    command: ClassVar[str]  # that makes rows of this kind
    first_figure: ClassVar[str]  # fields before this one say what was measured; a row must have them
    earlier_names: ClassVar[Mapping[str, str]] = {}  # of renamed fields: earlier name → name; rows have both

    other: Mapping[str, Any] = field(default_factory=dict, metadata=UNLISTED)  # undeclared fields of a file

    def __post_init__(self) -> None:
        size = getattr(self, "image_size", None)
        if isinstance(size, str):
            object.__setattr__(self, "image_size", image_size(size))

    def as_dict(self) -> dict[str, Any]:
        """The row as it leaves the program.

        Returns:
            The saved fields in the order of their declaration, then ``kind`` and ``schema_version``. Undeclared fields
            are left out.

        """
        row = {name: self[name] for name in saved_fields(type(self))}
        if "status" in row:
            row["status"] = str(row["status"])
        return {**row, "kind": self.kind, "schema_version": self.schema_version}

    def _repr_html_(self) -> str:
        """The row in a notebook: its fields that have a value, without lists and the environment."""
        shown = {
            name: value
            for name, value in self.as_dict().items()
            if value is not None and not isinstance(value, (dict, list))
        }
        lines = (
            f'<tr><th style="text-align: left">{escape(name)}</th><td>{escape(visible(_short(value)))}</td></tr>'
            for name, value in shown.items()
        )
        return f"<table>{''.join(lines)}</table>"

    def copy(self) -> dict[str, Any]:
        """The mapping as a dictionary of its own."""
        return dict(self)

    def __or__(self, other: Mapping[str, Any]) -> dict[str, Any]:
        """The mapping with other fields, as a dictionary."""
        return {**self, **other}

    def __ror__(self, other: Mapping[str, Any]) -> dict[str, Any]:
        """Another mapping with these fields, as a dictionary."""
        return {**other, **self}

    def __getitem__(self, name: str) -> Any:
        attribute = _listed(type(self)).get(name)
        return self.other[name] if attribute is None else getattr(self, attribute)

    def __iter__(self) -> Iterator[str]:
        yield from _listed(type(self))
        yield from self.other

    def __len__(self) -> int:
        return len(_listed(type(self))) + len(self.other)

    def __eq__(self, other: object) -> bool:
        if type(other) is type(self):
            return all(getattr(self, declared.name) == getattr(other, declared.name) for declared in fields(self))
        return Mapping.__eq__(self, other)

    __hash__ = None  # type: ignore[assignment]  # fields hold lists and dictionaries


def _short(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)


@cache
def saved_fields(record: type[Record]) -> tuple[str, ...]:
    """Names of the fields that rows of stores and files have.

    Args:
        record: The class of a kind of rows.

    Returns:
        The names in the order of their declaration. The earlier name of a renamed field stands before it.

    """
    saved = {declared.name for declared in fields(record) if declared.metadata.get("saved", True)}
    return tuple(name for name, attribute in _listed(record).items() if attribute in saved)


@cache
def _listed(record: type[Record]) -> dict[str, str]:
    """Keys of the mapping, without those of undeclared fields, and the attributes that they stand for."""
    earlier = {name: before for before, name in record.earlier_names.items()}
    keys: dict[str, str] = {}
    for declared in fields(record):
        if declared.metadata.get("listed", True):
            if declared.name in earlier:
                keys[earlier[declared.name]] = declared.name
            keys[declared.name] = declared.name
    return {**keys, "kind": "kind", "schema_version": "schema_version"}
