"""Options of every command, read from the commands themselves, with random and wrong values."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fuzz.case import COMMAND, Case, Draw
from fuzz.values import AMOUNTS, NAMES, NUMBERS, WORDS, write_paths

# Not drawn: tracebacks that are asked for; what writes into the user's shell; a network; what measures for minutes.
LEFT_OUT = ("--debug", "--install-completion", "--show-completion", "--help", "--pretrained")
MEASURING = ("--a-a", "--base", "--head", "--base-python", "--head-python")
PATHS = ("FILE", "DIR", "PATH", "OLD NEW", "IMAGE", "PYTHON")
NUMERIC = ("N", "PIXELS", "RATE", "SHARE", "PERCENT", "AMOUNT", "PRICE")
# What ends every command before its work begins, or keeps that work small.
ENDS = {
    "throughput": (["--output", "."], ["--timeout", "never"]),
    "accuracy": (["--dataset", "folder", "--data-dir", "missing"], ["--output", "."]),
    "study": (["--dataset", "folder", "--data-dir", "missing"], ["--output", "."]),
    "visualize": (["--backbone", "test_vit", "--size", "32"],),
    "flops": (["--convention", "paper", "--sizes", "32", "--backbones", "test_vit"], ["--output", "."]),
    "regress": (["--pytest-benchmark", "old.json", "new.json"], ["--timeout", "never"], ["--output", "."]),
    "choose": (["--rows", "rows.json"], []),
    "report": (["table9"], ["table10", "--rows", "rows.json"]),
    "list": ([],),
    "selection": (["--output", "."], ["--timeout", "never"]),
    "export": (["--rows", "rows.json"], ["--output", "."]),
    "merge": (["rows.json"], ["missing.db"]),
    "audit": (
        ["--output", "."],
        ["--questions", "repeat", "--backbone", "test_vit", "--size", "32", "--pictures", "2"],
    ),
    "export-model": (["--output", "."], ["--checkpoint", "missing.pth", "--backbone", "test_vit"]),
}
POSITIONAL = {
    "study": ("table5", "equal-cost", "missing.toml"),
    "visualize": ("missing.png", "text.txt"),
    "report": ("table9",),
    "list": ("selectors", "models", "reports"),
    "export": ("throughput", "flops"),
    "merge": ("missing.db", "rows.json"),
    "audit": ("vit", "glsim", "nowhere.py:mine"),
    "export-model": ("vit", "glsim", "nowhere.py:mine"),
}


def options_of(name: str) -> list[Any]:
    """The options of a command that are drawn from."""
    params = COMMAND.commands[name].params
    return [param for param in params if param.opts[0].startswith("-") and not set(param.opts) & set(LEFT_OUT)]


EVERY = [(name, option) for name in sorted(COMMAND.commands) for option in options_of(name)]


def generate(draw: Draw, files: Mapping[str, bytes]) -> Case:
    """Some options of a command, and what ends it."""
    for name in ("rows.json", "old.json", "new.json"):
        Path(name).write_bytes(files[name])
    paths = write_paths(Path())
    name, first = EVERY[draw.number % len(EVERY)]
    others = options_of(name)
    chosen = [first] * (draw.random() < 0.9) + draw.sample(others, min(draw.randrange(3), len(others)))
    words = [draw.choice(POSITIONAL[name])] if name in POSITIONAL and draw.random() < 0.8 else []
    for option in chosen:
        words += typed(draw, option, paths)
    ends = draw.choice(ENDS[name])
    if any(flag in MEASURING for option in chosen for flag in option.opts):
        ends = ["--timeout", "never"]
    words += [] if draw.random() < 0.02 and name in ("choose", "list", "report") else ends
    if draw.random() < 0.05:
        words.insert(draw.randrange(len(words) + 1), draw.choice(["--nothing", "-x", "--", "-", "--siz", "-f=", "="]))
        words += [] if name not in ("throughput", "regress", "accuracy") else ends
    if draw.random() < 0.1:
        words += ["-f", draw.choice(["json", "csv", "table", "markdown", "latex", "xml", ""])]
    return Case(words=[name, *words], undecided="--strict" in words or name == "regress")


def typed(draw: Draw, option: Any, paths: list[str]) -> list[str]:
    """An option as it is typed: its flag, and values of the kind that it takes, or of another."""
    flag = draw.choice([flag for flag in option.opts if flag.startswith("-")])
    if option.is_flag:
        return [flag]
    if flag in ("--format", "-f") and draw.random() < 0.8:
        return [flag, draw.choice(["json", "csv", "markdown", "latex", "png", "svg"])]
    if flag == "--store":  # SQLite would put files of its own beside a device
        paths = [path for path in paths if not path.startswith("/")]
    values = [value(draw, option.metavar or "", paths) for _ in range(draw.choice([1, 1, 1, 2, 3]))]
    if draw.random() < 0.2:
        return [f"{flag}={values[0]}"]
    return [flag, *(values if option.multiple else values[:1])] if draw.random() < 0.97 else [flag]


def value(draw: Draw, metavar: str, paths: list[str]) -> str:
    """A value for what an option calls its value."""
    metavar = metavar.rstrip("…")
    if draw.random() < 0.1:
        return draw.choice([*WORDS, *paths])
    if metavar in PATHS:
        return draw.choice(paths)
    if metavar in NUMERIC:
        return draw.choice(NUMBERS)
    return draw.choice((*AMOUNTS, *NUMBERS) if metavar in ("TIME", "SIZE", "ENERGY") else (*NAMES, *WORDS))
