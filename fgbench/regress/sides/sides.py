"""What is measured against each other: an interpreter, what it imports, and the plug-in files beside it."""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from fgbench.errors import CannotMeasureError, FgbenchError
from fgbench.regress.sides.processes import run_program
from fgbench.results.reading import parse_json
from fgbench.workers.pool import last_line

PROBE = Path(__file__).with_name("inspect_environment.py")
PROBE_S = 120.0  # from a cold network disk
_AS_INSTALLED = {"PYTHONPATH": None, "PYTHONHOME": None}  # they would put the same code before both environments


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """One of two that are measured against each other; it can be used as long as its context manager is open."""

    label: str  # for people: "revision v1.2 (1a2b3c4d5e6f)"
    python: str  # the interpreter's executable
    environment: Mapping[str, str | None] = field(default_factory=dict)  # variables to set; None takes one away
    plugins: Sequence[str] = ()  # absolute paths
    revision: str | None = None  # the commit's full hash, "+" behind it where files differ; None where there is none
    version: str | None = None  # of fgbench
    code: str = ""  # a digest of all that it runs: what was measured with another one is of another side

    def surroundings(self) -> dict[str, str]:
        """The environment variables of its processes."""
        merged: dict[str, str | None] = {**os.environ, **self.environment}
        return {name: value for name, value in merged.items() if value is not None}


@contextmanager
def environment_side(python: str, plugins: Sequence[str] = ()) -> Iterator[Side]:
    """An installed environment: its interpreter, or the folder of a virtual environment.

    It is taken as it is installed: ``PYTHONPATH`` does not reach it. Raises :class:`FgbenchError` where fgbench
    cannot be imported there, or a plug-in file is missing.
    """
    found = _interpreter(python)
    yield checked_side(found, _AS_INSTALLED, label=f"environment {python}", plugins=_existing(plugins))


@contextmanager
def running_side(plugins: Sequence[str] = ()) -> Iterator[Side]:
    """The environment that this process runs in, ``PYTHONPATH`` included. Raises as :func:`environment_side` does."""
    variables = {"PYTHONPATH": python_path()}
    yield checked_side(sys.executable, variables, label="this environment", plugins=_existing(plugins))


def checked_side(
    python: str,
    variables: Mapping[str, str | None],
    *,
    label: str,
    plugins: Sequence[str],
    revision: str | None = None,
    installed: Path | None = None,
) -> Side:
    """A side whose interpreter starts and finds fgbench; ``installed`` is a folder that must come first there.

    Raises :class:`FgbenchError` where fgbench cannot be imported, :class:`CannotMeasureError` where what is in the
    folder is hidden by another copy.
    """
    side = Side(label=label, python=python, environment=variables, plugins=plugins, revision=revision)
    with tempfile.TemporaryDirectory(prefix="fgbench-probe-") as empty:
        words = [python, "-c", PROBE.read_text(encoding="utf-8"), *([str(installed)] if installed else [])]
        ended = run_program(words, folder=Path(empty), environment=side.surroundings(), limit_s=PROBE_S)
    try:
        told = parse_json(ended.stdout.splitlines()[-1])
        version, code, hidden = told["version"], str(told["code"]), list(told["hidden"])
    except (ValueError, IndexError, KeyError, TypeError) as error:
        why = last_line(ended.stderr) or ("it does not answer" if ended.code is None else f"exit code {ended.code}")
        if revision is not None:
            raise CannotMeasureError(
                f"{label} cannot be measured: it cannot import fgbench with", python, why
            ) from error
        raise FgbenchError("cannot import fgbench with", python, f"{why}; install fgbench there") from error
    if hidden:
        advice = f"the environment has another copy that comes first: uninstall it from {python}"
        raise CannotMeasureError(f"{label} would not be measured, for its package", hidden[0], advice)
    return Side(
        label=f"{label}, fgbench {version}" if revision is None and version else label,
        python=python,
        environment=variables,
        plugins=plugins,
        revision=revision,
        version=version,
        code=_with_files(code, plugins),
    )


def python_path(*first: Path) -> str | None:
    """``PYTHONPATH`` with folders put before what is there; relative ones are made absolute, as others start elsewhere.

    None where it would be empty.
    """
    there = [str(Path(name).absolute()) for name in os.environ.get("PYTHONPATH", "").split(os.pathsep) if name]
    return os.pathsep.join([*map(str, first), *there]) or None


def plugin_path(name: str) -> Path:
    """The absolute path of a plug-in file by its own name, so that a link to a file is not taken for that file."""
    path = Path(name).expanduser()
    return path.parent.resolve() / path.name


def _existing(plugins: Sequence[str]) -> tuple[str, ...]:
    paths = [plugin_path(name) for name in plugins]
    for path in paths:
        if not path.is_file():
            raise FgbenchError("no plug-in file", str(path), "give the path of a Python file")
    return tuple(str(path) for path in paths)


def _interpreter(python: str) -> str:
    path = Path(python).expanduser()
    if path.is_dir():
        for inside in ("bin/python", "bin/python3", "Scripts/python.exe"):
            if (path / inside).is_file():
                return str((path / inside).absolute())  # not resolved: a link is what makes a virtual environment one
        raise FgbenchError("no Python in the folder", python, "give a virtual environment, or a Python executable")
    found = shutil.which(str(path))
    if found is None:
        raise FgbenchError("no Python executable", python, "give a virtual environment, or a Python executable")
    return str(Path(found).absolute())


def _with_files(code: str, plugins: Sequence[str]) -> str:
    digest = hashlib.sha256(code.encode())
    for name in plugins:
        digest.update(b"\0" + Path(name).read_bytes())
    return digest.hexdigest()
