"""Cache of trials that passed: a result is valid until the code of the plug-in or a version changes.

The code is the file or the package, and every other file that the trial loaded.
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
MOST_FILES = 20_000  # of a package; larger ones are tried every time
VERSIONS = ("fgbench", "torch", "timm")  # packages that plug-ins use


def state_of_file(path: str, content: bytes) -> str:
    """A digest of a plug-in file and of the versions that it is used with.

    Args:
        path: Its path.
        content: Its content.

    """
    return _digest("file", str(Path(path).absolute()), hashlib.sha256(content).hexdigest())


def state_of_point(about: Mapping[str, str]) -> str | None:
    """A digest of an entry point, of its package and of the versions that it is used with.

    Args:
        about: ``group``, ``name``, ``origin`` and ``value`` of the entry point.

    Returns:
        The digest, or None where the files of the package cannot be listed.

    """
    package = about["value"].partition(":")[0].partition(".")[0].strip()
    with suppress(Exception):  # finders of other packages can raise anything
        spec = importlib.util.find_spec(package)  # a name without dots: nothing is imported
        locations = (
            [] if spec is None else [*(spec.submodule_search_locations or ()), *([spec.origin] if spec.origin else [])]
        )
        files = sorted(file for location in locations for file in _files(Path(location)))
        if files:
            return _digest("point", json.dumps(dict(about), sort_keys=True), json.dumps(files))
    return None


def recall(state: str | None) -> Message | None:
    """The kept answer of a trial; None where the plug-in has to be tried."""
    answer = None if state is None else cache.read("plugin", {"state": state})
    return answer if isinstance(answer, dict) and unchanged(answer.get("files")) else None


def remember(state: str | None, answer: Message) -> None:
    """Keep the answer of a trial; without a state nothing is kept."""
    if state is not None:
        cache.write("plugin", {"state": state}, answer)


def _files(location: Path) -> Iterator[tuple[str, int, int]]:
    """(path, size in bytes, time in ns) of the code of a package; raises where it has too many files."""
    paths = [location] if location.is_file() else [path for path in location.rglob("*") if path.suffix in CODE]
    if len(paths) > MOST_FILES:
        raise ValueError(f"{location} has {len(paths)} files")
    for path in paths:
        facts = path.stat()
        yield str(path), facts.st_size, facts.st_mtime_ns


def _digest(*words: str) -> str:
    versions = [f"{name} {installed_version(name)}" for name in VERSIONS]
    own = [code_digest(), *map(str, sorted(_files(Path(__file__).parent)))]  # contracts may change within a version
    texts = [*words, *versions, *own, sys.version, sys.executable]
    return hashlib.sha256("\0".join(texts).encode(errors="surrogateescape")).hexdigest()
