"""Decode rows of files into records; errors name the field and the value. No torch."""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields, replace
from functools import cache
from reprlib import Repr
from types import NoneType
from typing import Any, TypedDict, TypeVar, get_args, get_origin, get_type_hints

import msgspec

from fgbench.errors import FgbenchError
from fgbench.results.image_size import NonSquare, image_size
from fgbench.results.reading import parse_json
from fgbench.results.records import (
    RECORDS,
    SCHEMA_VERSION,
    STATUSES,
    Count,
    Figure,
    FlopsRow,
    PredictionsRow,
    Record,
    ThroughputRow,
    saved_fields,
)

AnyRecord = TypeVar("AnyRecord", bound=Record)

ENVIRONMENT = "environment"
ABOUT = ("kind", "schema_version")  # of a row, beside its fields
DERIVED = {"best": False}  # fields that are computed from all rows at once, and their values until then
INTERVALS = (("latency_ci95_low_s", "latency_ci95_high_s"), ("top1_ci95_low_percent", "top1_ci95_high_percent"))
WORDS = {  # for the types in msgspec's errors
    **{"bool": "true or false", "int": "a whole number", "float": "a number", "str": "text"},
    **{"array": "a list", "object": "an object"},
}
SHOWN = Repr()
SHOWN.maxstring = SHOWN.maxother = 40


class Environment(TypedDict, total=False):
    """The values of an environment that reports compute with."""

    num_classes: Count | None
    patch_stride: Count | None
    memory_limit_bytes: Count | None
    missing: dict[str, Any] | None
    matrix_rate_flop_s: Figure | None
    copy_rate_bytes_s: Figure | None
    macs_per_image: Figure | None
    bytes_per_image: Figure | None
    roof: dict[str, Figure | None] | None  # a rate that could not be measured is null


class Recipe(TypedDict, total=False):
    """The values of a training recipe that reports compute with."""

    batch_size: Figure | None
    warmup_steps: Figure | None
    weight_decay: Figure | None
    epochs: Figure | None
    optimizer: str | None
    augreg: str | None


class Objects(TypedDict, total=False):
    """The fields of rows that are objects and are read by reports."""

    environment: Environment
    recipe: Recipe | None


_DECLARED_KEYS = {"environment": Environment.__annotations__, "recipe": Recipe.__annotations__}


class RowError(Exception):
    """A row that cannot be decoded.

    Args:
        why: The field, and the value that it has.
        do: The advice that follows.

    """

    def __init__(self, why: str, do: str = "export it once more, or mend it") -> None:
        super().__init__(why)
        self.do = do


@dataclass(frozen=True, slots=True, kw_only=True)
class _Field:
    """The declaration of a field, as far as rows of a file may lack it or have it in another type."""

    hint: Any  # the type with its limits
    plain: Any  # the type without null and limits: int, float, str, bool, list[…], dict[…] or Status
    nullable: bool
    is_required: bool
    absent: Any  # the value where a row lacks the field

    @property
    def is_filled(self) -> bool:
        """Whether an empty cell of a CSV file means that the row lacks the field."""
        return not self.nullable and self.plain is not str

    def prepared(self, value: Any, *, strict: bool) -> Any:
        """The value as msgspec takes it; an empty text is null, since CSV has no other."""
        if self.nullable and (value is None or value == ""):
            return None
        if not strict and isinstance(value, str) and self.plain is not str:
            value = _cell(value) if get_origin(self.plain) else value.strip().removeprefix("+")
        if self.plain is int:
            return _integral(value)
        return list(map(_integral, value)) if self.plain == list[int] and isinstance(value, list) else value


@cache
def _fields_of(kind: str) -> dict[str, _Field]:
    """The saved fields of a kind by name, but the environment."""
    record = RECORDS[kind]
    hints, limited = get_type_hints(record), get_type_hints(record, include_extras=True)
    saved = set(saved_fields(record))
    declared = [each for each in fields(record) if each.name in saved]
    identifying = [each.name for each in declared]
    identifying = identifying[: identifying.index(record.first_figure)]
    found = {}
    for each in declared:
        nullable = NoneType in get_args(hints[each.name])
        lacks_default = each.default is MISSING and each.name not in DERIVED
        found[each.name] = _Field(
            hint=limited[each.name],
            plain=get_args(hints[each.name])[0] if nullable else hints[each.name],
            nullable=nullable,
            is_required=lacks_default and (each.name in identifying or not nullable),
            absent=DERIVED.get(each.name) if each.default is MISSING else each.default,
        )
    found.pop(ENVIRONMENT, None)
    return found


def plain_types(kind: str) -> dict[str, Any]:
    """The types of the saved fields of a kind, without null and limits, but for the environment."""
    return {name: field.plain for name, field in _fields_of(kind).items()}


