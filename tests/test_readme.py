"""Commands and output in the README are correct."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from helpers.throughput_rows import ROWS
from typer.testing import CliRunner

from fgbench.cli import app
from fgbench.cli.program import COMMANDS
from fgbench.plugins.reports import make_reports, reports
from fgbench_reports.data import Data
from fgbench_selectors import selectors
from fgbench_selectors.conformance import check_selector

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
SHOWN = re.compile(r"`fgbench (flops [^`]+)`\n\n```\n(.*?)```\n", re.DOTALL)


def test_the_output_it_shows_is_the_real_one():
    command, shown = SHOWN.search(README).groups()
    assert "psm" in shown
    assert CliRunner().invoke(app, command.split()).stdout == shown


def test_ci_runs_the_test_command_it_gives():
    commands = [line for line in README.splitlines() if line.startswith("python3 -m venv")]
    assert len(commands) == 2
    assert commands[1] in (ROOT / ".ci" / "run").read_text().splitlines()


def test_every_example_is_a_command_that_exists():
    lines = re.findall(r"^fgbench (\w+)", README, re.MULTILINE)
    assert set(lines) == set(COMMANDS)


def test_the_selector_of_contributing_md_conforms(tmp_path, monkeypatch):
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    code = re.search(r"```python\n# spread\.py\n(.*?)```", text, re.DOTALL).group(1)
    path = tmp_path / "spread.py"
    path.write_text(code)
    monkeypatch.setattr(selectors, "_from_files", {})
    assert selectors.add_file(path) == ["spread"]
    check_selector("spread")


def test_the_python_of_the_page_about_reports_runs(monkeypatch):
    text = (ROOT / "docs" / "report.md").read_text(encoding="utf-8")
    monkeypatch.chdir(ROOT)
    names: dict = {}
    exec(re.search(r"## In Python.*?```python\n(.*?)```", text, re.DOTALL).group(1), names)
    assert {"published", "difference"} <= set(names["table1"](names["data"])["from"])
    assert len(names["flops"](names["data"]).query("selector == 'psm' and image_size == 1024")) >= 6


def test_the_report_of_contributing_md_is_made(tmp_path, monkeypatch):
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    path = tmp_path / "slowest.py"
    path.write_text(re.search(r"```python\n# slowest\.py\n(.*?)```", text, re.DOTALL).group(1))
    monkeypatch.setattr(reports, "_from_files", {})
    assert reports.add_file(path) == ["slowest"]
    (made,) = make_reports(["slowest"], Data(throughput=ROWS), lambda problem: pytest.fail(str(problem)))
    (table,) = made.items
    assert (len(table.frame), table.printed["latency_s"][0]) == (10, "1953")
    ((missing,),) = (each.items for each in make_reports(["slowest"], Data(), pytest.fail))
    assert missing.command == "fgbench throughput"
