"""Text from data in terminals, logs and pages is shown, and never executed as a command."""

from __future__ import annotations

import csv
import io
import json
import logging
import os
import re
import sys
import warnings

import pandas as pd
import pytest
from helpers.obeyed import CONTROLS, HOSTILE, obeyed
from hypothesis import example, given
from hypothesis import strategies as st
from rich.console import Console
from rich.table import Table as TerminalTable

from fgbench.cli import errors
from fgbench.cli.progress import Bar, status_line
from fgbench.flops.grid import CountGrid
from fgbench.regress.baseline import Baseline, write_baseline
from fgbench.results.escaping import json_text, log_line, sentence, visible, without_commands
from fgbench.results.output import emit, emit_as
from fgbench_reports.page import Page, Section
from fgbench_reports.page import to_html as page_to_html
from fgbench_reports.regression.annotations import to_annotations
from fgbench_reports.regression.benchmark_action import to_smaller_is_better
from fgbench_reports.regression.benchmark_json import to_benchmark_json
from fgbench_reports.regression.findings import CHANGED, COUNTED, SLOWER, TIME, Finding, Outcome
from fgbench_reports.regression.junit import to_junit
from fgbench_reports.regression.summary import to_markdown
from fgbench_reports.regression.terminal import regression_tables
from fgbench_reports.report import Table
from fgbench_reports.tables import formats, render

LETTERS = st.one_of(
    st.sampled_from(
        [*map(chr, CONTROLS[:72]), "\n::", "##[", "##vso[", "::error::", " ", "\r\n", "[red]", "[/]", "\\"]
    ),
    st.characters(),
    st.characters(categories=["Cc", "Cf", "Cs", "Zl", "Zp", "Zs"]),
)
TEXTS = st.one_of(st.sampled_from(HOSTILE), st.lists(LETTERS, max_size=12).map("".join))
LOGS = ("GITHUB_ACTIONS", "TF_BUILD", "GITLAB_CI", "TEAMCITY_VERSION")


class Terminal(io.TextIOWrapper):
    """A stream that calls itself a terminal, or a pipe, and keeps what is written."""

    def __init__(self) -> None:
        super().__init__(io.BytesIO(), encoding="utf-8", newline="")

    @property
    def text(self) -> str:
        self.flush()
        return self.buffer.getvalue().decode()


@pytest.fixture
def written(monkeypatch):
    """What a function writes to a stream of sys, here not of the system."""

    def of(stream: str, write, *arguments: object) -> str:
        terminal = Terminal()
        with monkeypatch.context() as patch:
            patch.setattr(sys, stream, terminal)
            write(*arguments)
        return terminal.text

    return of


def test_the_list_of_what_is_obeyed_knows_the_hostile_ones():
    assert [obeyed(text) != [] for text in HOSTILE] == [True] * len(HOSTILE)
    assert obeyed("tests/a.py::test_x [ok]\n漢字 · ± é 🐦\n") == []


@given(TEXTS)
def test_visible_text_is_one_line_of_letters_and_seeing_it_again_changes_nothing(text):
    shown = visible(text)
    assert "\n" not in shown
    assert shown.isprintable()
    assert obeyed(without_commands(shown)) == []
    assert visible(shown) == shown
    assert without_commands(without_commands(shown)) == without_commands(shown)
    if text.isprintable():
        assert shown == text


@pytest.mark.parametrize("code", [code for code in (*CONTROLS[:-2047], 0xDFFF) if code not in (9, 10)])
def test_every_control_character_is_shown_by_its_number(code):
    shown = visible(f"a{chr(code)}b")
    assert shown == f"a{chr(code)!r}b".replace("'", "")
    assert shown == sentence(f" a{chr(code)}b \n")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("two\r\nlines\tand a tab", "two lines and a tab"),
        ("no\xa0break and\u3000wide", "no break and wide"),
        ("C:\\x1b is a path", "C:\\x1b is a path"),
        ("漢字 é 🐦 ± ::", "漢字 é 🐦 ± ::"),
    ],
)
def test_blanks_are_blanks_and_letters_stay(text, shown):
    assert visible(text) == shown


@pytest.mark.parametrize(
    ("text", "harmless"),
    [
        ("::error::x", r"\x3a:error::x"),
        (" \t ::x", " \t \\x3a:x"),
        ("a\n\n  ::x\nb::c", "a\n\n  \\x3a:x\nb::c"),
        ("\x1b[1m::x\x1b[0m", "\x1b[1m\\x3a:x\x1b[0m"),
        ("a ##[x] ##vso[y] ###[z] ## no#[", r"a #\x23[x] #\x23vso[y] ##\x23[z] ## no#["),
        ("tests/a.py::test", "tests/a.py::test"),
    ],
)
def test_what_a_ci_would_obey_is_broken_at_one_letter(text, harmless):
    assert without_commands(text) == harmless


