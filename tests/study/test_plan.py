"""Plans without processes: what is left, how long it takes, keys of rows; and requests as messages."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from fgbench.errors import FgbenchError
from fgbench.study.condition import Condition
from fgbench.study.plan import Plan, Planned
from fgbench.study.published import STUDIES
from fgbench.study.request import StudyRequest

TOLD = {
    **{"condition": "glsim", "against": "vit", "dataset": "cub", "name_of_dataset": "cub", "fields": {}, "position": 1},
    **{
        "model": "glsim",
        "image_size": 224,
        "seeds": [1, 2, 3],
        "lrs": [0.1, 0.01],
        "lr": None,
        "identity": {"name": "cub"},
    },
    **{"tried": [{"lr": 0.1, "validation_top1_percent": 50.0}], "finished": [], "epochs": 10, "search_epochs": 5},
    **{"train_images": 1000, "test_images": 500, "macs": 5, "flops": 10, "params": 1000},
}
TIMING = {
    **{"beside_s": 3.0, "first_s_per_train_image": 0.02, "s_per_train_image": 0.01, "s_per_epoch": 0.5},
    **{"first_s_per_test_image": 0.005, "s_per_test_image": 0.002},
}


def planned(**changes):
    return Planned.of({**TOLD, **changes})


def plan(*conditions, **request):
    return Plan(study="s", title="S", request=StudyRequest(study="s", **request), conditions=list(conditions))


def test_the_time_of_a_run_is_that_of_its_epochs_tests_and_what_is_beside():
    one = planned(lr=0.1)
    one.timing = TIMING
    training = 1000 * (0.02 + 9 * 0.01)
    assert one.run_s(1) == pytest.approx(3 + 10 * 0.5 + training + 500 * (0.005 + 9 * 0.002))
    assert one.run_s(4) == pytest.approx(3 + 10 * 0.5 + training + 500 * (0.005 + 2 * 0.002))  # epochs 4, 8, 10
    assert one.left_s(1) == pytest.approx(3 * one.run_s(1))


def test_a_search_trains_on_a_part_with_the_rates_that_are_left():
    one = planned()
    one.timing = TIMING
    assert one.rates_left == 1
    search = 3 + 5 * 0.5 + 800 * (0.02 + 4 * 0.01) + 200 * 0.005
    assert one.left_s(1) == pytest.approx(3 * one.run_s(1) + search)
    assert planned(lr=0.1).rates_left == planned(lrs=[0.1], tried=[]).rates_left == 0


def test_finished_runs_are_not_left():
    one = planned(lr=0.1, finished=[[2, "key"]])
    assert (one.left, one.finished) == ([1, 3], {2: "key"})
    whole = plan(one, planned(lr=0.1, condition="other"))
    assert (whole.total, whole.finished) == (6, 1)
    assert whole.seconds is None
    assert whole.disk_bytes == (2 + 3) * 2 * 4000 + 3 * 4000


def test_runs_at_once_share_the_time_but_none_is_shorter_than_one():
    one = planned(lr=0.1, seeds=[1])
    one.timing = TIMING
    other = replace(one, told={**one.told, "condition": "other"})
    both = plan(one, other, jobs=2)
    assert both.seconds == pytest.approx(one.run_s(1))
    assert plan(one, other).seconds == pytest.approx(2 * one.run_s(1))
    assert plan(one, other, jobs=8).seconds == pytest.approx(one.run_s(1))


def test_money_follows_from_time():
    one = planned(lr=0.1, seeds=[1])
    one.timing = TIMING
    totals = plan(one, dry_run=True, hour_price=2.0).totals()
    assert totals["price"] == pytest.approx(2.0 * one.run_s(1) / 3600)
    assert plan(one).totals()["price"] is None


def test_a_series_is_what_all_runs_share_and_no_more():
    one = planned(lr=0.1)

    def series(**request):
        return plan(one, **request).row(one, 1, "run")[1].series

    same = series()
    assert same == series(jobs=3) == series(seeds=[1, 2]) == series(threads=2) == series(again=True)
    assert len({same, series(recipe={"epochs": 3}), series(image_sizes=[96]), series(pretrained=True)}) == 4
    other = Planned.of({**TOLD, "lr": 0.1, "identity": {"name": "cub", "train": "other images"}})
    assert plan(other).row(other, 1, "run")[1].series != same


def test_a_request_survives_as_a_message():
    request = StudyRequest(
        study="table5", datasets=["cub"], data_dir=Path("data"), seeds=[1, 2], recipe={"epochs": 3}, lrs=[0.1]
    )
    assert StudyRequest.of(request.message()) == request


def test_the_request_of_a_condition():
    request = StudyRequest(backbones=["test_vit"], image_sizes=[96], recipe={"epochs": 3}, seeds=[1], jobs=2)
    condition = Condition(name="a", model="glsim", selector="random", options={"top_k": 4}, recipe={"augreg": "weak"})
    made = request.accuracy(STUDIES["table5"], condition, "synthetic")
    assert (made.models, made.selectors, made.backbone) == (("glsim",), ("random",), "test_vit")
    assert (made.image_sizes, made.model_options) == ((96,), {"top_k": 4})
    assert made.recipe == {"epochs": 3, "augreg": "weak"}
    other = request.accuracy(STUDIES["table4"], Condition(name="cal", model="cal"), "synthetic")
    assert other.backbone is None  # a ViT is no backbone of CAL


@pytest.mark.parametrize(
    ("study", "options", "message"),
    [
        ("table5", {"models": ["vit"]}, "study table5 has no use for '--models'; it takes none of these"),
        ("selectors", {"models": ["glsim", "ffvt"]}, "study selectors is of one model, got 'glsim, ffvt'; give one"),
        ("table5", {"backbones": ["a", "b"]}, "study table5 takes one value of --backbones, got 'a b'"),
        ("table5", {"image_sizes": [96, 128]}, "takes one value of --sizes, got '96 128'"),
        ("table4", {"selectors": ["gls"]}, "no use for '--selectors'; it takes --models"),
    ],
)
def test_what_a_study_has_no_use_for_is_refused(study, options, message):
    with pytest.raises(FgbenchError, match=message):
        StudyRequest(study=study, **options).check_for(STUDIES[study])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"hour_price": 1.0}, "--hour-price is for the estimate of '--dry-run'"),
        ({"data_dir": Path("x")}, "synthetic is drawn"),
        ({"datasets": ["cub", "dogs"], "dataset_options": {"part_size": "1"}}, "are those of one data set"),
    ],
)
def test_options_that_contradict_each_other(options, message):
    with pytest.raises(FgbenchError, match=message):
        StudyRequest(study="table5", **options).check()
