"""The folder of a report on disk: what may be written there, and what an earlier report left."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from fgbench.errors import FgbenchError
from fgbench.results.output import check_folder as check_place
from fgbench.results.output import emit, emit_bytes, make_folder
from fgbench.results.reading import opened

if TYPE_CHECKING:
    from fgbench_reports.folder import File

PAGE = "index.html"
GENERATOR = b'name="generator" content="fgbench'  # in the head of every page of ours
HEAD = 4096  # bytes
ROOMS = ("tables", "figures", "rows")


def check_folder(path: Path) -> None:
    """Refuse a folder that cannot be written, or holds a page of another program, before anything is drawn for it."""
    if os.path.isfile(path):  # noqa: PTH113  # never raises
        raise FgbenchError("--output names a folder, and this is a file:", str(path), "a new name will do")
    if above := next((place for place in path.absolute().parents if os.path.isfile(place)), None):  # noqa: PTH113
        raise FgbenchError("--output cannot be a folder in a file:", str(above), "a new name will do")
    check_place(path)
    if os.path.lexists(path / PAGE) and not _is_ours(path / PAGE):
        raise FgbenchError(
            "this page is no report of fgbench, and is left alone:", str(path / PAGE), "name a new folder"
        )


def _is_ours(page: Path) -> bool:
    try:
        with opened(page) as file:
            return GENERATOR in file.read(HEAD)
    except OSError as error:
        raise FgbenchError("cannot read", str(page), error.strerror or str(error)) from error


def write_folder(files: Iterable[File], folder: Path) -> int:
    """Write files, each whole or not at all, in their order; how many there were."""
    count = 0
    for file in files:
        path = folder / file.path
        make_folder(path.parent)
        if isinstance(file.content, bytes):
            emit_bytes(file.content, path)
        else:
            emit(file.content, path)
        count += 1
    return count


def left_over(files: Iterable[File], folder: Path) -> list[str]:
    """What lies in the folder's rooms and is not of this report."""
    written = {folder / file.path for file in files}
    return sorted(
        str(path.relative_to(folder))
        for room in ROOMS
        for path in (folder / room).glob("*")
        if path.is_file() and path not in written
    )
