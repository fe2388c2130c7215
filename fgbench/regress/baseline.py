"""The file that counted figures are compared with: one line per point, sorted, so that a diff shows what changed."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from fgbench.flops.grid import CountGrid
from fgbench.options import IMPLS, MAX_CLASSES
from fgbench.results.escaping import json_text
from fgbench.values import MAX_IMAGE_SIZE
from fgbench_reports.regression.exact import (
    FIGURES,
    IDENTITY,
    MEMORY_FIGURE,
    MEMORY_IDENTITY,
    MemoryBaseline,
    Row,
    memory_name,
    point_name,
)

KIND = "fgbench-baseline"
SCHEMA = 1  # 1: counted points, and memory by GPU and version of torch
CONVENTIONS = ("full", "fvcore")
GRID = ("selectors", "models", "backbones", "sizes", "impls", "num_classes")  # of the grid, in the file
LARGEST = 2**63 - 1  # of a figure


class BadBaselineError(ValueError):
    """A file that is no baseline; the message says where and why, on one line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Baseline:
    """A baseline."""

    grid: CountGrid  # of one convention; None among its selectors and models: all, those of later versions included
    counted_with: Mapping[str, str]  # versions: fgbench, torch, timm, fvcore, python
    points: Sequence[Row]  # IDENTITY and FIGURES; model and selector null in a backbone's own
    memory: Sequence[MemoryBaseline] = field(default_factory=tuple)

    @property
    def convention(self) -> str:
        """The convention that its points were counted in."""
        return self.grid.conventions[0]


def write_baseline(baseline: Baseline) -> str:
    """The text of a baseline: points sorted, each on a line of its own, numbers of a name in their own order."""
    head = {
        "kind": KIND,
        "schema_version": SCHEMA,
        "convention": baseline.convention,
        "grid": {name: getattr(baseline.grid, name) for name in GRID},
        "counted_with": dict(sorted(baseline.counted_with.items())),
    }
    lines = [f"  {json.dumps(name)}: {json.dumps(value, ensure_ascii=False)}," for name, value in head.items()]
    lines += ['  "points": [', *_rows(baseline.points, IDENTITY, FIGURES, "    "), "  ],", '  "memory": [']
    sections = sorted(baseline.memory, key=lambda section: (section.gpu, section.torch))
    for section in sections:
        named = f'"gpu": {json.dumps(section.gpu)}, "torch": {json.dumps(section.torch)}'
        points = _rows(section.points, MEMORY_IDENTITY, (MEMORY_FIGURE,), "      ")
        lines += [f'    {{{named}, "points": [', *points, "    ]}" + ("," if section is not sections[-1] else "")]
    return json_text("\n".join(["{", *lines, "  ]", "}"])) + "\n"


def _rows(rows: Sequence[Row], identity: Sequence[str], figures: Sequence[str], indent: str) -> list[str]:
    ordered = sorted(rows, key=lambda row: [_natural(row[name]) for name in identity])
    found = [json.dumps({name: row[name] for name in (*identity, *figures)}, ensure_ascii=False) for row in ordered]
    return [f"{indent}{text}{',' if at < len(found) - 1 else ''}" for at, text in enumerate(found)]


def _natural(value: Any) -> list[tuple[int, str]]:
    """A key that sorts null first, and numbers in a text by their value."""
    parts = re.findall(r"\d+|\D+", "" if value is None else str(value))
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in parts]


def read_baseline(text: str) -> Baseline:
    """A baseline from its text. Raises :class:`BadBaselineError`, whose message says what is wrong with it."""
    data = _parse(text)
    if not isinstance(data, dict) or data.get("kind") != KIND:
        raise BadBaselineError(f'it is JSON, and no baseline: "kind" is not "{KIND}"')
    schema = data.get("schema_version")
    if type(schema) is not int or schema != SCHEMA:
        newer = "; a newer fgbench wrote it" if type(schema) is int and schema > SCHEMA else ""
        raise BadBaselineError(f"its schema_version is {schema!r}, and this fgbench reads {SCHEMA}{newer}")
    convention = data.get("convention")
    if not isinstance(convention, str) or convention not in CONVENTIONS:
        raise BadBaselineError(f"its convention is {convention!r}; known: {', '.join(CONVENTIONS)}")
    counted_with = data.get("counted_with")
    if not isinstance(counted_with, dict) or not all(isinstance(value, str) for value in counted_with.values()):
        raise BadBaselineError('"counted_with" must name versions as texts')
    points = _read_rows(data.get("points"), "points", IDENTITY, FIGURES)
    if not points:
        raise BadBaselineError("it has no points, and nothing can be held against it")
    memory = data.get("memory", [])
    if not isinstance(memory, list):
        raise BadBaselineError('"memory" must be a list')
    return Baseline(
        grid=_read_grid(data.get("grid"), convention),
        counted_with=counted_with,
        points=points,
        memory=[_read_memory(section, f"memory[{at}]") for at, section in enumerate(memory)],
    )


