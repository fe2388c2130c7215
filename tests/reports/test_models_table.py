"""Every format of the table of models, from fixed rows."""

from __future__ import annotations

from dataclasses import replace

from fgbench_reports.measured.model_flops import model_tables
from fgbench_reports.tables.render import render

FIELDS = "convention backbone model selector impl image_size num_tokens macs flops percent_of_backbone params part"


def row(*values) -> dict:
    return dict(zip(FIELDS.split(), values, strict=True))


VIT = "vit_base_patch16_224"
ROWS = [
    row("full", VIT, None, None, None, 224, 197, 17_563_213_824, 35_186_142_288, 100.0, 85_952_456, None),
    row("full", VIT, "glsim", "gls", "published", 224, 197, 35_140_435_968, 70_403_204_736, 200.088, 93_041_864, None),
    row("full", VIT, "glsim", "gls", "published", 224, 197, 17_563_060_224, 35_186_591_568, 100.001, None, "pass 1"),
    row("full", VIT, "glsim", "gls", "published", 224, 197, 0, 1_204_616, 0.0034236, None, "selector"),
    row("full", VIT, "glsim", "gls", "fast", 224, 197, 33_925_223_424, 67_967_002_516, 193.164, 93_041_864, None),
    row("full", VIT, "glsim", "gls", "fast", 224, 197, 150_528, 604_236, 0.00171726, None, "selector"),
    row("full", "resnet101", None, None, None, 224, None, 7_801_405_440, 15_700_000_000, 100.0, 42_909_960, None),
    row("full", "resnet101", "mine|_&", None, None, 224, None, 7_801_405_440, 15_700_000_000, 100.0, 42_909_960, None),
]


def test_the_terminal_table(same_as_snapshot):
    same_as_snapshot("models_table.txt", render(model_tables(ROWS), "table", to_file=True))


def test_the_markdown_table(same_as_snapshot):
    same_as_snapshot(
        "models_table.md", render([replace(table, notes=()) for table in model_tables(ROWS).wide], "markdown")
    )


def test_the_latex_table(same_as_snapshot):
    same_as_snapshot("models_table.tex", render(model_tables(ROWS), "latex"))


def test_no_rows_make_no_table():
    assert render(model_tables([]), "table", to_file=True) == "\n"
    assert model_tables([]).wide[0].printed.empty
