"""Files that travel: plug-ins and models that are functions in files with a request, the store of a node back."""

from __future__ import annotations

import hashlib
import os
import sqlite3
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

from fgbench.errors import FgbenchError
from fgbench.results.reduced_name import base_model, is_function

Request = TypeVar("Request", bound=Any)
DIGITS = 16


@dataclass(frozen=True, slots=True)
class Files:
    """Contents by the path that was typed."""

    plugins: Mapping[str, bytes]
    models: Mapping[str, bytes]  # below the folder that the command was called in
    studies: Mapping[str, bytes] = field(default_factory=dict)


def pack(request: Any, models: Sequence[str], study: str = "") -> Files:
    """Read the files of a request.

    Args:
        request: It has ``plugins``.
        models: Names, some of which may be functions in files.
        study: The name of a study, or of its file.

    Raises:
        FgbenchError: A model's file has a path that no other machine could give it.

    """
    plugins = {str(path): Path(path).read_bytes() for path in request.plugins}
    sources: dict[str, bytes] = {}
    for name in models:
        place, colon, _ = base_model(name).rpartition(":")
        if is_function(name) and colon and place.endswith(".py") and Path(place).is_file():
            if Path(place).is_absolute() or ".." in Path(place).parts:
                do = "call the command in its folder, so that its name is the same on all nodes"
                raise FgbenchError("a model's file travels by its relative path, got", place, do)
            sources[place] = Path(place).read_bytes()
    studies = {study: Path(study).read_bytes()} if study.lower().endswith(".toml") else {}
    return Files(plugins=plugins, models=sources, studies=studies)


def unpack(request: Request, files: Files) -> Request:
    """Write the files on this node, where there are any, and name them in the request.

    Files of models lie below the working folder afterwards, which is a new one; plug-ins in folders by their digests.
    """
    if files.models:
        folder = _folder(b"".join(name.encode() + text for name, text in files.models.items()))
        for place, content in files.models.items():
            (folder / place).parent.mkdir(parents=True, exist_ok=True)
            (folder / place).write_bytes(content)
        os.chdir(folder)
    if not files.plugins:
        return request
    return replace(request, plugins=[_written(Path(path), content) for path, content in files.plugins.items()])


def unpack_message(request: Mapping[str, Any], files: Files) -> dict[str, Any]:
    """As :func:`unpack`, for a request that is a message, which may name a file of a study too."""
    written = unpack(_Plugins(request["plugins"]), files).plugins
    study = str(request.get("study", ""))
    named = {"study": _written(Path(study), files.studies[study])} if study in files.studies else {}
    return {**request, "plugins": list(written), **named}


@dataclass(frozen=True, slots=True)
class _Plugins:
    plugins: Sequence[str]


def _written(path: Path, content: bytes) -> str:
    """The path of a file with this content on this machine."""
    if path.is_file() and path.read_bytes() == content:
        return str(path)
    place = _folder(content) / path.name
    if not place.is_file():
        place.write_bytes(content)
    return str(place)


def _folder(content: bytes) -> Path:
    """A folder of this user's for files of this content: the same for every request, since plug-ins are known by it."""
    digest = hashlib.sha256(content).hexdigest()[:DIGITS]
    folder = Path(tempfile.gettempdir()) / f"fgbench-{os.getuid()}-files" / digest
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder


def content_of(store: Path) -> bytes:
    """A store as it is after its last transaction, in one piece."""
    copy = store.with_suffix(".copy")
    with closing(sqlite3.connect(store)) as db, closing(sqlite3.connect(copy)) as target:
        db.backup(target)
    return copy.read_bytes()
