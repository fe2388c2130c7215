"""``fgbench regress`` against a small baseline, for tests that type it."""

from __future__ import annotations

import json
from pathlib import Path

from typer.testing import CliRunner

from fgbench.cli import app
from fgbench.plugins.registry import selectors

SMALL = ("--backbones", "test_vit", "--sizes", "64", "--impl", "fast", "--selectors", "gls", "--models", "vit")


def run(*words: object):
    """The result of the command."""
    selectors._from_files.clear()
    return CliRunner().invoke(app, ["regress", *map(str, words)])


def findings(*words: object, code: int) -> list[dict]:
    """The findings of the command, which ends with an exit code."""
    result = run("--format", "json", *words)
    assert result.exit_code == code, result.stderr
    return json.loads(result.stdout)


def failing(*words: object) -> set[tuple[str, str, str]]:
    """The point, the figure and the verdict of every finding that is not the same."""
    found = findings(*words, code=1)
    return {(each["point"], each["figure"], each["verdict"]) for each in found if each["verdict"] != "same"}


def edit(path: Path, **figures) -> Path:
    """The same baseline, with other figures in the row of the selector."""
    data = json.loads(path.read_text())
    next(point for point in data["points"] if point["selector"] == "gls").update(figures)
    other = Path("edited.json")
    other.write_text(json.dumps(data))
    return other
