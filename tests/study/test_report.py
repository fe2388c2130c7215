"""Reports of studies, from rows that are made."""

from __future__ import annotations

import base64
import zlib

import numpy as np
import pytest

from fgbench.results.predictions import PredictionsRow
from fgbench.results.records import AccuracyRow, StudyRow
from fgbench_reports.data import Data
from fgbench_reports.measured.studies import EqualCost, Studies, Table5, study_groups
from fgbench_reports.plots.formats import to_png
from fgbench_reports.report import Figure, Missing, Table, items_breach
from fgbench_reports.tables.render import render

IMAGES = 400
CONDITIONS = {
    "vit": (None, 70.0),
    "aggregator alone": ("vit", 70.0),
    "crops alone": ("vit", 60.0),
    "glsim": ("vit", 85.0),
}


def packed(values):
    return base64.b64encode(zlib.compress(np.asarray(values, dtype="<i4").tobytes())).decode()


def rows(study="table5", series="aa", conditions=None, seeds=(1, 2, 3, 4, 5), seed=0, flops=None):
    """Runs whose right answers are drawn with the accuracy of their condition, and their places and predictions."""
    draw = np.random.default_rng(seed)
    difficulty = draw.random(IMAGES)
    runs, places, predictions = [], [], []
    for position, (name, (against, top1)) in enumerate((conditions or CONDITIONS).items()):
        for one in seeds:
            key = f"{study}-{series}-{name}-{one}"
            shifted = np.clip(top1 / 100 + draw.normal(0, 0.004), 0, 1)
            right = difficulty < shifted
            same = {"model": "vit" if name == "vit" else "glsim", "dataset": "drawn", "image_size": 96, "seed": one}
            runs.append(
                AccuracyRow(
                    **same,
                    selector=None,
                    lr=0.1,
                    epochs=3,
                    top1_percent=100 * float(right.mean()),
                    top5_percent=None,
                    images=IMAGES,
                    seconds=60.0,
                    checkpoint=None,
                    run=key,
                    begun_from="random",
                    backbone="test_vit",
                )
            )
            places.append(
                StudyRow(
                    **same,
                    study=study,
                    title="Components",
                    series=series,
                    condition=name,
                    position=position,
                    against=against,
                    run=key,
                    macs=1,
                    flops=(flops or {}).get(name, 100),
                    params=1,
                )
            )
            predictions.append(
                PredictionsRow(
                    **same,
                    selector=None,
                    run=key,
                    images=IMAGES,
                    test_set="one",
                    predicted=packed(np.where(right, 0, 1)),
                    targets=packed(np.zeros(IMAGES)),
                )
            )
    return runs, places, predictions


def data(*parts):
    runs, places, predictions = ([row for part in parts for row in part[kind]] for kind in range(3))
    return Data(accuracy=runs, study=places, predictions=predictions)


def test_conditions_stand_in_their_order_with_their_verdicts():
    (group,) = study_groups(*rows())
    assert [line.place.condition for line in group.lines] == list(CONDITIONS)
    verdicts = [None if line.judgement is None else line.judgement.verdict for line in group.lines]
    assert verdicts == [None, "no difference found at this size", "worse", "better"]
    whole = group.lines[3]
    assert whole.reduction == pytest.approx(100 * (1 - (100 - whole.top1) / (100 - group.lines[0].top1)))


def test_the_table_of_the_study_and_what_the_paper_says():
    table, statements, figure = Table5().items(data(rows()))
    assert items_breach([table, statements, figure]) is None
    assert "Better: glsim than vit; worse: crops alone than vit." in table.notes
    assert "3 comparisons, corrected by Holm" in " ".join(table.notes)
    assert "against" not in table.frame.columns
    assert list(statements.frame["paper, error −%"]) == [4.41, 4.38, 4.12]
    top1 = dict(zip(table.frame["condition"], table.frame["top-1 %"], strict=True))
    wanted = 100 * (1 - (100 - top1["glsim"]) / (100 - top1["crops alone"]))
    assert statements.frame["here, error −%"][2] == pytest.approx(wanted)
    assert isinstance(figure, Figure)
    assert to_png(figure.draw(), 40).startswith(b"\x89PNG")
    for style in ("table", "json", "csv", "markdown", "latex", "html"):
        assert "glsim" in render([table, statements], style)


def test_other_recipes_are_other_tables_and_other_studies_other_reports():
    parts = data(rows(), rows(series="bb", seed=1), rows(study="mine"), rows(study="equal-cost"))
    assert len([item for item in Table5().items(parts) if isinstance(item, Table)]) == 4
    assert [item.name for item in Studies().items(parts) if isinstance(item, Table)] == ["mine-drawn"]
    assert items_breach(list(Table5().items(parts))) is None
    assert len([item for item in EqualCost().items(parts) if isinstance(item, Table)]) == 1


def test_controls_are_compared_with_their_model():
    conditions = {"vit": (None, 60.0), "glsim": ("vit", 70.0), "vit at 128 px, as glsim": ("glsim", 80.0)}
    parts = data(
        rows("equal-cost", conditions=conditions, flops={"vit": 50, "glsim": 100, "vit at 128 px, as glsim": 98})
    )
    table, _ = EqualCost().items(parts)
    assert list(table.frame["against"]) == [None, "vit", "glsim"]
    assert list(table.frame["×"])[1:] == [2.0, 0.98]
    assert "Better: glsim than vit, vit at 128 px, as glsim than glsim." in table.notes


def test_one_seed_has_no_verdict():
    (group,) = study_groups(*rows(seeds=(1,)))
    assert {line.judgement.verdict for line in group.lines if line.judgement} == {"one seed alone"}


def test_rows_without_predictions_are_compared_by_their_seeds():
    runs, places, _ = rows()
    (group,) = study_groups(runs, places)
    assert group.lines[3].judgement.verdict == "better"


def test_places_without_runs_and_partners_that_were_not_trained_are_left_out():
    runs, places, predictions = rows()
    some = [run for run in runs if "-vit-" not in run.run]
    (group,) = study_groups(some, places, predictions)
    assert [line.judgement for line in group.lines] == [None, None, None]
    (missing,) = Table5().items(Data(study=places))
    assert isinstance(missing, Missing)
    assert missing.command == "fgbench study table5"


def test_searched_learning_rates_are_told():
    runs, places, predictions = rows()
    tried = [{"lr": 0.1, "validation_top1_percent": 61.5}, {"lr": 1.0, "validation_top1_percent": None}]
    searched = [
        StudyRow(**{**{name: getattr(place, name) for name in place.__slots__ if name != "other"}, "tried": tried})
        for place in places
    ]
    (table, *_) = Table5().items(Data(accuracy=runs, study=searched, predictions=predictions))
    assert any("glsim took 0.1 (0.1: 61.5 %, 1: not finite)" in note for note in table.notes)
