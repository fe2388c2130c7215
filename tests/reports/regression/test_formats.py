"""Every verdict in every format; malicious names, no findings, and thousands of findings."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from xml.etree import ElementTree

import pytest
from helpers.growth import assert_work_grows_with
from helpers.regression_outcomes import EMPTY, EXAMPLE, HOSTILE_OUTCOME, VERDICTS, many, of
from rich.console import Console

from fgbench_reports.regression.annotations import to_annotations
from fgbench_reports.regression.benchmark_action import to_bigger_is_better, to_smaller_is_better
from fgbench_reports.regression.benchmark_json import to_benchmark_json
from fgbench_reports.regression.findings import FAILING, NEW, OPEN, SAME, TIME, VANISHED, Outcome
from fgbench_reports.regression.junit import to_junit
from fgbench_reports.regression.summary import to_markdown
from fgbench_reports.regression.terminal import regression_tables
from fgbench_reports.regression.wording import verdict_word
from fgbench_reports.tables.render import render
from fgbench_reports.tables.terminal import to_rich


def to_terminal(outcome: Outcome) -> str:
    return render(regression_tables(outcome), "table", to_file=True)


FORMATS = {
    "markdown": to_markdown,
    "junit": to_junit,
    "pytest-benchmark": to_benchmark_json,
    "smaller": to_smaller_is_better,
    "bigger": to_bigger_is_better,
    "annotations": to_annotations,
    "terminal": to_terminal,
    "markdown table": lambda outcome: render(regression_tables(outcome), "markdown"),
}
ARRAYS = ("pytest-benchmark", "smaller", "bigger")


def told_in(name: str, verdict: str) -> bool:
    """Whether a format has a place for one finding with this verdict."""
    timed = of(verdict).check == TIME
    return {
        "pytest-benchmark": timed,
        "bigger": timed,
        "smaller": verdict != VANISHED,
        "annotations": verdict != SAME,
        "markdown": verdict != SAME,  # counted, without its name
        "terminal": verdict != SAME,
    }.get(name, True)


@pytest.mark.parametrize("verdict", VERDICTS)
@pytest.mark.parametrize("name", FORMATS)
def test_every_verdict_has_its_place(name, verdict):
    outcome = Outcome(findings=[of(verdict, "the point")])
    text = FORMATS[name](outcome)
    assert ("the point" in text) == told_in(name, verdict)
    if told_in(name, verdict) and name not in ("junit", "pytest-benchmark"):
        assert verdict_word(verdict) in text
    if verdict == SAME and name in ("markdown", "terminal"):
        assert "1 figure of 1 point is the same" in text.lower()


@pytest.mark.parametrize("verdict", VERDICTS)
def test_every_verdict_has_its_result_in_junit(verdict):
    outcome = Outcome(findings=[of(verdict, "the point")])
    strict = ElementTree.fromstring(to_junit(outcome, strict=True)).find(".//testcase")
    case = ElementTree.fromstring(to_junit(outcome)).find(".//testcase")
    tags = [child.tag for child in case]
    if verdict in FAILING:
        assert tags == ["failure"] == [child.tag for child in strict]
        assert case[0].get("type") == verdict
    elif verdict in OPEN:
        assert (tags, [child.tag for child in strict]) == (["skipped"], ["error"])
    else:
        assert tags == ([] if verdict == SAME else ["system-out"])


@pytest.mark.parametrize("verdict", VERDICTS)
def test_annotations_have_a_level_per_kind_of_verdict(verdict):
    level = "error" if verdict in FAILING else "warning" if verdict in OPEN else "notice"
    assert to_annotations(Outcome(findings=[of(verdict)])).startswith("" if verdict == SAME else f"::{level} title=")


@pytest.mark.parametrize("name", FORMATS)
def test_hostile_names_come_out_as_text(name):
    text = FORMATS[name](HOSTILE_OUTCOME)
    text.encode("utf-8")
    assert "\x1b" not in text
    assert "\0" not in text
    if name in ARRAYS:
        json.loads(text)
    if name == "annotations":
        assert len(text.splitlines()) == len(VERDICTS) - 1
        beginnings = ("::error title=", "::warning title=", "::notice title=")
        assert all(line.startswith(beginnings) for line in text.splitlines())
    else:
        assert not [line for line in text.splitlines() if line.lstrip().startswith(("::error", "##["))]


@pytest.mark.parametrize("name", FORMATS)
def test_nothing_at_all_is_a_document_as_well(name):
    text = FORMATS[name](EMPTY)
    if name in ("markdown", "terminal", "junit"):
        assert "nothing was compared" in text.lower()
    if name in ARRAYS:
        document = json.loads(text)
        assert (document if isinstance(document, list) else document["benchmarks"]) == []
    if name == "annotations":
        assert text == ""


def test_a_frame_of_nothing_can_be_written():
    assert regression_tables(EMPTY).wide[0].printed.empty
    assert render(regression_tables(EMPTY), "markdown").startswith("| check   | point   | figure   |")


@pytest.mark.parametrize("name", FORMATS)
def test_the_work_for_thousands_of_findings_grows_with_them(name):
    def write(findings) -> None:
        assert FORMATS[name](Outcome(findings=findings))

    assert_work_grows_with(many().findings, write)


def test_the_terminal_tables(same_as_snapshot):
    same_as_snapshot("terminal.txt", to_terminal(EXAMPLE))


def test_the_frame_has_a_line_per_finding(same_as_snapshot):
    tables = [replace(table, notes=()) for table in regression_tables(EXAMPLE).wide]
    same_as_snapshot("frame.md", render(tables, "markdown"))
    assert len(regression_tables(many(500)).wide[0].frame) == 500


def test_the_last_line_of_the_terminal_is_the_verdict():
    assert to_terminal(EXAMPLE).splitlines()[-1].startswith("failed: 2 changed, 1 vanished")
    assert to_terminal(Outcome(findings=[of(SAME)])) == "passed: 1 figure of 1 point is the same\n"


def test_tables_of_thousands_end_and_say_so():
    printed = to_terminal(many(3000, NEW))
    assert len(printed.splitlines()) < 40
    assert "2980 more figures are in the other formats." in printed


def test_no_digit_is_cut_in_a_terminal_of_80_columns():
    console = Console(width=80, record=True, file=io.StringIO())
    for table in map(to_rich, regression_tables(EXAMPLE).narrow):
        console.print(table)
    printed = console.export_text()
    for text in ("(17,563,213,824)", "(17,563,213,825)", "+1 MAC", "34.20 ms", "+5.1 %", "1.85 GB"):
        assert text in printed
    assert max(map(len, printed.splitlines())) <= 80
