"""Options mean the same in every command and in every habit."""

from __future__ import annotations

import pytest
import typer

from fgbench.cli import app
from fgbench.options import NOUNS

COMMANDS = typer.main.get_command(app).commands  # type: ignore[attr-defined]
FLAGS = {(name, flag): param for name, command in COMMANDS.items() for param in command.params for flag in param.opts}
NUMBERED = [(name, flag) for name, flag in FLAGS if flag.removeprefix("--").removesuffix("s") in NOUNS]


def other(flag: str) -> str:
    return flag.removesuffix("s") if flag.endswith("s") else f"{flag}s"


def test_the_nouns_are_there():
    assert {flag.removeprefix("--").removesuffix("s") for _, flag in NUMBERED} == set(NOUNS)


@pytest.mark.parametrize(("command", "flag"), NUMBERED)
def test_singular_and_plural_are_one_option(command, flag):
    assert FLAGS[command, other(flag)] is FLAGS[command, flag]


@pytest.mark.parametrize("spelling", ["size 224", "sizes 224", "size=224", "sizes=224"])
def test_they_are_read_alike(spelling, capsys):
    words = f"flops --{spelling} --convention paper --backbone vit_tiny_patch16_224 --selector gls --format csv"
    assert app(words.split(), standalone_mode=False) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3
    assert all(",224," in line for line in lines[1:])
