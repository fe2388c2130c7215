"""Cache of counted rows, which are valid while versions and code stay the same. No torch."""

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
from fgbench.plugins.timm_names import is_of_timm
from fgbench.plugins.trial_cache import state_of_file, state_of_point
from fgbench.results import cache
from fgbench.results.environment import digest_of_code
from fgbench.results.reduced_name import is_function
from fgbench_selectors.entries import Entry
from fgbench_selectors.plugins import module_name

OWN_PACKAGES = ("fgbench", "fgbench_selectors")
LIBRARIES = ("timm", "fvcore")  # by size and time of their files: a checkout can change without a new version
SETTINGS = ("TIMM_", "TORCH_", "PYTORCH_")  # environment variables that change what libraries build


@dataclass(frozen=True, slots=True)
class CacheEntry:
    """The entry of one value. Where plug-ins were used, it is valid while all files that they import are unchanged.

    Args:
        key: Everything that determines the value; None where nothing is read or written.
        reads: Whether a kept value is used.

    """

    key: Mapping[str, Any] | None
    reads: bool

    def read(self) -> Any:
        """The kept value, or None."""
        entry = cache.read("counted", self.key) if self.reads and self.key is not None else None
        return entry["value"] if isinstance(entry, dict) and unchanged(entry.get("files")) else None

    def write(self, value: Any) -> None:
        """Keep a value."""
        if self.key is not None:
            files = loaded_files() if "foreign" in self.key else []
            cache.write("counted", self.key, {"value": value, "files": files})


@dataclass(frozen=True, slots=True)
class CountedCache:
    """The cache as a command uses it.

    Args:
        keeps: Whether counted rows are kept.
        reads: Whether kept rows are used; False counts everything anew.

    """

    keeps: bool = False
    reads: bool = True

    def entry(self, kind: str, key: Mapping[str, Any], names: Iterable[str | None]) -> CacheEntry:
        """The entry of a value.

        Args:
            kind: ``backbone`` or ``model``.
            key: Everything of the request that determines the value, with the ``backbone``.
            names: Names of the models and selectors that are counted.

        """
        if not self.keeps:
            return CacheEntry(None, reads=False)
        code = _code_of({name for name in names if name is not None}, key["backbone"])
        return CacheEntry(None if code is None else {"kind": kind, **key, **code}, self.reads)


@dataclass(slots=True)
class WarningRecorder:
    """Shows every warning once, and tells whether there were any: a count with warnings is not kept in the cache."""

    texts: set[str] = field(default_factory=set)

    @contextmanager
    def recorded(self) -> Iterator[list[warnings.WarningMessage]]:
        """A context with a list of the warnings inside; new ones are shown at its end."""
        caught: list[warnings.WarningMessage] = []
        try:
            with warnings.catch_warnings(record=True) as caught:
                yield caught
        finally:
            for warning in caught:
                if str(warning.message) not in self.texts:
                    self.texts.add(str(warning.message))
                    warnings.showwarning(warning.message, warning.category, warning.filename, warning.lineno)


def library_version(package: str) -> str | None:
    """The version in a package's own version.py (torch 2.6.0+cu124), or that of its distribution; no import."""
    spec = importlib.util.find_spec(package)
    if spec is not None and spec.origin is not None:
        try:
            text = Path(spec.origin).with_name("version.py").read_text(encoding="utf-8")
        except OSError:
            text = ""
        if match := re.search(r"""^__version__ = ["']([^"']+)["']""", text, re.MULTILINE):
            return match[1]
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _code_of(names: set[str], backbone: str) -> dict[str, Any] | None:
    """Versions and digests of the code that counts of these names depend on; None where they are not known."""
    entries = [entry for kind in KINDS for entry in kind.registry.entries().values() if not entry.is_own]
    foreign = [entry for entry in entries if entry.value or entry.file]  # without either it is broken
    settings = {name: value for name, value in sorted(os.environ.items()) if name.startswith(SETTINGS)}
    own = _own_code()
    if own is None or any(map(is_function, names)):  # what a function reads is known only where it runs
        return None
    code: dict[str, Any] = {**own, "settings": settings}
    # A plug-in may use another one, or change timm when it is imported: all of them count.
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
    if not all(own):  # fgbench is in an archive, or has no sources
        return None
    return {
        **libraries,
        "python": platform.python_version(),
        "code": digest_of_code(file for files in own for file in files),
        "libraries": _digest_of_stamps(file for package in LIBRARIES for file in _sources(package)),
    }


def _is_loaded(entry: Entry) -> bool:
    """Whether the module of a plug-in is imported in this process."""
    return (entry.value.partition(":")[0].strip() if entry.file is None else module_name(entry.file)) in sys.modules


def _foreign_code(entry: Entry) -> str | None:
    """A digest of the code of a plug-in; None where its files cannot be listed."""
    if entry.file is None:
        about = {"name": entry.name, "origin": entry.origin, "value": entry.value}
        return state_of_point(about)
    try:
        return state_of_file(str(entry.file), entry.file.read_bytes())
    except OSError:
        return None


def _sources(package: str) -> list[Path]:
    """The Python files of a package, or of a module that is one file; no import."""
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
