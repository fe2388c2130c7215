"""One input of a command: what is typed, the environment, the files; how it is run here, and what would be wrong."""

from __future__ import annotations

import json
import os
import random
import re
import shlex
import signal
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from accelerate.state import AcceleratorState, PartialState
from click.testing import CliRunner, Result
from helpers.obeyed import obeyed
from typer.main import get_command

from fgbench.cli import app
from fgbench.models.build import models
from fgbench.plugins.reports import reports
from fgbench_selectors import selectors

CODES = (0, 1, 2, 3, 130)
MOVES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\r")  # of a cursor, and colours
ANNOTATIONS = re.compile(r"(?m)^::(error|warning|notice) title=.*$")
LONGEST_LINE = 6020  # letters of a complaint
COMMAND = get_command(app)


@dataclass(frozen=True, kw_only=True)
class Case:
    """Words of a command line in a folder that the generator filled."""

    words: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)
    undecided: bool = False  # whether 3 is an answer: good input of which no verdict follows


class Draw(random.Random):
    """What a case is drawn with: its kind and number are the seed."""

    def __new__(cls, kind: str, number: int) -> Draw:  # random's own would take one argument
        return super().__new__(cls)

    def __init__(self, kind: str, number: int) -> None:
        super().__init__(identity(kind, number))
        self.number = number


Generate = Callable[[Draw, Mapping[str, bytes]], Case]  # real files by their names


def run(case: Case, command: Any = COMMAND) -> Result:
    """The command in this process; what it leaves behind in it is taken away."""
    before = signal.getsignal(signal.SIGINT)
    with pytest.MonkeyPatch.context() as patch:
        for registry in (selectors, models, reports):
            patch.setattr(registry, "_from_files", {})
        for name, value in case.environment.items():
            patch.setenv(name, value)
        try:
            return CliRunner().invoke(command, list(case.words))
        finally:
            PartialState._reset_state()  # one that began to be made is half there
            AcceleratorState._reset_state()
            signal.signal(signal.SIGINT, before)


def wrong(case: Case, result: Result) -> str | None:
    """What a command must never do, in words; None where it did well."""
    error = result.exception
    if error is not None and not isinstance(error, SystemExit):
        return "a traceback:\n" + "".join(traceback.format_exception(error))
    if "internal error" in result.stderr or "Traceback (most recent" in result.stderr:
        return f"an internal error:\n{result.stderr}"
    if result.exit_code not in CODES or (result.exit_code == 3 and not case.undecided):
        return f"exit code {result.exit_code}:\n{result.stderr}"
    coloured = "FORCE_COLOR" in case.environment  # a log is to look like a terminal, whose lines are drawn again
    out, err = (MOVES.sub("", text) if coloured else text for text in (result.stdout, result.stderr))
    lines = err.split("\n")
    if lines[-1] and not coloured:
        return f"a line without an end: {lines[-1]}"
    if result.exit_code == 2 and not any(line.startswith("fgbench: ") for line in lines):
        return f"no line says why it ended with {result.exit_code}: {result.stderr}"
    if "--annotations" in case.words:
        out = ANNOTATIONS.sub("", out)
    if bad := obeyed(err) + obeyed("" if any("csv" in word for word in case.words) else out):
        return f"a terminal or a CI would obey {bad[0]!r}"
    if long := [line for line in lines if len(line) > LONGEST_LINE]:
        return f"a line of {len(long[0])} letters: {long[0][:200]}"
    return _unreadable(case, result)


def _unreadable(case: Case, result: Result) -> str | None:
    """Where JSON was asked for, and something else came out."""
    if list(case.words[-2:]) == ["-f", "json"] and result.stdout:
        try:
            json.loads(result.stdout)
        except ValueError as error:
            return f"no JSON: {error}: {result.stdout[:200]!r}"
    return None


def command_line(case: Case, folder: str) -> str:
    """What repeats a case by hand in its folder."""
    environment = " ".join(f"{name}={shlex.quote(value)}" for name, value in case.environment.items())
    return f"cd {shlex.quote(folder)} && {environment} {shlex.join(['fgbench', *case.words])}".replace("&&  ", "&& ")


def identity(kind: str, number: int) -> str:
    """How a case is named: ``rows:17``."""
    return f"{kind}:{number}"


def asked() -> tuple[str, int] | None:
    """The one case that ``FGBENCH_FUZZ=rows:17`` asks for."""
    kind, _, number = os.environ.get("FGBENCH_FUZZ", "").partition(":")
    return (kind, int(number)) if number else None
