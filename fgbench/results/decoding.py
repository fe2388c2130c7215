"""Rows as they come from files: of which kind each is, whether its fields are as its record declares them. No torch."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import MISSING, dataclass, fields
from functools import cache
from reprlib import Repr
from types import NoneType
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from fgbench.results.reading import parse_json
from fgbench.results.records import RECORDS, STATUSES, Record, Status, saved_fields

Cells = dict[str, Any]  # the fields of a row as a file has them
# A field that every row of a kind has, and no row of the kinds behind it.
MARKS = {
    "backend": "maps",
    "selection": "bytes",
    "flops": "convention",
    "selection_quality": "perturbed_images",
    "throughput": "batch_size",
    "accuracy": "top1_percent",
}
# The field behind those that say what was measured: records begin with these, and figures follow.
FIRST_FIGURE = {
    "backend": "chosen",
    "selection": "status",
    "flops": "num_tokens",
    "selection_quality": "checkpoint",
    "throughput": "status",
    "accuracy": "top1_percent",
}
ENVIRONMENT = "environment"  # beside the fields of every kind
ABOUT = ("kind", "schema_version")  # of a row, beside its fields
DERIVED = ("best",)  # made again from all rows at once
SIGNED = ("seed", "seeds")  # every other number counts or measures something
SIDES = ("image_size", "batch_size")  # that are divided by
ABOVE_ZERO = ("latency_s", "throughput_img_s")  # a point without a figure has none, and not zero
INTERVAL = ("latency_ci95_low_s", "latency_ci95_high_s")
LARGEST = 10**30  # far above any count and any rate
# What reports compute with inside the objects of a row: of which type each is, where it is there.
INSIDE: dict[str, dict[str, Any]] = {
    ENVIRONMENT: {
        **{"num_classes": int, "patch_stride": int, "memory_limit_bytes": int, "missing": dict[str, Any]},
        **{"matrix_rate_flop_s": float, "copy_rate_bytes_s": float, "macs_per_image": float, "bytes_per_image": float},
        "roof": dict[str, float],
    },
    "recipe": {
        **{"batch_size": float, "warmup_steps": float, "weight_decay": float, "epochs": float},
        **{"optimizer": str, "augreg": str},
    },
}
WORDS: dict[Any, str] = {bool: "true or false", int: "a whole number", float: "a number", str: "text"}
SHOWN = Repr()
SHOWN.maxstring = SHOWN.maxother = 40


AnyRecord = TypeVar("AnyRecord", bound=Record)


class RowError(Exception):
    """What is wrong with a row, in words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """A field of a record, as its annotation and its place declare it."""

    name: str
    kind: Any  # of its value where it is not null
    nullable: bool
    identifies: bool  # says what was measured: without it the row is that of nothing
    default: Any  # MISSING where there is none

    def absent(self) -> Any:
        """The value of a row from before this field was there."""
        if self.default is not MISSING:
            return self.default
        if self.nullable and not self.identifies:
            return None
        if self.name in DERIVED:
            return False
        raise RowError(f"its field {self.name!r} is missing")

    def checked(self, value: Any) -> Any:
        """The value in its declared type; an empty text is a missing one, as a CSV file has no other."""
        if self.nullable and (value is None or value == ""):
            return None
        try:
            found = _checked(value, self.kind)
        except RowError as error:
            raise RowError(f"its field {self.name!r} {error}") from None
        if self.name == "status" and found not in STATUSES:
            raise RowError(f"its field 'status' must be one of {', '.join(STATUSES)}, got {SHOWN.repr(found)}")
        if isinstance(found, (int, float)) and self.name not in SIGNED and found < (self.name in SIDES):
            least = "at least 1" if self.name in SIDES else "no negative number"
            raise RowError(f"its field {self.name!r} must be {least}, got {SHOWN.repr(found)}")
        if self.name in ABOVE_ZERO and found == 0:
            raise RowError(f"its field {self.name!r} must be above 0, got {SHOWN.repr(found)}")
        return found

    def from_text(self, cell: str) -> Any:
        """What stands in a cell of a CSV file; the cell itself where it is no such value."""
        if self.kind is str:
            return cell
        try:
            if self.kind is bool:
                return {"true": True, "false": False}.get(cell.strip().lower(), cell)
            if self.kind in (int, float):
                return int(cell) if cell.strip().lstrip("+-").isdecimal() else float(cell)
            return parse_json(cell)
        except ValueError:
            return cell