@cache
def _fields_of_all() -> dict[str, _Field]:
    """The fields of all kinds by name; a field of several kinds has the same type."""
    return {name: field for kind in RECORDS for name, field in _fields_of(kind).items()}


def kind_of(row: Mapping[str, Any]) -> str | None:
    """The kind of a row, by its ``kind`` or, in a row without one, by its fields; None where no kind fits.

    Raises:
        RowError: For a ``kind`` or a ``schema_version`` that is not known.

    """
    _check_version(row)
    if (kind := row.get("kind")) not in (None, ""):
        if not isinstance(kind, str) or kind not in RECORDS:
            raise RowError(f"its field 'kind' must be one of {', '.join(RECORDS)}, got {SHOWN.repr(kind)} ($.kind)")
        return kind
    return next((kind for kind, record in RECORDS.items() if record.mark in row), None)


def _check_version(row: Mapping[str, Any]) -> None:
    version = row.get("schema_version")
    text = "" if version is None else str(version)
    if text and not (text.isdecimal() and len(text) < 10):
        raise RowError(f"its field 'schema_version' must be a whole number, got {SHOWN.repr(version)}")
    if text and int(text) > SCHEMA_VERSION:
        raise RowError(f"its schema_version is {text}, this fgbench knows {SCHEMA_VERSION}", "update fgbench")


def read_row(kind: str, given: Any, environment: Mapping[str, Any], *, strict: bool = True) -> Record:
    """Decode a row.

    Args:
        kind: The kind of the row.
        given: The row, an object of JSON, or texts by column where ``strict`` is False.
        environment: The environment of a row without one.
        strict: False for the cells of a CSV file, whose numbers are texts.

    Returns:
        The record. Fields that the record does not declare are in its ``other``.

    Raises:
        RowError: Where a field is missing or does not fit its declaration.

    """
    if not isinstance(given, dict):
        raise RowError(f"it must be an object, got {SHOWN.repr(given)}")
    _check_version(given)
    if given.get("kind") not in (None, "", kind):
        raise RowError(f"its field 'kind' must be {kind!r} here, got {SHOWN.repr(given['kind'])} ($.kind)")
    record = RECORDS[kind]
    given = {record.earlier_names.get(name, name): value for name, value in given.items()}
    row: dict[str, Any] = {}
    for name, field in _fields_of(kind).items():
        if name in given and not (given[name] == "" and field.is_filled and not strict):
            row[name] = field.prepared(given[name], strict=strict)
        elif field.is_required:
            raise RowError(f"its field {name!r} is missing ($.{name})")
        else:
            row[name] = field.absent
    around = _environment(given.get(ENVIRONMENT), environment, strict=strict)
    others = {name: value for name, value in given.items() if name not in row and name not in (ENVIRONMENT, *ABOUT)}
    if not strict:
        others = {name: cell for name, cell in others.items() if cell != ""}
    other = {name: _undeclared(name, value, strict=strict) for name, value in others.items()}
    shape = _shape(row.get("image_size"), record)
    row |= {"image_size": 1} if shape is not None else {}  # msgspec knows whole numbers there
    decoded: Record = _convert({**row, ENVIRONMENT: around, "other": other}, record, strict=strict)
    decoded = decoded if shape is None else replace(decoded, image_size=shape)  # type: ignore[call-arg]
    _check_objects({"recipe": decoded.get("recipe"), ENVIRONMENT: around})
    _check_values(decoded)
    return decoded


def _check_values(row: Record) -> None:
    """Refuse intervals with their ends exchanged, and predictions that cannot be unpacked."""
    for interval in INTERVALS:
        low, high = (row.get(name) for name in interval)
        if low is not None and high is not None and low > high:
            raise RowError(f"its field {interval[0]!r} must be at most {interval[1]!r}, got {low:g} and {high:g}")
    if isinstance(row, PredictionsRow):
        try:
            row.classes()
        except ValueError as error:
            raise RowError(str(error)) from None


def _shape(value: Any, record: type[Record]) -> NonSquare | None:
    """The size of images that are no squares; None for all else, and in kinds of rows that have squares alone."""
    if record not in (FlopsRow, ThroughputRow) or not isinstance(value, str) or "x" not in value:
        return None
    try:
        size = image_size(value)
    except ValueError:
        return None  # msgspec says what is wrong
    return size if isinstance(size, NonSquare) else None


def decode(record: type[AnyRecord], row: Mapping[str, Any]) -> AnyRecord:
    """Decode a row of a store.

    Args:
        record: The class of its kind.
        row: The row, its environment included.

    Returns:
        The record.

    Raises:
        FgbenchError: Where a field is missing or does not fit its declaration.

    """
    try:
        decoded = read_row(record.kind, dict(row), {})
    except RowError as error:
        what = f"the store holds a row of {record.kind} that cannot be read: {error}"
        raise FgbenchError(what, do="--again replaces it") from None
    assert isinstance(decoded, record)
    return decoded


