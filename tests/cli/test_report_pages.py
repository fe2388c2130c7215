"""``fgbench report --fill``: pages with blocks are filled in place, or refused in one line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from fgbench.cli import app

GALLERY = Path(__file__).parents[2] / "reports" / "gallery"
COUNTED, ACCURACY = GALLERY / "flops" / "counted.json", GALLERY / "accuracy" / "cpu.json"
BLOCK = "before\n\n<!-- begin {0} -->\n<!-- end {0} -->\n\nafter\n"


def fill(*words: object):
    return CliRunner().invoke(app, ["report", "--fill", *map(str, words)])


@pytest.fixture
def page(tmp_path) -> Path:
    path = tmp_path / "page.md"
    path.write_text(BLOCK.format("table1"))
    return path


def test_a_block_gets_the_tables_of_its_report_and_stays_so(page):
    first = fill(page, "--rows", COUNTED)
    assert first.exit_code == 0, first.stderr
    text = page.read_text()
    assert text.startswith("before\n\n<!-- begin table1 -->\n\n**Table 1")
    assert text.endswith("<!-- end table1 -->\n\nafter\n")
    assert "| quantity" in text
    second = fill(page, "--rows", COUNTED)
    assert "1 block filled, nothing changed" in second.stderr
    assert page.read_text() == text


@pytest.mark.slow
def test_the_page_about_findings_shows_the_saved_rows(tmp_path):
    source = GALLERY.parents[1] / "docs" / "findings.md"
    page = tmp_path / source.name
    page.write_text(text := source.read_text(encoding="utf-8"), encoding="utf-8")
    result = fill(page, "--rows", *sorted((GALLERY / "studies").glob("*.json")))
    assert result.exit_code == 0, result.stderr
    assert page.read_text(encoding="utf-8") == text
    shown = {path.name for path in (source.parent / "figures").glob("table*.svg")}
    assert {path.name for path in (tmp_path / "figures").iterdir()} == shown


@pytest.mark.slow
def test_figures_of_a_report_lie_beside_the_page(page):
    page.write_text(BLOCK.format("cost"))
    result = fill(page, "--rows", COUNTED)
    assert result.exit_code == 0, result.stderr
    names = {path.name for path in (page.parent / "figures").iterdir()}
    assert names
    assert all(f"](figures/{name})" in page.read_text() for name in names)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("no block\n", "it has no block"),
        ("<!-- begin a -->\n", "the block 'a' has no line '<!-- end a -->'"),
        (BLOCK.format("tabel1"), "unknown block 'tabel1'; did you mean table1?"),
        (BLOCK.format("selector-costs"), "no rows of kind selection: 'fgbench selection' makes them"),
        (BLOCK.format("throughput"), "'fgbench throughput"),
    ],
)
def test_a_page_that_cannot_be_filled_is_refused_in_one_line_and_stays(page, text, why):
    page.write_text(text)
    result = fill(page, "--rows", COUNTED)
    assert result.exit_code == 2, result.stderr
    (line,) = result.stderr.splitlines()
    assert why in line
    assert str(page) in line
    assert page.read_text() == text


def test_no_page_is_written_before_every_page_can_be(page, tmp_path):
    other = tmp_path / "other.md"
    other.write_text("no block\n")
    before = page.read_text()
    assert fill(page, other, "--rows", COUNTED).exit_code == 2
    assert page.read_text() == before


@pytest.mark.parametrize("words", [["--output", "folder"], ["--format", "json"]])
def test_other_outputs_are_refused_beside_it(page, words):
    result = fill(page, *words)
    assert result.exit_code == 2
    assert "--fill writes pages" in result.stderr


def test_a_page_that_is_not_there_is_refused(tmp_path):
    result = fill(tmp_path / "nowhere.md", "--rows", COUNTED)
    assert result.exit_code == 2
    assert "cannot fill" in result.stderr


def test_self_tests_stand_beside_rows(tmp_path):
    from fgbench.cli.commands.report_pages import split_self_tests

    exported = tmp_path / "mine.json"
    exported.write_text(json.dumps([{"check": "time", "point": "vit", "verdict": "same"}]))
    files, self_tests = split_self_tests([ACCURACY, GALLERY / "regress" / "self-test-cpu.json", exported])
    assert files == [ACCURACY]
    assert [self_test["machine"] for self_test in self_tests][1] == "mine"
