"""A project of a checkout, installed into a folder of its own: it comes before what the environment has of it."""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Sequence
from importlib import metadata
from importlib.machinery import PathFinder
from pathlib import Path

from fgbench.errors import CannotMeasureError
from fgbench.regress.sides.processes import Ended, run_program
from fgbench.workers.pool import last_line

INSTALL_S, COMPILE_S = 1800.0, 600.0
_SETTLED = {"PIP_USER": "0", "PIP_NO_INPUT": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}  # what contradicts --target


def project_of(folder: Path, root: Path) -> Path | None:
    """The nearest folder with a project that can be installed, from one up to the root; None where there is none."""
    for place in (folder, *folder.parents):
        if _is_project(place):
            return place
        if place == root:
            return None
    return None


def install(project: Path, target: Path, name: str) -> None:
    """Install a project without its dependencies into a new folder. What the build leaves behind is in the project.

    Raises :class:`CannotMeasureError` with the project's name for people and what the installer complains about.
    """
    complaints = []
    # Without isolation nothing has to be downloaded; whether that works, the build itself knows best.
    for options in (["--no-build-isolation"], []) if _can_build(project) else ([],):
        ended = _install(project, target, options)
        if ended.code == 0:
            return
        complaints.append("it did not end in time" if ended.code is None else complaint(ended.stdout + ended.stderr))
        shutil.rmtree(target, ignore_errors=True)
    said = "; ".join(dict.fromkeys(complaints))
    raise CannotMeasureError("cannot install the project", name, f"the installer says: {said}")


def compile_all(*places: Path) -> None:
    """Write the bytecode of files and folders, so that neither side does so when it is first started."""
    words = [sys.executable, "-m", "compileall", "-q", *map(str, places)]
    run_program(words, folder=Path(places[0].anchor), environment=os.environ, limit_s=COMPILE_S)


def _install(project: Path, target: Path, options: Sequence[str]) -> Ended:
    if PathFinder.find_spec("pip") is not None:  # asked otherwise, setuptools takes distutils from this process
        words = [sys.executable, "-m", "pip", "install", "--quiet"]
    elif uv := shutil.which("uv"):
        words = [uv, "pip", "install", "--quiet", "--python", sys.executable]
    else:
        raise CannotMeasureError("a revision cannot be installed: there is no pip in", sys.prefix, "install pip or uv")
    words += ["--no-deps", *options, "--target", str(target), str(project)]
    return run_program(words, folder=project.parent, environment={**os.environ, **_SETTLED}, limit_s=INSTALL_S)


def complaint(log: str) -> str:
    """The line of an installer's log that says why: an exception of the build, else its last line but for advice."""
    lines = [line.strip(" \t│|×") for line in log.splitlines()]
    raised = [line for line in lines if re.match(r"[\w.]*(Error|Exception|Invalid\w+): ", line)]
    errors = [line for line in lines if re.match(r"ERROR: (?!Command errored out|Failed )", line)]
    rest = [line for line in lines if not re.match(r"hint|note|╰|\[|or `|---|error: \S+$", line)]
    return last_line("\n".join(raised or errors or rest or lines)) or "nothing"


def _is_project(folder: Path) -> bool:
    if (folder / "setup.py").is_file():
        return True
    # Many files of this name only configure a linter.
    return re.search(r"^\s*\[\s*(project|build-system)\s*\]", _pyproject(folder), re.MULTILINE) is not None


def _can_build(project: Path) -> bool:
    """Whether what the project is built with is installed here, in whatever version."""
    table = re.search(r"^\s*requires\s*=\s*\[(.*?)\]\s*$", _pyproject(project), re.MULTILINE | re.DOTALL)
    wanted = re.findall(r"""["']\s*([A-Za-z0-9][A-Za-z0-9._-]*)""", table[1]) if table else ["setuptools"]
    return all(_is_installed(name) for name in wanted)


def _is_installed(name: str) -> bool:
    try:
        return bool(metadata.version(name))
    except metadata.PackageNotFoundError:
        return False


def _pyproject(folder: Path) -> str:
    try:
        return (folder / "pyproject.toml").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
