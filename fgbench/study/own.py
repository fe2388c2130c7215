"""A study of your own, out of a TOML file; errors name the line and the key. No torch."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from fgbench.errors import FgbenchError, UnknownNameError
from fgbench.plugins.names import check_backbones, check_model_options, check_models, check_selectors
from fgbench.plugins.timm_names import optimizer_names
from fgbench.results.decoding import WORDS
from fgbench.results.reading import read_text
from fgbench.results.recipe import AUGREG
from fgbench.study.condition import Condition, Study
from fgbench.training.request import GIVEN_BY_COMMAND, MAX_BATCH, MAX_EPOCHS, PRECISIONS
from fgbench.values import MAX_IMAGE_SIZE

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

LARGEST_BYTES = 2**20
Name = Annotated[str, Meta(min_length=1)]
Steps = Annotated[int, Meta(ge=1, le=MAX_BATCH)]
ALLOWED = {"augreg": tuple(AUGREG), "mixed_precision": PRECISIONS}
EXAMPLE = 'a study is a list of [[condition]] with name = "…" and model = "…"'


class RecipeTable(Struct, forbid_unknown_fields=True, omit_defaults=True):
    """Fields of the recipe, as the options of ``fgbench accuracy`` have them."""

    epochs: Annotated[int, Meta(ge=1, le=MAX_EPOCHS)] | None = None
    batch_size: Steps | None = None
    accumulate: Steps | None = None
    optimizer: str | None = None
    weight_decay: Annotated[float, Meta(ge=0, le=1)] | None = None
    warmup_steps: Annotated[int, Meta(ge=0, le=MAX_BATCH)] | None = None
    augreg: Literal[tuple(AUGREG)] | None = None  # type: ignore[valid-type]
    mixed_precision: Literal[PRECISIONS] | None = None  # type: ignore[valid-type]

    def asked_for(self) -> dict[str, Any]:
        """The fields that the file has."""
        return {name: value for name in self.__struct_fields__ if (value := getattr(self, name)) is not None}


class ConditionTable(Struct, forbid_unknown_fields=True):
    """A ``[[condition]]``."""

    name: Name
    model: Name
    selector: Name | None = None
    backbone: Name | None = None
    size: Annotated[int, Meta(ge=1, le=MAX_IMAGE_SIZE)] | None = None
    options: dict[str, bool | int | float | str] = {}
    recipe: RecipeTable = msgspec.field(default_factory=RecipeTable)
    against: Name | None = None


class StudyTable(Struct, forbid_unknown_fields=True):
    """The file."""

    condition: Annotated[list[ConditionTable], Meta(min_length=1)]
    title: Name | None = None
    recipe: RecipeTable = msgspec.field(default_factory=RecipeTable)


class _File:
    """The text of the file, in which keys have lines."""

    def __init__(self, path: Path, text: str) -> None:
        self.path, self._lines = path, text.splitlines() or [""]

    def error(
        self, key: str, what: str, do: str = "", *, condition: int | None = None, met: Any = None
    ) -> FgbenchError:
        """An error at a key of the file, or of one of its conditions."""
        line = self.line_of(key, condition)
        return FgbenchError(f"{self.path}, line {line}, {key}: {what}", met, do)

    def line_of(self, key: str, condition: int | None) -> int:
        """The line of a key, from 1; that of its condition where the key is not there, and 1 without one."""
        first, last = self._of_condition(condition)
        pattern = re.compile(rf"""(^|[\s{{,.\["'])["']?{re.escape(key)}["']?\s*(=|\]|\.)""")
        found = (number for number in range(first, last) if pattern.search(self._lines[number].partition("#")[0]))
        return next(found, first) + 1

    def _of_condition(self, place: int | None) -> tuple[int, int]:
        """The lines of a condition, or those of the whole file."""
        starts = [number for number, line in enumerate(self._lines) if re.match(r"\s*\[\[\s*condition\s*\]\]", line)]
        if place is None or place >= len(starts):
            return 0, max(len(self._lines), 1)
        return starts[place], [*starts, len(self._lines)][place + 1]


def read_study(path: Path, plugin_files: Sequence[str] | None = None) -> Study:
    """Read a study.

    Args:
        path: The file.
        plugin_files: Plug-in files of the command; where there are any, names are checked later.

    Raises:
        FgbenchError: The file cannot be read, or is no study; with the line and the key.

    """
    try:
        text = read_text(path, LARGEST_BYTES)
    except (OSError, UnicodeDecodeError) as error:
        raise FgbenchError(
            "cannot read the study", str(path), getattr(error, "strerror", None) or str(error)
        ) from error
    file = _File(path, text)
    try:
        loaded = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise _not_toml(path, text, str(error)) from error
    try:
        table = msgspec.convert(loaded, StudyTable)
    except msgspec.ValidationError as error:
        raise _wrong(file, loaded, str(error)) from error
    _check_names(file, table, plugin_files)
    conditions = [
        Condition(
            name=each.name,
            model=each.model,
            selector=each.selector,
            backbone=each.backbone,
            image_size=each.size,
            options=each.options,
            recipe=each.recipe.asked_for(),
            against=each.against,
        )
        for each in table.condition
    ]
    study = Study(
        name=path.stem,
        title=table.title or path.stem,
        conditions=lambda _: conditions,
        recipe=table.recipe.asked_for(),
    )
    names = [condition.name for condition in conditions]
    for place, condition in enumerate(conditions):
        if condition.name in names[:place]:
            raise file.error("name", "two conditions have the name", "rename one", condition=place, met=condition.name)
        if condition.against is not None and (condition.against not in names or condition.against == condition.name):
            do = f"another one of: {', '.join(names)}"
            raise file.error("against", "must be another condition", do, condition=place, met=condition.against)
    return study


def _not_toml(path: Path, text: str, said: str) -> FgbenchError:
    """The error for a text that is no TOML; its line with it."""
    match = re.search(r"\(at line (\d+), column (\d+)\)", said)
    number = int(match[1]) if match else len(text.splitlines())
    lines = text.splitlines() or [""]
    what = said.partition(" (at ")[0]
    return FgbenchError(f"{path}, line {number}: this is no TOML: {what}:", lines[min(number, len(lines)) - 1].strip())


def _wrong(file: _File, loaded: Any, said: str) -> FgbenchError:
    """The error for a table that is no study, out of msgspec's words."""
    what, _, place = said.partition(" - at `$")
    keys = [int(number) if number else word for word, number in re.findall(r"\.(\w+)|\[(\d+)\]", place)]
    condition = next((key for key in keys if isinstance(key, int)), None)
    key = next((key for key in reversed(keys) if isinstance(key, str)), "condition")
    if unknown := re.match(r"Object contains unknown field `(.*)`$", what):
        table = RecipeTable if key == "recipe" else StudyTable if condition is None else ConditionTable
        error = UnknownNameError("key", unknown[1], table.__struct_fields__)
        return file.error(unknown[1], "unknown key", error.do, condition=condition)
    if missing := re.match(r"Object missing required field `(.*)`$", what):
        return file.error(missing[1], "is missing", EXAMPLE, condition=condition)
    met = loaded
    for one in keys:
        met = met[one] if isinstance(met, (dict, list)) else met
    known = ALLOWED.get(key)
    wanted = f"must be one of {', '.join(known)}" if known else _in_words(what)
    shown = met if isinstance(met, (str, int, float)) else msgspec.json.encode(met).decode()
    return file.error(key, f"{wanted}, got", condition=condition, met=shown)


def _in_words(said: str) -> str:
    """What msgspec expected, in plain words."""
    match = re.match(r"Expected `(\w+)[^`]*`(?: (of length)? ?>= (\d+))?(?: ?<= (\d+))?", said)
    if match is None:
        return f"is wrong ({said})"
    word, length, least, most = WORDS.get(match[1], match[1]), match[2], match[3], match[4]
    if length:
        return f"must be {word} that is not empty"
    return f"must be {word}" + (f" from {least}" if least else "") + (f" up to {most}" if most else "")


def _check_names(file: _File, table: StudyTable, plugins: Sequence[str] | None) -> None:
    """Refuse names and options that are not known."""
    with _at(file, "optimizer", None):
        _check_optimizer(table.recipe.optimizer)
    for place, each in enumerate(table.condition):
        with _at(file, "model", place):
            check_models([each.model], plugins)
        with _at(file, "selector", place):
            check_selectors([each.selector] if each.selector else None, plugins)
        with _at(file, "backbone", place):
            check_backbones([each.backbone] if each.backbone else None, plugins, beside=[each.model])
        with _at(file, "optimizer", place):
            _check_optimizer(each.recipe.optimizer)
        for option in each.options:
            with _at(file, option, place):
                check_model_options([option], [each.model], GIVEN_BY_COMMAND)


@contextmanager
def _at(file: _File, key: str, place: int | None) -> Iterator[None]:
    """Name the line and the key of an error."""
    try:
        yield
    except FgbenchError as error:
        raise file.error(key, error.what, error.do, condition=place, met=error.met) from error


def _check_optimizer(name: str | None) -> None:
    if name is not None and name not in optimizer_names():
        raise FgbenchError("timm has no optimizer", name, "for example momentum (plain SGD), sgd, adamw")