@cache
def fields_of(kind: str) -> tuple[Field, ...]:
    """The fields of a kind of rows but the environment, in their order."""
    record = RECORDS[kind]
    hints = get_type_hints(record)
    saved = [field for field in fields(record) if field.name in saved_fields(record)]
    names = [field.name for field in saved]
    identifying = names[: names.index(FIRST_FIGURE[kind])]
    found = []
    for field in saved:
        if field.name == ENVIRONMENT:
            continue
        some = [one for one in get_args(hints[field.name]) if one is not NoneType]
        nullable = NoneType in get_args(hints[field.name])
        found.append(
            Field(
                name=field.name,
                kind=str if field.name == "status" else some[0] if nullable else hints[field.name],
                nullable=nullable,
                identifies=field.name in identifying,
                default=field.default,
            )
        )
    return tuple(found)


def kind_of(names: Iterable[str]) -> str | None:
    """The kind of a row that has these fields; None where no kind has."""
    present = set(names)
    return next((kind for kind, mark in MARKS.items() if mark in present), None)


def read_row(kind: str, given: Any, environment: Mapping[str, Any]) -> Record:
    """The record of a row, with what else the row holds, and its environment – ``environment`` where it has none.

    Raises :class:`RowError`.
    """
    if not isinstance(given, dict):
        raise RowError(f"it must be an object, got {SHOWN.repr(given)}")
    row: Cells = {}
    for field in fields_of(kind):
        name = field.name
        row[name] = field.checked(given[name]) if name in given else field.absent()
    low, high = (row.get(name) for name in INTERVAL)
    if low is not None and high is not None and low > high:
        raise RowError(f"its field {INTERVAL[0]!r} must be at most {INTERVAL[1]!r}, got {low:g} and {high:g}")
    other = {name: value for name, value in given.items() if name not in {*row, *ABOUT, ENVIRONMENT}}
    for name, value in other.items():
        _check_undeclared(name, value)
    own = given.get(ENVIRONMENT)
    if own is not None and not isinstance(own, dict):
        raise RowError(f"its field {ENVIRONMENT!r} must be an object, got {SHOWN.repr(own)}")
    if own is not None and not is_finite(own):
        raise RowError(f"its field {ENVIRONMENT!r} must hold finite numbers")
    around = own or dict(environment)
    for name, declared in INSIDE.items():
        _check_inside(name, {**other, **row, ENVIRONMENT: around}.get(name) or {}, declared)
    if "status" in row:
        row["status"] = Status(row["status"])
    return RECORDS[kind](**row, **{ENVIRONMENT: around, "other": other})


def _check_undeclared(name: str, value: Any) -> None:
    """What a row holds beside the fields of its kind; one that another kind has is of that one's type."""
    if not is_finite(value):
        raise RowError(f"its field {name!r} must hold finite numbers")
    if (field := _fields_by_name().get(name)) is not None and value is not None:
        field.checked(value)


@cache
def _fields_by_name() -> dict[str, Field]:
    """The fields of all kinds; one of several kinds is of one type."""
    return {field.name: field for kind in RECORDS for field in fields_of(kind)}


def _check_inside(name: str, values: Mapping[str, Any], declared: Mapping[str, Any]) -> None:
    for inner, kind in declared.items():
        if (value := values.get(inner)) is not None:
            try:
                found = _checked(value, kind)
            except RowError as error:
                raise RowError(f"{inner!r} in its field {name!r} {error}") from None
            if kind in (int, float) and found < 0:
                raise RowError(f"{inner!r} in its field {name!r} must be no negative number, got {SHOWN.repr(value)}")