@given(TEXTS, TEXTS)
@example("#", "#[error]")
def test_json_is_read_back_as_it_was_and_obeyed_by_nobody(one, other):
    rows = [{one: other + one, "n": 1}]
    text = render.to_json(rows)
    assert json.loads(text) == json.loads(json.dumps(rows)), "halves of a letter become one"
    assert obeyed(text) == []
    assert json.loads(json_text(json.dumps(rows, ensure_ascii=False))) == json.loads(json.dumps(rows))


@given(TEXTS)
def test_complaints_warnings_logs_and_tracebacks_are_lines_that_nobody_obeys(text):
    with pytest.MonkeyPatch.context() as patch:
        stream = Terminal()
        patch.setattr(sys, "stderr", stream)
        patch.setattr(sys, "excepthook", sys.excepthook)
        patch.setattr(warnings, "showwarning", warnings.showwarning)
        patch.setattr(logging, "lastResort", logging.lastResort.__class__(logging.WARNING))
        errors.show_what_libraries_say()
        errors.complain(text)
        warnings.showwarning(UserWarning(text), UserWarning, text, 1)
        logging.lastResort.handle(logging.LogRecord("timm", logging.WARNING, "x", 1, "%s", (text,), None))
        lines = stream.text.split("\n")
        assert [line.startswith("fgbench: ") for line in lines] == [True, True, True, False]
        sys.excepthook(ValueError, ValueError(text), None)
        assert obeyed(stream.text) == []


@given(TEXTS)
def test_progress_is_lines_that_nobody_obeys(text):
    for terminal in (True, False):
        stream = io.StringIO()
        with Bar(Console(file=stream, force_terminal=terminal, width=400, color_system=None)) as bar:
            bar.move(text, 1, 2)
            bar.line(text)
        shown = stream.getvalue()
        assert log_line(text).strip() in shown
        if not terminal:
            assert obeyed(shown) == []
            assert shown.count("\n") == 1
        else:
            assert obeyed(re.sub(r"\r|\x1b\[(?:[0-9;]*[AGKm]|\?25[lh])", "", shown)) == []


def test_a_line_of_status_is_shown_and_not_read_as_markup(monkeypatch):
    pieces = []
    monkeypatch.setattr(Console, "is_terminal", True)
    monkeypatch.setattr(Console, "_write_buffer", lambda console: pieces.extend(console._buffer))
    with status_line("[/x]") as tell:
        for text in HOSTILE:
            tell(text)
    assert pieces
    assert obeyed("\n".join(piece.text for piece in pieces if not piece.control).replace("\n\n", "\n")) == []


def tables(text: str) -> Table:
    headings = pd.Index(["name", f"{text} of all"], dtype=object)
    frame = pd.DataFrame([[text, 1], ["plain", 2]], columns=headings, dtype=object)
    return Table(name="t", title=text, frame=frame, printed=frame, names=["name"], notes=[text])


def outcome(text: str) -> Outcome:
    findings = [
        Finding(check=COUNTED, point=text, figure="macs", verdict=CHANGED, before=1, after=2, reason=text),
        Finding(check=TIME, point="x" + text, figure=text, verdict=SLOWER, before=1.0, after=2.0, after_samples=[2.0]),
    ]
    return Outcome(findings=findings, notes=[text], before=text, after=text, facts={text: text, "cpu": text})


def baseline(text: str) -> Baseline:
    grid = CountGrid(backbones=[text], sizes=[224], selectors=[text], models=[text], impls=["fast"], num_classes=2)
    return Baseline(grid=grid, counted_with={"torch": text}, points=[], memory=[])


