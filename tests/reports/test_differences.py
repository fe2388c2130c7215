"""``fgbench report differences``: which runs are compared, the table, the figure, and what is missing."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from helpers.compared_rows import data_of, drawn, run
from typer.testing import CliRunner

from fgbench.cli import app
from fgbench_reports.data import Data
from fgbench_reports.measured.compared import compare, verdict
from fgbench_reports.measured.differences import Differences, each_training
from fgbench_reports.report import Figure, Missing, Table
from fgbench_reports.statistics import BETTER, NONE_FOUND, ONE_SEED, WORSE, all_answers, differences

SEEDS = (1, 2, 3, 4, 5)
MARKS = drawn(np.random.default_rng(6), [0.7, 0.82, 0.7], tables=1, seeds=6, seed_deviation=0.003)[0]


def runs_of(model, marks, seeds=SEEDS, **fields):
    return [run(model, seed, marks[at], **fields) for at, seed in enumerate(seeds)]


VIT = runs_of("vit", MARKS[0])
GLSIM = runs_of("glsim", MARKS[1], selector="gls")
FFVT = runs_of("ffvt", MARKS[2], selector="maws")
ALL = data_of(*VIT, *GLSIM, *FFVT)


def items(data: Data) -> tuple[list[Table], list[Figure], list[Missing]]:
    found = list(Differences().items(data))
    return tuple([item for item in found if isinstance(item, kind)] for kind in (Table, Figure, Missing))


def lines(data: Data) -> dict[str, dict]:
    (table,), *_ = items(data)
    return {line["model"]: line for line in table.printed.to_dict("records")}


def test_every_model_stands_beside_the_plain_one_with_its_interval_and_a_verdict():
    (table,), (figure,), missing = items(ALL)
    vit, glsim, ffvt = table.printed.to_dict("records")
    assert list(vit) == [
        *("model", "selects by", "seeds", "top-1 %", "difference", "95 % interval", "McNemar's p", "Holm's p"),
        *("seeds for 1 point", "verdict"),
    ]
    assert (vit["model"], vit["difference"], vit["verdict"]) == ("vit", "–", "baseline")
    assert (glsim["selects by"], glsim["seeds"], glsim["verdict"]) == ("gls", "5", BETTER)
    assert ffvt["verdict"] == NONE_FOUND
    predictions = ALL.predictions
    found = differences(
        all_answers([row for row, _ in VIT], predictions), all_answers([row for row, _ in GLSIM], predictions)
    )
    assert glsim["95 % interval"] == f"{found.low_points:+.1f} to {found.high_points:+.1f}"
    assert glsim["McNemar's p"].count(" ") == 4
    assert any("Holm's correction for 2 comparisons" in note for note in table.notes)
    assert any("chance of seeds and of test images" in note for note in table.notes)
    assert table.title == "Differences from vit · synthetic at 96"
    assert not missing
    assert "better: glsim" in figure.alt
    drawing = figure.draw()
    assert [point.text.split("\n")[0] for point in drawing.points] == ["glsim", "ffvt"]


def test_without_predictions_the_seeds_alone_are_judged_and_the_notes_say_so():
    (table,), _, _ = items(data_of(*VIT, *GLSIM, kept=False))
    assert "McNemar's p" not in table.printed
    assert any("predictions per image were not kept" in note for note in table.notes)


def test_the_sentence_beside_costs_and_the_table_judge_alike():
    (rows,) = each_training(ALL)
    text = verdict(rows)
    assert text.startswith("Better than vit: glsim (+")
    assert "No difference from vit found at this size: ffvt (" in text
    for one in compare(rows).compared:
        assert one.judgement.verdict == lines(ALL)[one.condition.name]["verdict"]


def test_another_baseline():
    told = lines(replace(ALL, baseline="glsim"))
    assert (told["glsim"]["verdict"], told["vit"]["verdict"], told["ffvt"]["verdict"]) == ("baseline", WORSE, WORSE)


def test_runs_that_differ_in_an_option_are_no_seeds_of_each_other():
    recipe = {"epochs": 24, "batch_size": 32, "aggregator": False}
    other = runs_of("glsim", MARKS[2], selector="gls", recipe=recipe)
    other = [(replace(row, run=f"{row.run}b"), replace(kept, run=f"{kept.run}b")) for row, kept in other]
    plain = runs_of("glsim", MARKS[1], selector="gls", recipe={**recipe, "aggregator": True})
    told = lines(data_of(*VIT, *plain, *other))
    assert told["glsim, aggregator=True"]["verdict"] == BETTER
    assert told["glsim, aggregator=False"]["verdict"] == NONE_FOUND


def test_one_seed_has_no_verdict_and_is_no_comparison():
    data = data_of(*VIT, *GLSIM, *FFVT[:1])
    told = lines(data)
    assert "Seeds that one of two models lacks are left out of their comparison." in items(data)[0][0].notes
    assert (told["ffvt"]["verdict"], told["ffvt"]["Holm's p"]) == (ONE_SEED, "–")
    assert told["ffvt"]["95 % interval"] != "–"
    (table,), (figure,), _ = items(data)
    assert any("correction for 1 comparison." in note for note in table.notes)
    figure.draw()


def test_seeds_that_differ_are_compared_by_their_means():
    data = data_of(*VIT, *runs_of("glsim", MARKS[1], (11, 12, 13), selector="gls"))
    (table,), _, _ = items(data)
    assert any("Seeds differ from those of the baseline" in note and "glsim" in note for note in table.notes)
    assert lines(data)["glsim"]["McNemar's p" if "McNemar's p" in table.printed else "verdict"] in ("–", BETTER)


def test_images_that_could_not_be_read_are_counted():
    marks = MARKS[1].copy()
    marks[2, :7] = -1
    (table,), _, _ = items(data_of(*VIT, *runs_of("glsim", marks, selector="gls")))
    assert any("could not read are left out of its comparison: up to 7." in note for note in table.notes)


def test_models_tested_on_other_images_are_named_with_the_command_that_tests_them_again():
    other = [(row, replace(kept, test_set="another")) for row, kept in GLSIM]
    (table,), _, (missing,) = items(data_of(*VIT, *other, *FFVT))
    assert list(table.printed["model"]) == ["vit", "ffvt"]
    assert "tested on other images than vit" in missing.why
    assert missing.command.startswith("fgbench accuracy --model glsim")
    assert "--again" in missing.command


def test_what_has_no_baseline_is_missing_with_the_command_that_trains_one():
    _, _, (missing,) = items(data_of(*GLSIM))
    assert missing.why == "there are no runs of vit"
    assert missing.command.startswith("fgbench accuracy --model vit --sizes 96 --backbone test_vit --dataset synthetic")
    begun = runs_of("ffvt", MARKS[2], selector="maws", begun_from="pretrained")
    (_,), _, (alone,) = items(data_of(*VIT, *GLSIM, *begun))
    assert alone.what == "the difference of ffvt, synthetic at 96"
    _, _, (lonely,) = items(data_of(*VIT))
    assert lonely.why == "there are no other runs"
    _, _, (nothing,) = items(Data())
    assert nothing.what == "differences between trained models"


@pytest.mark.parametrize("style", ["table", "json", "csv", "markdown", "latex"])
def test_the_report_is_printed_in_every_format(style, tmp_path):
    file = tmp_path / "rows.json"
    file.write_text(json.dumps([row.as_dict() for row in (*ALL.accuracy, *ALL.predictions)]))
    result = CliRunner().invoke(app, ["report", "differences", "--rows", str(file), "--format", style])
    assert result.exit_code == 0, result.stderr
    assert "glsim" in result.stdout
    if style == "json":
        assert "better" in result.stdout
    wrong = CliRunner().invoke(app, ["report", "differences", "--rows", str(file), "--baseline", "vitt"])
    assert wrong.exit_code == 2
    assert "--baseline must be one of the models, got 'vitt'" in wrong.stderr
    two = CliRunner().invoke(app, ["report", "differences", "--rows", str(file), "--models", "vit", "glsim"])
    assert "seeds and of test images" in two.stdout
    assert "ffvt" not in two.stdout
