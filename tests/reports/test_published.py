"""The published figures in the package: complete, with sources, and equal to those of other modules."""

from __future__ import annotations

import re
from dataclasses import asdict
from pathlib import Path

import pytest

import fgbench_reports.published as published
from fgbench.datasets.dataset import TABLE9
from fgbench.flops import paper as closed_forms
from fgbench.plugins.kinds import models
from fgbench.plugins.names import own_facts
from fgbench.results import paper
from fgbench.results.recipe import Recipe, published_recipe
from fgbench_reports.paper import counted, names
from fgbench_reports.paper import measured as settings

FOLDER = Path(published.__file__).parent
FILES = sorted(path.name for path in FOLDER.glob("*.csv"))


def test_every_file_has_its_source_in_the_readme_and_every_line_of_it_a_file():
    lines = (FOLDER / "README.md").read_text(encoding="utf-8").splitlines()
    told = [found[1] for line in lines if (found := re.match(r"\| `([\w.]+\.csv)` \| .+ \| .+ \|$", line))]
    assert sorted(told) == FILES
    assert "2407.12891" in "\n".join(lines)


def test_every_file_has_a_loader():
    sizes = {
        "flops_percent_of_backbone.csv": len(published.flops_percents()),
        "flops_table1_mflops.csv": len(published.flops_mflops()),
        "accuracy_literature.csv": len(published.literature("table2")) + len(published.literature("table3")),
        "accuracy_table4.csv": len(published.table4()),
        "models_table6.csv": len(published.table6()),
        "datasets_table9.csv": len(published.table9()),
        "misprints_table9.csv": len(published.misprints_table9()),
        "settings_table10.csv": len(published.table10()),
        "ratios_section5_3.csv": len(published.ratios()),
        "figure4_cub.csv": len(published.figure4()),
    }
    assert sizes == {file: len(published.printed_rows(file)) for file in FILES}
    assert (sizes["flops_percent_of_backbone.csv"], sizes["accuracy_table4.csv"]) == (60, 66)


def test_rows_are_fresh_each_time():
    published.table4()[0]["top1_percent"] = 0
    assert published.table4()[0]["top1_percent"] == 82.71


@pytest.mark.parametrize("file", FILES)
def test_no_cell_is_empty(file):
    assert all(cell not in ("", None) for row in published.printed_rows(file) for cell in row.values())


def test_table_9_is_what_data_sets_are_checked_against_but_for_its_misprints():
    misprints = {(row["dataset"], row["field"]): row for row in published.misprints_table9()}
    for row in published.table9():
        known = TABLE9[row["dataset"]]
        for field in ("classes", "train_images", "test_images"):
            misprint = misprints.get((row["dataset"], field), {"printed": row[field], "correct": row[field]})
            assert (row[field], getattr(known, field)) == (misprint["printed"], misprint["correct"])
    assert {row["misprint"] for row in misprints.values()} == {
        said for each in TABLE9.values() for said in each.misprints
    }


def test_the_settings_are_those_that_models_are_trained_with():
    for model in names.MODELS:
        for dataset in names.DATASETS:
            recipe = asdict(Recipe(**published_recipe(model, dataset)))
            assert settings.deviations(model, dataset, recipe) == {}


def test_a_setting_that_deviates_is_told():
    recipe = asdict(Recipe(epochs=3, batch_size=16, optimizer="adamw", weight_decay=0.05, augreg="weak"))
    assert settings.deviations("cal", "cub", recipe) == {
        "Optimizer": "adamw",
        "Batch size": "16",
        "Weight decay": "0.05",
        "Epochs": "3",
        "LR Schedule": "cosine, 500 steps of warm-up",
        "Augmentations": "flip",
        "Regularization": "label smoothing",
    }


def test_models_and_data_sets_are_those_of_the_harness_and_select_by_what_they_do_there():
    assert set(names.DATASETS) == set(TABLE9)
    for model in names.MODELS:  # read as text: importing models takes torch along
        facts = own_facts(models, model)
        assert facts.attributes["published_selector"] == paper.MODEL_SELECTORS.get(model)


def test_the_papers_grid_is_that_of_its_closed_forms():
    assert (counted.OVERLAP, counted.OVERLAPPED) == (closed_forms.OVERLAP, closed_forms.OVERLAPPED)
    assert set(counted.SELECTORS) == set(closed_forms.SELECTOR_COSTS)