def is_finite(value: Any) -> bool:
    """Whether a value of JSON holds neither NaN nor infinity, at any depth."""
    if isinstance(value, float):
        return math.isfinite(value)
    if isinstance(value, (dict, list)):
        return all(map(is_finite, value.values() if isinstance(value, dict) else value))
    return True


def _environment(own: Any, shared: Mapping[str, Any], *, strict: bool) -> dict[str, Any]:
    """The environment of a row, or the one that rows of its file share."""
    own = _cell(own) if isinstance(own, str) and not strict else own
    if own is not None and own != "" and not isinstance(own, dict):
        raise RowError(f"its field {ENVIRONMENT!r} must be an object, got {SHOWN.repr(own)} ($.{ENVIRONMENT})")
    return dict(shared) if own in (None, "") else own


def _undeclared(name: str, value: Any, *, strict: bool) -> Any:
    """The value of a field that a row holds beside those of its kind; a field of another kind has the type of that."""
    if not is_finite(value):
        raise RowError(f"its field {name!r} must hold finite numbers ($.{name})")
    field = _fields_of_all().get(name)
    if field is None or value is None or value == "":
        return value
    return _convert({name: field.prepared(value, strict=strict)}, _object_with(name), strict=strict)[name]


@cache
def _object_with(name: str) -> Any:
    """The type of an object with one field of any kind, whose errors name the field."""
    make: Any = TypedDict  # a call whose fields are not known before it is made
    return make("Row", {name: _fields_of_all()[name].hint})


def _check_objects(objects: dict[str, Any]) -> None:
    """Refuse objects of a row that reports cannot compute with."""
    for name, values in objects.items():
        if not is_finite(values):
            raise RowError(f"its field {name!r} must hold finite numbers ($.{name})")
    # Only keys that are declared: msgspec cannot read a key with half of a character, which JSON may have.
    whole = {
        name: values and {key: _integral(values[key]) for key in _DECLARED_KEYS[name] if key in values}
        for name, values in objects.items()
    }
    _convert(whole, Objects)


def _convert(values: dict[str, Any], to: Any, *, strict: bool = True) -> Any:
    try:
        return msgspec.convert(values, to, strict=strict)
    except msgspec.ValidationError as error:
        raise _explained(str(error), values) from None
    except UnicodeEncodeError:  # half of a character, where a number is expected
        return _convert(_whole_characters(values), to, strict=strict)


def _whole_characters(value: Any) -> Any:
    """The value with a question mark for every half of a character in its text."""
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode("utf-8")
    if isinstance(value, dict):
        return {_whole_characters(key): _whole_characters(inner) for key, inner in value.items()}
    return list(map(_whole_characters, value)) if isinstance(value, list) else value


def _explained(message: str, row: Mapping[str, Any]) -> RowError:
    """An error of msgspec in the words of this program, with the value."""
    message, _, path = message.rstrip("`").partition(" - at `$")
    value: Any = row
    names: list[str] = []
    known, _, inside = path.partition("[...]")  # a key of an object, which msgspec does not name
    for name, place in re.findall(r"\.([^.\[]+)|\[(\d+)\]", known):
        value = value[name] if name else value[int(place)]
        names += [name] if name else []
    where = " in ".join([*(repr(name) for name in names[:0:-1]), f"its field {names[0]!r}"])
    if inside or path != known:
        return RowError(f"{where} must be an object of other values, got {SHOWN.repr(value)} (${path})")
    return RowError(f"{where} {_complaint(message, value)} (${path})")


def _complaint(message: str, value: Any) -> str:
    """What is wrong with a value: ``must be a number, got 'fast'``."""
    if message.startswith("Invalid enum"):
        return f"must be one of {', '.join(STATUSES)}, got {SHOWN.repr(value)}"
    expected = re.match(r"Expected `(\w+)[^`]*`(?: ([<>]=?) (\S+))?", message)
    if expected is None or (expected[2] == "<=" and math.isfinite(_number(value))):
        return "is too large a number"
    if expected[2] is None:
        return f"must be {WORDS.get(expected[1], expected[1])}, got {SHOWN.repr(value)}"
    number = _number(value) if expected[1] == "float" else value
    if not math.isfinite(_number(value)):
        return f"must be a finite number, got {number}"
    least = "at least 1" if float(expected[3]) else "no negative number" if _number(value) < 0 else "above 0"
    return f"must be {least}, got {SHOWN.repr(number)}"


def _number(value: Any) -> float:
    """A number, or a cell with one, as a float."""
    try:
        return float(value)
    except OverflowError:
        return sys.float_info.max


def _integral(value: Any) -> Any:
    """A whole number that a program wrote with a decimal point, as an integer."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _cell(text: str) -> Any:
    """The JSON in a cell of a CSV file; the text where it is no JSON."""
    try:
        return parse_json(text)
    except ValueError:
        return text
