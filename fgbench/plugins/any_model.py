"""Models that are not registered: any classifier of timm by its name, any function that returns a network. No torch."""

from __future__ import annotations

import ast
import difflib
import functools
import importlib
import importlib.util
import inspect
import pkgutil
import re
import sys
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from fgbench.errors import BadFunctionError, FgbenchError, UnknownNameError
from fgbench.plugins import timm_names
from fgbench.plugins.facts import class_facts
from fgbench.results.reduced_name import ReducedName, is_function
from fgbench_selectors.entries import Entry
from fgbench_selectors.plugins import existing_file, import_file

TIMM = "timm"
PREFIX = "timm/"  # that people may type before timm's names
MODULE = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")
SHOWN = 12  # names of functions in a message


def any_model(name: str) -> Entry | None:
    """The entry of a model that is not registered; None for a name that is none.

    Args:
        name: A name of timm, perhaps behind ``timm/``; ``file.py:function`` or ``package.module:function``; a model
            with a reduction, such as ``vit+evit@0.7``.

    Raises:
        FgbenchError: If no function is named, or there is no such reduction.

    """
    if (found := ReducedName.of(name)) is not None:
        return _reduced(name, found)
    if name.removesuffix(":").endswith(".py"):
        raise _no_function(name.removesuffix(":"))
    place, colon, function = name.rpartition(":")
    if colon and function.isidentifier():
        if place.endswith(".py"):
            return Entry(name, place, functools.partial(_of_file, name, Path(place), function))
        if MODULE.fullmatch(place):
            return Entry(name, place, functools.partial(_of_module, name, place, function))
        return None
    timms = name.removeprefix(PREFIX)
    if timms and timm_names.is_timm_model(timms):
        return Entry(name, TIMM, functools.partial(_of_timm, timms))
    return None


def _no_function(file: str) -> FgbenchError:
    """The error for a file without the name of a function; it shows the functions that the file defines."""
    try:
        body = ast.parse(Path(file).read_bytes()).body if Path(file).is_file() else []
    except (OSError, ValueError, SyntaxError):
        body = []
    there = [node.name for node in body if isinstance(node, ast.FunctionDef) and not node.name.startswith("_")][:SHOWN]
    do = f"write {file}:{there[0] if len(there) == 1 else 'FUNCTION'}"
    do += f"; it has: {', '.join(there)}" if len(there) > 1 else ""
    return FgbenchError("a file needs the name of a function that returns a network:", file, do)


def short_name(name: str) -> str:
    """A model's name without ``timm/``, unless a registered model has that name."""
    from fgbench.plugins.kinds import models  # which asks this module for names that it does not know

    short = name.removeprefix(PREFIX)
    return name if short in models.names() else short


def near_names(name: str) -> list[str]:
    """Names of timm that are like a name."""
    return difflib.get_close_matches(name.removeprefix(PREFIX), timm_names.model_names(), n=2, cutoff=0.7)


def timms_name(name: str) -> str | None:
    """The name that timm has for a model that is not registered; None for one that is not timm's."""
    timms = name.removeprefix(PREFIX)
    return timms if not is_function(name) and timm_names.is_timm_model(timms) else None


def _reduced(name: str, found: ReducedName) -> Entry | None:
    """The entry of a model that reduces tokens; None where the model itself is not known."""
    from fgbench.plugins.kinds import models, reductions  # which ask this module for names that they do not know

    if not models.knows(found.model):
        return None
    if found.reduction not in reductions.entries():
        raise UnknownNameError(reductions.kind, found.reduction, reductions.names())
    base = models.entry(found.model)
    own = base.is_own and base.value
    if base.origin == TIMM or (own and "reduction" not in class_facts(base.value).options):
        do = f"a plain ViT of timm is reduced as vit+{found.reduction} with --backbones NAME"
        raise FgbenchError(f"model {found.model!r} has no tokens that could be reduced by", found.reduction, do)
    return Entry(name, base.origin, functools.partial(_load_reduced, name), file=base.file, value=base.value)


def _load_reduced(name: str) -> Any:
    return pkgutil.resolve_name("fgbench.models.reductions.named:reduced_model")(name)


def _of_timm(name: str) -> Any:
    return _made("timm_network", name)


def lacks_file(name: str) -> str | None:
    """Why a name in the form ``file.py:function`` stands for nothing: there is no such file. None for all others."""
    place, colon, function = name.rpartition(":")
    is_one = bool(colon) and function.isidentifier() and place.endswith(".py") and ReducedName.of(name) is None
    return (
        f"no file with a function that returns a network: {place!r}" if is_one and not Path(place).is_file() else None
    )


def _of_file(name: str, path: Path, function: str) -> Any:
    if why := lacks_file(name):
        raise BadFunctionError(name, str(path), why)
    file, status = existing_file(path).resolve(), path.stat()
    module = _module_of(file, status.st_mtime_ns, status.st_size)
    return _function_network(name, module, function, str(path))


@functools.lru_cache(maxsize=16)
def _module_of(file: Path, *_: int) -> Any:
    """The module of a file, which may load weights: it runs once in a process, as long as the file stays the same."""
    with _settings_kept():
        return import_file(file)


def _of_module(name: str, module: str, function: str) -> Any:
    _find_in_working_folder(module.partition(".")[0])
    with _settings_kept():
        imported = importlib.import_module(module)
    return _function_network(name, imported, function, module)


def _find_in_working_folder(package: str) -> None:
    """Let a package that is not installed be found in the working folder, as ``python -m`` finds it.

    The folder comes last in the import path: no library is taken from there.
    """
    folder = str(Path.cwd())
    if package not in sys.modules and folder not in sys.path and importlib.util.find_spec(package) is None:
        sys.path.append(folder)
        importlib.invalidate_caches()


def _settings_kept() -> AbstractContextManager[Any]:
    """A context in which a module makes tensors on the CPU, and after which settings are as before."""
    context: AbstractContextManager[Any] = pkgutil.resolve_name("fgbench.models.settings:settings_kept")()
    return context


def _made(function: str, *arguments: Any) -> Any:
    """The class that a function of :mod:`fgbench.models.any_network` makes, which imports torch."""
    return pkgutil.resolve_name(f"fgbench.models.any_network:{function}")(*arguments)


def _function_network(name: str, module: Any, function: str, place: str) -> Any:
    """The class of the networks of a function. Raises :class:`BadFunctionError` where there is no such function."""
    if not hasattr(module, function):
        there = [name for name, value in vars(module).items() if inspect.isfunction(value) and name[0] != "_"]
        near = difflib.get_close_matches(function, there, n=SHOWN)
        shown = list(dict.fromkeys([*near, *there]))[:SHOWN]
        more = ", …" if len(there) > SHOWN else ""
        has = f"it has: {', '.join(shown)}{more}" if shown else "it has none at all"
        raise BadFunctionError(name, place, f"{place} has no function {function!r}; {has}")
    try:
        return _made("function_network", name, getattr(module, function))
    except FgbenchError as error:
        raise BadFunctionError(name, place, str(error)) from error