FORMATS = {
    "json": lambda text: render.to_json([{"x": text}]),
    "csv": lambda text: render.to_csv([{"a": text, "b": [text]}, {"c": text}]),
    "csv of a report": lambda text: formats.to_csv(tables(text)),
    "markdown": lambda text: render.render_words([{"a": text}], "markdown"),
    "markdown of a report": lambda text: formats.to_markdown(tables(text)),
    "latex": lambda text: render.render_words([{"a": text}], "latex"),
    "latex of a report": lambda text: formats.to_latex(tables(text)),
    "table": lambda text: render.render_words([{"a": text, "b": text}], "table"),
    "table of a report": lambda text: render.render(tables(text), "table"),
    "html of a report": lambda text: formats.to_html(tables(text)),
    "regress": lambda text: render.render(regression_tables(outcome(text)), "table"),
    "regress in markdown": lambda text: render.render(regression_tables(outcome(text)), "markdown"),
    "regress in csv": lambda text: render.to_csv([finding.as_dict() for finding in outcome(text).findings]),
    "summary": lambda text: to_markdown(outcome(text)),
    "junit": lambda text: to_junit(outcome(text)),
    "pytest-benchmark": lambda text: to_benchmark_json(outcome(text)),
    "github-action-benchmark": lambda text: to_smaller_is_better(outcome(text)),
    "baseline": lambda text: write_baseline(baseline(text)),
}
PROGRAMS = ("json", "pytest-benchmark", "github-action-benchmark", "baseline")


@pytest.mark.parametrize("name", FORMATS)
def test_no_format_on_standard_output_is_obeyed_in_a_job_of_a_ci(name, written, monkeypatch):
    @given(TEXTS)
    def check(text):
        made = FORMATS[name](text)
        shown = written("stdout", emit_as, "csv" if "csv" in name else "table", made)
        assert obeyed(shown) == []
        if name in PROGRAMS:
            assert json.loads(shown) == json.loads(made), "it is the same to who reads it"

    monkeypatch.setenv(LOGS[len(name) % len(LOGS)], "true")
    check()


@given(TEXTS)
def test_a_table_that_somebody_else_made_is_not_obeyed_either(text):
    table = TerminalTable(title=text.replace("[", "("))
    table.add_column(text.replace("[", "("))
    table.add_row(text.replace("[", "("))
    assert obeyed(render.to_terminal([table], to_file=True)) == []


def test_colours_are_rich_s_own(monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLORTERM", "truecolor")
    for text in HOSTILE:
        shown = FORMATS["regress"](text)
        assert "\x1b[" in shown
        assert obeyed(shown, colours=True) == []


@given(TEXTS)
def test_a_page_shows_what_its_names_hold(text):
    page = Page(title=text, sections=[Section(name=text, title=text, summary=text, items=[])], sources=[text])
    html = page_to_html(page)
    assert not {letter for letter in html if not letter.isprintable()} - {"\n"}


@pytest.mark.parametrize("log", LOGS)
def test_csv_is_exact_in_files_and_pipes_and_visible_in_a_log(log, written, tmp_path, monkeypatch):
    rows = [{"name": text, "\x1b": "x"} for text in HOSTILE if "\udcff" not in text]
    text = render.to_csv(rows)
    read, pipe = os.pipe()
    with os.fdopen(read, newline="", encoding="utf-8") as reader:
        with os.fdopen(pipe, "w", newline="", encoding="utf-8") as pipe_out:
            monkeypatch.setattr(sys, "stdout", pipe_out)
            emit_as("csv", text)
        assert list(csv.DictReader(reader)) == rows
    monkeypatch.setenv(log, "true")
    with (tmp_path / "stdout.csv").open("w", newline="", encoding="utf-8") as file:
        monkeypatch.setattr(sys, "stdout", file)
        emit_as("csv", text)
    emit_as("csv", text, tmp_path / "output.csv")
    for name in ("stdout.csv", "output.csv"):
        with (tmp_path / name).open(newline="", encoding="utf-8") as file:
            assert list(csv.DictReader(file)) == rows
    shown = written("stdout", emit_as, "csv", text)
    assert obeyed(shown) == []
    assert list(csv.DictReader(io.StringIO(shown))) != rows
    assert [len(line) for line in csv.reader(io.StringIO(shown))] == [2] * (len(rows) + 1)


def test_a_line_of_a_library_that_nobody_would_read_is_cut_in_the_middle(written):
    shown = written("stderr", errors.complain, "begins" + "x" * 10**6 + "ends")
    assert len(shown) < 6100
    assert shown.startswith("fgbench: begins")
    assert shown.endswith("ends\n")
    assert written("stderr", errors.complain, "y" * 4096) == f"fgbench: {'y' * 4096}\n"


def test_commands_that_are_meant_reach_the_log(written, monkeypatch):
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    text = to_annotations(outcome("a\n::error::b"))
    assert text.startswith("::error title=")
    assert written("stdout", emit_as, "annotations", text) == text
    assert len(text.splitlines()) == 2
    assert written("stdout", emit, text).startswith(r"\x3a:error")