def _parse(text: str) -> Any:
    if re.search(r"^(<{7}|>{7}) ", text, re.MULTILINE):
        raise BadBaselineError("it holds an unresolved merge conflict")
    try:
        return json.loads(text.removeprefix("\ufeff"), object_pairs_hook=_once_each, parse_constant=_no_number)
    except BadBaselineError:
        raise
    except (ValueError, RecursionError) as error:  # a number of thousands of digits is a ValueError, too
        where = f", line {error.lineno}: {error.msg}" if isinstance(error, json.JSONDecodeError) else ""
        raise BadBaselineError(f"it is not JSON{where}") from error


def _once_each(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        twice = next(name for at, (name, _) in enumerate(pairs) if name in dict(pairs[:at]))
        raise BadBaselineError(f'"{twice}" stands twice in one object')
    return found


def _no_number(word: str) -> Any:
    raise BadBaselineError(f"it holds {word}, which is no figure")


def _read_grid(grid: Any, convention: str) -> CountGrid:
    if not isinstance(grid, dict) or set(grid) != set(GRID):
        raise BadBaselineError(f'"grid" must have {", ".join(GRID)}, and nothing else')
    for name in ("selectors", "models", "backbones"):
        if not (grid[name] is None and name != "backbones") and not _all(grid[name], str):
            raise BadBaselineError(f'"grid": "{name}" must be a list of names')
    if not _all(grid["impls"], str) or not set(grid["impls"]) <= set(IMPLS):
        raise BadBaselineError(f'"grid": "impls" must be some of {", ".join(IMPLS)}')
    sizes = grid["sizes"] if isinstance(grid["sizes"], list) else [0]
    for name, values, most in (("sizes", sizes, MAX_IMAGE_SIZE), ("num_classes", [grid["num_classes"]], MAX_CLASSES)):
        if not all(type(value) is int and 0 < value <= most for value in values):
            raise BadBaselineError(f'"grid": "{name}" must be whole numbers, 1 to {most}')
    for name, values in grid.items():
        if isinstance(values, list) and len(set(values)) < len(values):
            raise BadBaselineError(f'"grid": something stands twice in "{name}"')
    return CountGrid(**grid, conventions=(convention,))


def _all(values: Any, kind: type) -> bool:
    return isinstance(values, list) and all(type(value) is kind for value in values)


def _read_memory(section: Any, where: str) -> MemoryBaseline:
    texts = isinstance(section, dict) and all(isinstance(section.get(name), str) for name in ("gpu", "torch"))
    if not texts:
        raise BadBaselineError(f'{where}: "gpu" and "torch" must be texts')
    points = _read_rows(section.get("points"), f"{where}.points", MEMORY_IDENTITY, (MEMORY_FIGURE,))
    return MemoryBaseline(gpu=section["gpu"], torch=section["torch"], points=points)


def _read_rows(rows: Any, where: str, identity: Sequence[str], figures: Sequence[str]) -> list[Row]:
    if not isinstance(rows, list):
        raise BadBaselineError(f'"{where}" must be a list')
    seen: set[str] = set()
    for at, row in enumerate(rows):
        _check_row(row, f"{where}[{at}]", identity, figures)
        name = memory_name(row) if "batch_size" in identity else point_name(row)
        if name in seen:  # under one name, one of the two would be held against nothing
            raise BadBaselineError(f"{where}[{at}] stands twice: {name}")
        seen.add(name)
    return rows


def _check_row(row: Any, where: str, identity: Sequence[str], figures: Sequence[str]) -> None:
    if not isinstance(row, dict) or set(row) != {*identity, *figures}:
        raise BadBaselineError(f"{where} must have {', '.join((*identity, *figures))}, and nothing else")
    for name in identity:
        kinds = {"image_size": int, "batch_size": int, "compiled": bool}
        value, kind = row[name], kinds.get(name, str)
        nullable = name in ("model", "selector", "impl")
        if type(value) is not kind and not (nullable and value is None):
            raise BadBaselineError(f"{where}.{name} is {value!r}, and must be {_KINDS[kind]}")
    for name in figures:
        if type(row[name]) is not int or not 0 <= row[name] <= LARGEST:
            raise BadBaselineError(f"{where}.{name} is {row[name]!r:.40}, and must be a whole number, 0 to 2**63 - 1")


_KINDS = {int: "a whole number", bool: "true or false", str: "a text"}
