"""What was found once and stays true for the same versions and code: a file each, and never a cause of errors.

The files lie in ``FGBENCH_CACHE``, by default in the user's folder for caches; ``FGBENCH_CACHE=off`` keeps none.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from platformdirs import user_cache_path

from fgbench.results.reading import opened

MOST_FILES = 2000  # the oldest go


def folder() -> Path | None:
    """The folder of the cache; None where nothing is to be kept."""
    named = os.environ.get("FGBENCH_CACHE")
    if named == "off":
        return None
    return Path(named) if named else user_cache_path("fgbench", appauthor=False)


def read(kind: str, key: Mapping[str, Any]) -> Any:
    """What was written under a key; None where there is nothing, or not what was written."""
    place = folder()
    if place is None:
        return None
    try:
        with opened(_file(place, kind, key)) as file:
            digest, _, text = file.read().decode("utf-8").partition("\n")
        return json.loads(text) if digest == _digest(text) else None
    except (OSError, ValueError, RecursionError):
        return None


def write(kind: str, key: Mapping[str, Any], value: Any) -> None:
    """Keep a value, whole or not at all; where that cannot be done, nothing is kept."""
    place = folder()
    if place is None:
        return
    text = json.dumps(value)
    with contextlib.suppress(OSError, ValueError):
        place.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=place, prefix=".new.")
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                file.write(f"{_digest(text)}\n{text}")
            Path(name).replace(_file(place, kind, key))
        except BaseException:
            with contextlib.suppress(OSError):
                Path(name).unlink()
            raise
        _prune(place)


def _file(place: Path, kind: str, key: Mapping[str, Any]) -> Path:
    return place / f"{kind}-{_digest(json.dumps(key, sort_keys=True))[:32]}.json"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _prune(place: Path) -> None:
    files = [entry for entry in os.scandir(place) if entry.name.endswith(".json")]
    if len(files) > MOST_FILES:
        for entry in sorted(files, key=lambda entry: entry.stat().st_mtime)[: len(files) - MOST_FILES // 2]:
            with contextlib.suppress(OSError):
                Path(entry.path).unlink()
