"""Every format of the FLOPs table, from fixed rows: what is printed is printed here once more."""

from __future__ import annotations

import csv
import io
import json

import pytest

from fgbench.results.records import FlopsRow
from fgbench_reports.data import records
from fgbench_reports.measured.flops import NOTES, flops_notes, flops_tables
from fgbench_reports.tables import render

FIELDS = "convention backbone model selector impl image_size num_tokens macs flops percent_of_backbone params".split()


def row(*values) -> dict:
    return dict(zip(FIELDS, values, strict=True))


ROWS = [
    row("full", "vit_base_patch16_224", None, None, None, 224, 197, 17_563_213_824, 35_186_142_288, 100.0, 85_952_456),
    row("full", "vit_base_patch16_224", None, "psm", "published", 224, 197, 917_444_760, 1_834_889_520, 5.21482, 0),
    row("full", "vit_base_patch16_224", None, "psm", "fast", 224, 197, 302_861_496, 630_533_940, 1.79199, 0),
    row("full", "vit_base_patch16_224", None, "mine|_&", "fast", 224, 197, 0, 12, 0.00000003, 0),
]


def test_the_terminal_table(same_as_snapshot):
    same_as_snapshot("flops_table.txt", render.render(flops_tables(ROWS), "table", to_file=True))


def test_the_markdown_table(same_as_snapshot):
    same_as_snapshot("flops_table.md", render.render(flops_tables(ROWS), "markdown"))


def test_the_latex_table(same_as_snapshot):
    same_as_snapshot("flops_table.tex", render.render(flops_tables(ROWS), "latex"))


def test_csv_and_json_hold_the_rows_as_they_are():
    assert json.loads(render.render(flops_tables(ROWS), "json")) == ROWS
    read = list(csv.DictReader(io.StringIO(render.render(flops_tables(ROWS), "csv"))))
    assert [list(line) for line in read] == [FIELDS] * 4
    assert [line["macs"] for line in read] == [str(r["macs"]) for r in ROWS]
    assert read[0]["selector"] == read[0]["impl"] == ""


def test_no_rows_make_an_empty_table_and_an_empty_array():
    assert render.to_json([]) == "[]\n"
    assert render.render(flops_tables([]), "table", to_file=True) == "\n"


def test_the_papers_own_convention_is_rounded_as_the_paper_rounds():
    name = "vit_tiny_patch16_224"
    rows = [
        row("paper", name, None, None, None, 224, 197, 1, 1, 100.0, 1),
        row("paper", name, None, "gls", "published", 224, 197, 0, 113_484, 0.008849131, 0),
    ]
    line = flops_tables(rows).wide[0].printed.iloc[1]
    assert (line["published %"], line["paper %"]) == ("0.0089", "0.0089")
    assert "fast %" not in line


@pytest.mark.parametrize("convention", NOTES)
def test_three_lines_say_what_differs(convention):
    rows = [{**one, "convention": convention} for one in ROWS]
    assert len(flops_notes(records(FlopsRow, rows))) == 3


def test_notes_speak_of_columns_that_are_there():
    assert any(note.startswith("paper:") for note in flops_notes(records(FlopsRow, ROWS)))
    assert not any(note.startswith("paper:") for note in flops_notes(records(FlopsRow, ROWS), beside_paper=False))
    elsewhere = [{**one, "backbone": "vit_small_patch16_224"} for one in ROWS]
    assert not any("paper" in note for note in flops_notes(records(FlopsRow, elsewhere)))
    alone = [one for one in ROWS if one["impl"] != "published"]
    assert not any(note.startswith("published starts") for note in flops_notes(records(FlopsRow, alone)))


def test_a_long_name_is_folded_and_not_cut():
    name = "a_selector_with_a_name_" + 12 * "as_long_as_"
    table = render.render(flops_tables([ROWS[0], {**ROWS[1], "selector": name}]), "table", to_file=True)
    assert "…" not in table
    listed = render.render_words([{"name": name, "from": name}], "table", to_file=True)
    assert "…" not in listed
    assert "".join(listed.split()).count("as_long_as_") > 12


def test_columns_of_words_stand_to_the_left():
    rows = [{"name": "gls", "scores": "(batch, patches)"}]
    assert "{ll}" in render.render_words(rows, "latex")
    assert ":----" not in render.render_words(rows, "markdown").replace("|:---", "")
    assert "---:" not in render.render_words(rows, "markdown")


def test_markup_in_a_selectors_name_is_text():
    rows = [ROWS[0], {**ROWS[1], "selector": "[red]x[/red]"}]
    assert "[red]x[/red]" in render.render(flops_tables(rows), "table", to_file=True)
