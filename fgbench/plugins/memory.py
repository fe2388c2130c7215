"""Which foreign code passed its trial, and what it holds: kept in the cache until its code or a version changes.

Its code is the file or the package, and every other file that its trial loaded.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from fgbench.plugins.code import unchanged
from fgbench.results import cache
from fgbench.results.environment import code_digest, installed_version
from fgbench.workers.messages import Message

CODE = (".py", ".so", ".pyd")
MOST_FILES = 20_000  # of a package that is looked through
VERSIONS = ("fgbench", "torch", "timm")  # what foreign code meets


def state_of_file(path: str, content: bytes) -> str:
    """What tells a plug-in file, as it is now, from every other one."""
    return _digest("file", str(Path(path).absolute()), hashlib.sha256(content).hexdigest())


def state_of_point(about: Mapping[str, str]) -> str | None:
    """The same for an entry point and the package that it names; None where that cannot be looked through."""
    package = about["value"].partition(":")[0].partition(".")[0].strip()
    with suppress(Exception):  # whatever finders of others raise
        spec = importlib.util.find_spec(package)  # of a name without dots: it imports nothing
        places = (
            [] if spec is None else [*(spec.submodule_search_locations or ()), *([spec.origin] if spec.origin else [])]
        )
        files = sorted(file for place in places for file in _files(Path(place)))
        if files:
            return _digest("point", json.dumps(dict(about), sort_keys=True), json.dumps(files))
    return None


def recall(state: str | None) -> Message | None:
    """What a trial found before; None where it has to be tried."""
    answer = None if state is None else cache.read("plugin", {"state": state})
    return answer if isinstance(answer, dict) and unchanged(answer.get("files")) else None


def remember(state: str | None, answer: Message) -> None:
    """Keep what a trial found, where that can be done."""
    if state is not None:
        cache.write("plugin", {"state": state}, answer)


def _files(place: Path) -> Iterator[tuple[str, int, int]]:
    """(path, size, time) of the code of a package; raises where it is too large to be looked through."""
    paths = [place] if place.is_file() else [path for path in place.rglob("*") if path.suffix in CODE]
    if len(paths) > MOST_FILES:
        raise ValueError(f"{place} has {len(paths)} files")
    for path in paths:
        facts = path.stat()
        yield str(path), facts.st_size, facts.st_mtime_ns


def _digest(*words: str) -> str:
    versions = [f"{name} {installed_version(name)}" for name in VERSIONS]
    own = [code_digest(), *map(str, sorted(_files(Path(__file__).parent)))]  # contracts may change within a version
    met = [*words, *versions, *own, sys.version, sys.executable]
    return hashlib.sha256("\0".join(met).encode(errors="surrogateescape")).hexdigest()
