"""What holds for every registered report, on any rows."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest
from helpers.throughput_rows import HOSTILE, ROWS

from fgbench.cli import app
from fgbench.cli.saved import read_data
from fgbench.plugins.reports import in_reading_order, make_reports, reports
from fgbench_reports.data import KINDS, Data
from fgbench_reports.report import BEST, SECOND, Missing, Table

GALLERY = sorted((Path(__file__).parents[2] / "reports" / "gallery").glob("[!r]*/*.json"))
PLAIN = re.compile(r"[0-9A-Za-z_-]+")


@pytest.fixture(scope="module")
def data() -> dict[str, Data]:
    def refuse(problem: Exception) -> None:
        raise problem

    measured = read_data(None, GALLERY, refuse)
    hostile = [{**row, "model": HOSTILE, "selector": HOSTILE} for row in measured.flops]
    return {
        "nothing": Data(),
        "one row": Data(throughput=ROWS[:1]),
        "all kinds": measured,
        "hostile": Data(throughput=ROWS, flops=hostile, gpu_hour_price=2.5),
    }


@pytest.mark.parametrize("rows", ["nothing", "one row", "all kinds", "hostile"])
@pytest.mark.parametrize("name", reports.names())
def test_a_report_is_made_of_tables_figures_and_what_is_missing(name, rows, data):
    (made,) = make_reports([name], data[rows], lambda problem: pytest.fail(str(problem)))
    assert made.title
    assert made.items or rows == "all kinds"
    named = [item.name for item in made.items if not isinstance(item, Missing)]
    assert len(set(named)) == len(named)
    assert all(PLAIN.fullmatch(each) for each in named)
    for item in made.items:
        if isinstance(item, Table):
            check_table(item)
        if isinstance(item, Missing):
            check_command(item.command)


def check_table(table: Table) -> None:
    assert len(table.frame) > 0, "an empty table is a Missing"
    assert list(table.frame.columns) == list(table.printed.columns)
    assert table.frame.shape == table.printed.shape
    assert table.frame.columns.is_unique
    assert all(isinstance(text, str) for text in table.printed.to_numpy().ravel())
    for (line, heading), mark in table.marks.items():
        assert 0 <= line < len(table.frame)
        assert heading in table.frame
        assert mark in (BEST, SECOND)


def check_command(command: str) -> None:
    """A command that is shown to people is one that can be typed."""
    parts = [part.removeprefix("do ") for part in re.split(r"\s*(?:;|&&)\s*", command.replace("…", "X"))]
    typed = [shlex.split(part) for part in parts if not part.startswith("for ") and part != "done"]
    assert typed
    for words in typed:
        assert words[0] == "fgbench"
        known = {flag for param in commands()[words[1]].params for flag in param.opts}
        assert {word for word in words[2:] if word.startswith("-")} <= known, command


def commands() -> dict:
    import typer

    return typer.main.get_group(app).commands


def test_every_kind_of_row_has_a_command_that_makes_it():
    for command in KINDS.values():
        check_command(command)


def test_reports_are_read_in_one_order_and_those_of_others_come_last():
    assert in_reading_order(["zebra", "table10", "aardvark", "table2", "accuracy_vs_cost"]) == [
        "accuracy_vs_cost",
        "table2",
        "table10",
        "aardvark",
        "zebra",
    ]


def test_every_name_of_the_reading_order_is_a_report():
    from fgbench.plugins.reports import ORDER

    assert set(ORDER) == {name for name, entry in reports.entries().items() if entry.origin == "fgbench"}


def test_what_is_kept_is_rows_that_are_read_again(data):
    assert len(data["all kinds"].accuracy) >= 20
    assert json.dumps(data["all kinds"].flops[0].as_dict())
