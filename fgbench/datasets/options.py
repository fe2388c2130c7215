"""Options of a data set as they are typed, ``classes=24``, and as its reader wants them."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

from fgbench.errors import FgbenchError

WORDS = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}
WANTED = {int: "a whole number", float: "a number", bool: "true or false"}


def typed_options(read: Callable[..., object], name: str, options: Mapping[str, str]) -> dict[str, Any]:
    """Options of the types that the reader's parameters are annotated with: int, float, str, bool, Path, Literal.

    Its first parameter, the folder, is no option; a reader with ``**options`` takes any, as text. Raises
    :class:`FgbenchError` for a name that it does not have and a value that does not fit.
    """
    _, *parameters = inspect.signature(read, eval_str=True).parameters.values()
    kinds = {p.name: p.annotation for p in parameters if p.kind is not p.VAR_KEYWORD}
    takes_any = any(p.kind is p.VAR_KEYWORD for p in parameters)
    for option in options:
        if option not in kinds and not takes_any:
            has = f"it has: {', '.join(sorted(kinds))}" if kinds else "it has none"
            raise FgbenchError(f"data set {name!r} has no option", option, has)
    return {option: _typed(f"option {option} of {name}", word, kinds.get(option)) for option, word in options.items()}


def _typed(what: str, word: str, kind: Any) -> Any:
    if get_origin(kind) in (Union, UnionType):  # X | None; None is what a reader has when nothing is typed
        kind = next(part for part in get_args(kind) if part is not NoneType)
    if get_origin(kind) is Literal:
        if word not in get_args(kind):
            raise FgbenchError(f"{what} cannot be", word, f"it is one of {', '.join(map(str, get_args(kind)))}")
        return word
    try:
        if kind is bool:
            return WORDS[word.lower()]
        return kind(word) if kind in (int, float, Path) else word
    except (ValueError, KeyError) as error:
        raise FgbenchError(f"{what} must be {WANTED[kind]}, got", word) from error
