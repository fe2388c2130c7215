"""The parts of runs that a sweep is asked for: what engines can do of it, and the pictures of a folder. No torch."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from fgbench.errors import FgbenchError, LeftOutNotice, OnProblem
from fgbench.measure.points import RunMode
from fgbench.sweep.request import SweepRequest
from fgbench.sweep.setup import ask
from fgbench.workers.pool import Worker

if TYPE_CHECKING:
    from fgbench.sweep.context import Platform

MOST_PICTURES = 512  # of a folder, in the order of their names
SHOWN = 4  # unreadable pictures that are named


@dataclass(frozen=True, slots=True, kw_only=True)
class Pictures:
    """Pictures of a folder that can be read."""

    folder: str
    files: tuple[str, ...]  # in the order of their names
    digest: str  # of their names and contents: part of the keys of what is measured on them


def readable_pictures(worker: Worker, folder: str, on_problem: OnProblem) -> Pictures:
    """Find the pictures of a folder and of those inside of it; each is read once.

    Args:
        worker: Reads them: a damaged file may end it.
        folder: The folder.
        on_problem: Receives those that cannot be read, by name, and how many are too many.

    Returns:
        The others.

    Raises:
        FgbenchError: Where no picture can be read.

    """
    found = picture_files(folder)
    if not found:
        raise FgbenchError("there is no picture in", folder)
    if len(found) > MOST_PICTURES:
        on_problem(LeftOutNotice(f"of {len(found)} pictures in {folder} the first {MOST_PICTURES} are read"))
    files = found[:MOST_PICTURES]
    reasons: dict[str, str] = ask(worker, "pictures", files=files)["unreadable"]
    left = tuple(file for file in files if file not in reasons)
    if not left:
        more = f" and {len(reasons) - 1} more" if len(reasons) > 1 else ""
        raise FgbenchError(f"no picture in {folder} can be read; {next(iter(reasons.values()))}{more}")
    for reason in list(reasons.values())[:SHOWN]:
        on_problem(LeftOutNotice(f"left out: {reason}"))
    if len(reasons) > SHOWN:
        on_problem(LeftOutNotice(f"left out: {len(reasons) - SHOWN} more pictures that cannot be read"))
    return Pictures(folder=folder, files=left, digest=_digest(folder, left))


def picture_files(folder: str) -> list[str]:
    """Paths of the files whose suffix is a picture's, below a folder, by name; hidden ones are left out."""
    from fgbench.datasets.walk import has_image_suffix

    files = []
    for place, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        shown = (name for name in names if not name.startswith(".") and has_image_suffix(name))
        files += [str(Path(place) / name) for name in shown]
    return sorted(files)


def check_parts(request: SweepRequest, platforms: Mapping[RunMode, Platform], on_problem: OnProblem) -> None:
    """Name the engines that cannot do what was asked for.

    Raises:
        FgbenchError: Where none can.

    """
    for asked, does, ability in (
        (request.by_part, "run models stage by stage, as --by-part needs", "runs_in_parts"),
        (request.end_to_end is not None, "take pictures, as --end-to-end needs", "takes_pictures"),
    ):
        lacking = dict.fromkeys(mode.engine for mode, one in platforms.items() if not getattr(one, ability))
        if not asked or not lacking:
            continue
        refusals = [FgbenchError(f"engine {engine!r} does not {does}", do="engine torch does") for engine in lacking]
        able = any(getattr(one, ability) for one in platforms.values())
        for refusal in refusals if able else refusals[:-1]:
            on_problem(refusal)
        if not able:
            raise refusals[-1]


def _digest(folder: str, files: tuple[str, ...]) -> str:
    digest = hashlib.sha256()
    for file in files:
        content = hashlib.sha256(Path(file).read_bytes()).hexdigest()
        digest.update(f"{os.path.relpath(file, folder)}\0{content}\n".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()
