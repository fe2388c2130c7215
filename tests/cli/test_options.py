"""Options are declared once, and mean the same in every command and in every spelling."""

from __future__ import annotations

import ast
import importlib
import inspect
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, get_type_hints

import pytest
import typer
from typer.testing import CliRunner

import fgbench
from fgbench.cli import app
from fgbench.cli.errors import LONG_HELP, ListCommand
from fgbench.cli.options import OutputOptions, with_options
from fgbench.cli.program import COMMANDS as FUNCTIONS
from fgbench.errors import FgbenchError
from fgbench.options import (
    NOUNS,
    SIZES,
    argument,
    command_words,
    from_words,
    one,
    one_of,
    options_of,
    switch,
    time,
    whole,
)
from fgbench.sweep.request import SweepRequest

COMMANDS = typer.main.get_command(app).commands  # type: ignore[attr-defined]
FLAGS = {(name, flag): param for name, command in COMMANDS.items() for param in command.params for flag in param.opts}
NUMBERED = [(name, flag) for name, flag in FLAGS if flag.removeprefix("--").removesuffix("s") in NOUNS]
MOST_LINES = 40  # of a command's body
FOLDER = Path(fgbench.__file__).parent / "cli" / "commands"


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A request with an option of every kind."""

    names: Annotated[Sequence[str], argument("[NAME…]", "names", several=True)] = ()
    sizes: Annotated[Sequence[int], SIZES.but(default="224"), "What"] = (224,)
    limit_s: Annotated[float | None, one("--limit", "a time", "TIME", read=time("--limit")), "What"] = None
    rate: Annotated[
        str, one("--rate -r", "how fast", variable="FGBENCH_RATE", read=one_of("rate", ("slow", "fast")))
    ] = "slow"
    number: Annotated[int, one("--number", "how many", "N", read=whole("the number", 3))] = 2
    quiet: Annotated[bool, switch("--quiet", "say nothing")] = False
    energy: Annotated[bool, switch("--no-energy", "without energy", value=False)] = True
    own: str = "not typed"

    def check(self) -> None:
        if self.quiet and self.rate == "fast":
            raise FgbenchError("too fast to be quiet")


@pytest.fixture
def typed(monkeypatch):
    """Type words; the requests that a command is given."""
    monkeypatch.delenv("FGBENCH_RATE", raising=False)
    seen: list[object] = []

    def command(request: Request, output: OutputOptions) -> None:
        """Do nothing."""
        seen.extend([request, output])

    program = typer.Typer(rich_markup_mode=None)
    program.command(cls=ListCommand)(with_options(command))

    def run(*words: str, code: int = 0, **environment: str):
        result = CliRunner().invoke(program, list(words), env=environment)
        assert result.exit_code == code, (result.output, result.exception)
        return result if code or "--help" in words else seen[-2]

    return run


def test_what_is_not_typed_is_the_fields_default(typed):
    assert typed() == Request()


def test_words_are_read_by_their_options(typed):
    request = typed("a", "b", "--size", "448", "224", "--limit", "2m", "-r", "fast", "--number=5", "--no-energy")
    expected = Request(names=["a", "b"], sizes=[448, 224], limit_s=120.0, rate="fast", number=5, energy=False)
    assert request == expected


def test_a_variable_gives_what_is_not_typed(typed):
    assert typed(FGBENCH_RATE="fast").rate == "fast"
    assert typed("--rate", "slow", FGBENCH_RATE="fast").rate == "slow"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--rate", "quick"], "unknown rate 'quick'"),
        (["--number", "x"], "the number must be a whole number"),
        (["--sizes", ","], "no image size was given"),
        (["--quiet", "--rate", "fast"], "too fast to be quiet"),
        (["--format", "xml"], "unknown format 'xml'"),
    ],
)
def test_what_cannot_be_read_or_contradicts_itself_is_refused(typed, words, message):
    result = typed(*words, code=1)
    assert isinstance(result.exception, FgbenchError)
    assert message in str(result.exception)


def test_the_help_has_text_variable_and_default(typed):
    text = " ".join(typed("--help").output.split())
    assert "--sizes, --size PIXELS… image sides [default: 224]" in text
    assert "-r, --rate NAME how fast [env var: FGBENCH_RATE; default: slow]" in text
    assert "--number N how many [default: 2]" in text
    assert "--limit TIME a time" in text
    assert "a time [" not in text


def test_the_command_of_the_guide_runs(tmp_path, monkeypatch):
    guide = Path(__file__).parents[2] / "CONTRIBUTING.md"
    code = guide.read_text(encoding="utf-8").partition("# fgbench/cli/commands/sizes.py\n")[2].partition("```")[0]
    (tmp_path / "sizes_command.py").write_text(code, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    program = typer.Typer(rich_markup_mode=None)
    program.command(cls=ListCommand)(with_options(importlib.import_module("sizes_command").sizes))
    assert CliRunner().invoke(program, ["--size", "224,448"]).output == "224: 196\n448: 784\n"
    refused = CliRunner().invoke(program, ["--size", "224", "8", "--patch", "16"])
    assert str(refused.exception) == "an image is smaller than a patch of 16"


REQUESTS = sorted(
    {
        request
        for function, _ in FUNCTIONS.values()
        for name, request in get_type_hints(function).items()
        if name != "return"
    },
    key=lambda request: request.__name__,
)


def test_words_for_another_process_give_the_same_request():
    request = SweepRequest(
        models=["glsim", "vit"],
        batch_sizes=[1, 8],
        selectors=["gls"],
        dtypes=["bfloat16"],
        threads=2,
        cap_s=0.5,
        timeout_s=90.0,
        compiled=True,
        energy=False,
        concurrency=[1, 2],
        rates_per_s=[50.0, 0.1],
        tail=True,
    )
    words = command_words(request)
    assert words == [
        *("--model=glsim", "--model=vit", "--batch-sizes=1", "--batch-sizes=8", "--selectors=gls", "--dtype=bfloat16"),
        *("--threads=2", "--compile", "--concurrency=1", "--concurrency=2", "--rate=50.0/s", "--rate=0.1/s"),
        *("--max-time=0.5s", "--timeout=90s", "--tail", "--no-energy"),
    ]
    typed: dict[str, object] = {}
    for name, option in options_of(SweepRequest).items():
        values = [word.partition("=")[2] for word in words if word.partition("=")[0] == option.flags[0]]
        if values:
            typed[name] = True if option.metavar is None else values if option.many else values[0]
    assert SweepRequest(**from_words(SweepRequest, typed)) == request


def test_defaults_are_words_only_where_they_are_always_told():
    assert command_words(SweepRequest(models=["vit"])) == ["--model=vit"]
    assert command_words(SweepRequest(models=["vit"]), always=["impls", "device"]) == ["--model=vit", "--impl=fast"]


@pytest.mark.parametrize("request_", REQUESTS, ids=lambda request: request.__name__)
def test_an_option_has_one_help_and_no_default_but_the_fields(request_):
    defaults = {field.name: field.default for field in fields(request_)}
    for name, option in options_of(request_).items():
        assert "[default" not in option.help
        assert option.section or option.flags == () or len(options_of(request_)) <= LONG_HELP, name
        if option.metavar is None:
            assert defaults[name] is not option.value, "a switch that is typed must change something"


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_command_parses_calls_and_shows_in_few_lines(name):
    function, _ = FUNCTIONS[name]
    node = ast.parse(inspect.getsource(function)).body[0]
    assert isinstance(node, ast.FunctionDef)
    body = node.body[1:]  # without the docstring
    assert ast.get_docstring(node)
    assert body[-1].end_lineno - body[0].lineno + 1 <= MOST_LINES


def test_every_file_of_a_command_is_there_for_a_command():
    modules = {path.stem for path in FOLDER.glob("*.py")} - {"__init__"}
    with_commands = {inspect.getmodule(function).__name__.rpartition(".")[2] for function, _ in FUNCTIONS.values()}
    helpers = {name for name in modules - with_commands if any(name.startswith(f"{stem}_") for stem in with_commands)}
    assert modules == with_commands | helpers
    for name in modules:
        importlib.import_module(f"fgbench.cli.commands.{name}")


@pytest.mark.parametrize("name", COMMANDS)
def test_long_help_has_sections_and_short_help_has_one(name):
    text = CliRunner().invoke(app, [name, "--help"]).output
    sections = [line for line in text.splitlines() if line.endswith(":") and not line.startswith(" ")]
    long = len(COMMANDS[name].params) >= LONG_HELP
    assert ("Options:" in sections) is not long
    if long:
        assert sections[-1] == "Output:"
        assert len([name for name in sections if name != "Arguments:"]) >= 3