def read_cells(cells: Mapping[str, str]) -> tuple[str | None, Cells]:
    """The kind of a line of a CSV file, and its values by their declared types; empty cells are missing ones."""
    filled = {name: cell for name, cell in cells.items() if cell != ""}
    kind = kind_of(filled)
    if kind is None:
        return None, dict(filled)
    row: Cells = {}
    declared = {field.name: field for field in fields_of(kind)}
    for name, cell in cells.items():
        field = declared.get(name)
        if cell != "":
            of_any = _fields_by_name().get(name)
            row[name] = of_any.from_text(cell) if of_any else _environment(cell) if name == ENVIRONMENT else cell
        elif field and field.nullable:
            row[name] = None
        elif field and field.kind is str:
            row[name] = ""
    return kind, row


def _environment(cell: str) -> Any:
    try:
        return parse_json(cell)
    except ValueError:
        return cell


def distinct(kind: str, rows: Iterable[AnyRecord]) -> list[AnyRecord]:
    """Every row once: of rows that agree in all declared fields, and in their environment as far as both tell it.

    Nobody measures the same to all its digits twice, and a count is the same everywhere.
    """
    names = [field.name for field in fields_of(kind) if field.name not in DERIVED]
    found: list[AnyRecord] = []
    places: dict[str, dict[str, int]] = {}
    for row in rows:
        around = _surroundings(kind, row[ENVIRONMENT])
        known = places.setdefault(json.dumps([row[name] for name in names], sort_keys=True), {})
        if around in known or (known and not around):
            continue
        if "" in known:  # until now nobody told what it was measured on
            known[around] = known.pop("")
            found[known[around]] = row
        else:
            known[around] = len(found)
            found.append(row)
    return found


def _surroundings(kind: str, environment: Mapping[str, Any]) -> str:
    if kind == "flops":  # nothing else changes a count
        told = {name: environment[name] for name in ("num_classes", "patch_stride") if name in environment}
    else:
        told = {name: value for name, value in environment.items() if name != "time"}
    return json.dumps(told, sort_keys=True) if told else ""


def _checked(value: Any, kind: Any) -> Any:
    check = _CHECKS.get(get_origin(kind) or kind)
    assert check is not None, kind
    return check(value, kind)


def _flag(value: Any, kind: Any) -> bool:
    if isinstance(value, bool):
        return value
    raise _unfit(value, kind)


def _text(value: Any, kind: Any) -> str:
    if isinstance(value, str):
        return value
    raise _unfit(value, kind)


def _number(value: Any, kind: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise _unfit(value, kind)
    if not math.isfinite(value if isinstance(value, float) else 0):
        raise RowError(f"must be a finite number, got {value}")
    if abs(value) > LARGEST:
        raise RowError("is too large a number")
    return float(value)


def _whole(value: Any, kind: Any) -> int:
    number = _number(value, kind)
    if not number.is_integer() or abs(number) > LARGEST:
        raise _unfit(value, kind)
    return int(value)


def _list(value: Any, kind: Any) -> list[Any]:
    (inner,) = get_args(kind)
    if isinstance(value, list):
        return [_checked(each, inner) for each in value]
    raise RowError(f"must be a list, got {SHOWN.repr(value)}")


def _object(value: Any, kind: Any) -> dict[str, Any]:
    _, inner = get_args(kind)
    if isinstance(value, dict):
        return {name: _checked(each, inner) for name, each in value.items()}
    raise RowError(f"must be an object, got {SHOWN.repr(value)}")


def _anything(value: Any, _kind: Any) -> Any:
    if is_finite(value):
        return value
    raise RowError("must hold finite numbers")


def is_finite(value: Any) -> bool:
    """Whether all numbers in some JSON are numbers."""
    if isinstance(value, float):
        return math.isfinite(value)
    if isinstance(value, (dict, list)):
        return all(map(is_finite, value.values() if isinstance(value, dict) else value))
    return True


_CHECKS: dict[Any, Callable[[Any, Any], Any]] = {
    bool: _flag,
    int: _whole,
    float: _number,
    str: _text,
    list: _list,
    dict: _object,
    Any: _anything,
}


def _unfit(value: Any, kind: Any) -> RowError:
    return RowError(f"must be {WORDS[kind]}, got {SHOWN.repr(value)}")
