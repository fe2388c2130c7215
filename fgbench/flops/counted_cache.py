"""Counted rows that are true for as long as versions and code stay the same. No torch."""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import os
import platform
import re
import sys
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from fgbench.plugins.code import loaded_files, unchanged
from fgbench.plugins.kinds import KINDS
from fgbench.plugins.memory import state_of_file, state_of_point
from fgbench.plugins.timm_names import is_of_timm
from fgbench.results import cache
from fgbench.results.environment import digest_of_code
from fgbench_selectors.entries import Entry
from fgbench_selectors.plugins import module_name

OWN_PACKAGES = ("fgbench", "fgbench_selectors")
LIBRARIES = ("timm", "fvcore")  # python files by size and time: versions say nothing of a checkout that is worked on
SETTINGS = ("TIMM_", "TORCH_", "PYTORCH_")  # environment variables that change what libraries build


@dataclass(frozen=True, slots=True)
class CacheEntry:
    """The place of one value; without a key nothing is read and nothing kept.

    With the code of others a value is true for as long as all that they import is as it was.
    """

    key: Mapping[str, Any] | None
    reads: bool

    def read(self) -> Any:
        """What was kept, or None."""
        kept = cache.read("counted", self.key) if self.reads and self.key is not None else None
        return kept["value"] if isinstance(kept, dict) and unchanged(kept.get("files")) else None

    def write(self, value: Any) -> None:
        """Keep a value."""
        if self.key is not None:
            files = loaded_files() if "foreign" in self.key else []
            cache.write("counted", self.key, {"value": value, "files": files})


@dataclass(frozen=True, slots=True)
class CountedCache:
    """The cache as a command uses it: ``keeps`` counted rows, and ``reads`` them unless all is to be counted anew."""

    keeps: bool = False
    reads: bool = True

    def entry(self, kind: str, key: Mapping[str, Any], names: Iterable[str | None]) -> CacheEntry:
        """The place of what was counted with models and selectors of these names, on the ``backbone`` of the key."""
        if not self.keeps:
            return CacheEntry(None, reads=False)
        code = _code_of({name for name in names if name is not None}, key["backbone"])
        return CacheEntry(None if code is None else {"kind": kind, **key, **code}, self.reads)


@dataclass(slots=True)
class Hearing:
    """Warnings of what is counted, each shown once. What warned is not kept: nobody would hear of it the next time."""

    texts: set[str] = field(default_factory=set)

    @contextmanager
    def heard(self) -> Iterator[list[warnings.WarningMessage]]:
        """Inside, warnings are noted, in the list; they are shown at the end."""
        caught: list[warnings.WarningMessage] = []
        try:
            with warnings.catch_warnings(record=True) as caught:
                yield caught
        finally:
            for each in caught:
                if str(each.message) not in self.texts:
                    self.texts.add(str(each.message))
                    warnings.showwarning(each.message, each.category, each.filename, each.lineno)


def library_version(package: str) -> str | None:
    """The version of a package as it tells itself (torch 2.6.0+cu124), without importing it."""
    spec = importlib.util.find_spec(package)
    if spec is not None and spec.origin is not None:
        try:
            text = Path(spec.origin).with_name("version.py").read_text(encoding="utf-8")
        except OSError:
            text = ""
        if found := re.search(r"""^__version__ = ["']([^"']+)["']""", text, re.MULTILINE):
            return found[1]
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _code_of(names: set[str], backbone: str) -> dict[str, Any] | None:
    """The versions and the code that counts of these names rest on; None where that cannot be said."""
    entries = [entry for kind in KINDS for entry in kind.registry.entries().values() if not entry.is_own]
    foreign = [entry for entry in entries if entry.value or entry.file]  # others can only be named as broken
    settings = {name: value for name, value in sorted(os.environ.items()) if name.startswith(SETTINGS)}
    own = _own_code()
    if own is None:
        return None
    code: dict[str, Any] = {**own, "settings": settings}
    # What one of them uses of the others, or does to timm when it is loaded, is not known: all count.
    if not is_of_timm(backbone) or any(entry.name in names or _is_loaded(entry) for entry in foreign):
        digests = [_foreign_code(entry) for entry in foreign]
        if None in digests:
            return None
        code["foreign"] = digests
    return code


@functools.cache
def _own_code() -> dict[str, Any] | None:
    libraries = {package: library_version(package) for package in ("torch", *LIBRARIES)}
    own = [_sources(package) for package in OWN_PACKAGES]
    if not all(own):  # an archive, or no sources at all
        return None
    return {
        **libraries,
        "python": platform.python_version(),
        "code": digest_of_code(file for files in own for file in files),
        "libraries": _digest_of_stamps(file for package in LIBRARIES for file in _sources(package)),
    }


def _is_loaded(entry: Entry) -> bool:
    """Whether the code of a foreign name runs in this process."""
    return (entry.value.partition(":")[0].strip() if entry.file is None else module_name(entry.file)) in sys.modules


def _foreign_code(entry: Entry) -> str | None:
    """What tells the code of a foreign name, as it is now, from every other; None where it cannot be looked through."""
    if entry.file is None:
        about = {"name": entry.name, "origin": entry.origin, "value": entry.value}
        return state_of_point(about)
    try:
        return state_of_file(str(entry.file), entry.file.read_bytes())
    except OSError:
        return None


def _sources(package: str) -> list[Path]:
    """The Python files of a package, or of a module that is one file. Nothing is imported."""
    try:
        spec = importlib.util.find_spec(package) if package else None
    except (ImportError, ValueError):
        return []
    if spec is None:
        return []
    if spec.submodule_search_locations:
        return sorted(file for folder in spec.submodule_search_locations for file in Path(folder).rglob("*.py"))
    return [Path(spec.origin)] if spec.origin and spec.origin.endswith(".py") else []


def _stamp(file: Path) -> bytes:
    status = file.stat()
    return f"{status.st_size} {status.st_mtime_ns}".encode()


def _digest_of_stamps(files: Iterable[Path]) -> str:
    digest = hashlib.sha256()
    for file in files:
        digest.update(file.name.encode() + b"\0" + _stamp(file) + b"\0")
    return digest.hexdigest()
