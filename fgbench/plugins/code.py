"""The code of foreign objects: other code is another point, and nothing that was found with it before stays true."""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import inspect
import sys
from contextlib import suppress
from importlib.metadata import packages_distributions, version
from pathlib import Path
from types import ModuleType
from typing import Any

from fgbench_selectors.plugins import PREFIX

OURS = ("fgbench", "fgbench_selectors", "fgbench_reports", "builtins")
KNOWN_BY_VERSION = frozenset({*OURS, *sys.stdlib_module_names, "torch", "timm", "fvcore", "__main__"})


def foreign_code(*objects: Any) -> str | None:
    """A digest of the code that classes and functions of others are made of; None where all are fgbench's own.

    That is the files that define them, and those of the modules that these use by name. Libraries that are installed
    beside torch tell their code by their version.
    """
    foreign = [each for each in map(_unwrapped, objects) if each.__module__.partition(".")[0] not in OURS]
    own = [file for file in map(inspect.getsourcefile, foreign) if file]
    used, libraries = _used_by({each.__module__ for each in foreign})
    files = [*own, *sorted(used - set(own))]
    content = b"".join(Path(file).read_bytes() for file in files) + " ".join(sorted(libraries)).encode()
    return hashlib.sha256(content).hexdigest()[:16] if files else None


def _used_by(names: set[str]) -> tuple[set[str], set[str]]:
    """The files of modules that modules of these names use, and libraries with their versions."""
    beside_torch = _library_folder()
    packages = {name.partition(".")[0] for name in names}
    files, libraries, seen, left = set(), set(), set(names), list(names)
    while left:
        module = sys.modules.get(left.pop())
        for value in list(vars(module).values()) if isinstance(module, ModuleType) else ():
            name = None
            with suppress(Exception):  # whatever foreign objects do
                name = value.__name__ if isinstance(value, ModuleType) else value.__module__
            if not isinstance(name, str) or name in seen or name.partition(".")[0] in KNOWN_BY_VERSION:
                continue
            seen.add(name)
            file, package = getattr(sys.modules.get(name), "__file__", None), name.partition(".")[0]
            if not isinstance(file, str) or not Path(file).is_file():
                continue
            if package not in packages and beside_torch in Path(file).parents:
                libraries |= {f"{each} {version(each)}" for each in _distributions().get(package, ())}
            else:
                files.add(file)
                left.append(name)
    return files, libraries


def _library_folder() -> Path | None:
    spec = importlib.util.find_spec("torch")
    return Path(spec.origin).parents[1] if spec is not None and spec.origin else None


_distributions = functools.cache(packages_distributions)


def _unwrapped(value: Any) -> Any:
    return value if isinstance(value, type) else inspect.unwrap(value)


def loaded_files() -> list[list[Any]]:
    """[path, size, time] of the files that modules were loaded from, but of plug-in files and what a version tells.

    What foreign code imports, by whatever way, is among them: what is found with it is true for as long as they are as
    they are, see :func:`unchanged`.
    """
    files = set()
    for name, module in list(sys.modules.items()):
        with suppress(Exception):  # foreign code may put anything there
            known = name.partition(".")[0] in KNOWN_BY_VERSION or name.startswith(PREFIX)
            if not known and (file := _existing(Path(module.__file__ or ""))):
                files.add(file)
    return sorted(_stamp(file) for file in files)


def unchanged(files: Any) -> bool:
    """Whether files of :func:`loaded_files` are as they were."""
    if not isinstance(files, list):
        return False
    with suppress(OSError, TypeError, ValueError, LookupError):
        return all(_stamp(Path(file[0])) == file for file in files)
    return False


def _existing(path: Path) -> Path | None:
    """The file that a path leads into: itself, or the archive that it is in."""
    path = path.absolute()
    found = next((each for each in (path, *path.parents) if each.exists()), None)
    return found if found is not None and found.is_file() else None


def _stamp(file: Path) -> list[Any]:
    status = file.stat()
    return [str(file), status.st_size, status.st_mtime_ns]
