"""Digests and files of the code of plug-ins: results that were made with other code are not valid any more."""

from __future__ import annotations

import ast
import functools
import hashlib
import importlib.util
import inspect
import sys
from collections.abc import Iterator
from contextlib import suppress
from importlib.metadata import packages_distributions, version
from pathlib import Path
from types import ModuleType
from typing import Any

from fgbench_selectors.plugins import PREFIX

BUILT = "-"  # in a digest, before that of what the code has built
OURS = ("fgbench", "fgbench_selectors", "fgbench_reports", "builtins")
KNOWN = frozenset((*OURS, "torch", "timm"))
KNOWN_BY_VERSION = frozenset({*OURS, *sys.stdlib_module_names, "torch", "timm", "fvcore", "__main__"})


def foreign_code(*objects: Any, structure: str = "") -> str | None:
    """A digest of the code of classes and functions; None where all of them belong to fgbench.

    It covers the files that define them and the files of modules that these use by name. Libraries in the folder that
    torch is installed in count by their versions.

    Args:
        objects: Classes and functions.
        structure: What they have built, perhaps from files that nobody knows of, in words. It may depend on the size of
            images and on the number of classes.

    Returns:
        16 hexadecimal digits; behind a hyphen 8 more of the structure, where there is one.

    """
    foreign = [value for value in map(_unwrapped, objects) if value.__module__.partition(".")[0] not in KNOWN]
    own = [file for file in map(inspect.getsourcefile, foreign) if file]
    used, libraries = _used_by({value.__module__ for value in foreign})
    files = [*own, *sorted(used - set(own))]
    content = b"".join(Path(file).read_bytes() for file in files) + " ".join(sorted(libraries)).encode()
    built = f"{BUILT}{hashlib.sha256(structure.encode()).hexdigest()[:8]}" if structure else ""
    return hashlib.sha256(content).hexdigest()[:16] + built if files else None


def _used_by(names: set[str]) -> tuple[set[str], set[str]]:
    """Files of the modules that these modules use, and libraries with their versions."""
    library_folder = _library_folder()
    packages = {name.partition(".")[0] for name in names}
    files, libraries, seen, queue = set(), set(), set(names), list(names)
    while queue:
        for name in _names_in(sys.modules.get(queue.pop())):
            if name in seen or name.partition(".")[0] in KNOWN_BY_VERSION:
                continue
            seen.add(name)
            file, package = getattr(sys.modules.get(name), "__file__", None), name.partition(".")[0]
            if not isinstance(file, str) or not Path(file).is_file():
                continue
            if package not in packages and library_folder in Path(file).parents:
                libraries |= {f"{library} {version(library)}" for library in _distributions().get(package, ())}
            else:
                files.add(file)
                queue.append(name)
    return files, libraries


def _names_in(module: Any) -> Iterator[str]:
    """The names of modules that a module has something of, or imports anywhere: inside of a function, a constant."""
    for value in list(vars(module).values()) if isinstance(module, ModuleType) else ():
        with suppress(Exception):  # attributes of plug-ins can raise anything
            name = value.__name__ if isinstance(value, ModuleType) else value.__module__
            if isinstance(name, str):
                yield name
    with suppress(Exception):  # there may be no source
        package = module.__package__
        for node in ast.walk(ast.parse(Path(module.__file__).read_bytes())):
            if isinstance(node, ast.Import):
                yield from (alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                home = importlib.util.resolve_name("." * node.level + (node.module or ""), package)
                yield from (home, *(f"{home}.{alias.name}" for alias in node.names))


def _library_folder() -> Path | None:
    spec = importlib.util.find_spec("torch")
    return Path(spec.origin).parents[1] if spec is not None and spec.origin else None


_distributions = functools.cache(packages_distributions)


def _unwrapped(value: Any) -> Any:
    if isinstance(value, functools.partial):
        return _unwrapped(value.func)
    if isinstance(value, type):
        return value
    unwrapped = inspect.unwrap(value)
    return unwrapped if inspect.isroutine(unwrapped) else type(unwrapped)  # an object that can be called


def loaded_files() -> list[list[Any]]:
    """The files that modules of this process were loaded from, without plug-in files and :data:`KNOWN_BY_VERSION`.

    They include everything that plug-ins import. A result of their code is valid while :func:`unchanged` holds.

    Returns:
        [path, size in bytes, time in ns] of each file, sorted.

    """
    files = set()
    for name, module in list(sys.modules.items()):
        with suppress(Exception):  # plug-ins can put anything there
            known = name.partition(".")[0] in KNOWN_BY_VERSION or name.startswith(PREFIX)
            if not known and (file := _existing(Path(module.__file__ or ""))):
                files.add(file)
    return sorted(_stamp(file) for file in files)


def unchanged(files: Any) -> bool:
    """Whether all files of a result of :func:`loaded_files` have the same size and time."""
    if not isinstance(files, list):
        return False
    with suppress(OSError, TypeError, ValueError, LookupError):
        return all(_stamp(Path(file[0])) == file for file in files)
    return False


def _existing(path: Path) -> Path | None:
    """The file at a path, or the archive that contains the path."""
    path = path.absolute()
    existing = next((candidate for candidate in (path, *path.parents) if candidate.exists()), None)
    return existing if existing is not None and existing.is_file() else None


def _stamp(file: Path) -> list[Any]:
    status = file.stat()
    return [str(file), status.st_size, status.st_mtime_ns]
