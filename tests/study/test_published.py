"""The studies that fgbench knows: their conditions, and controls of the same cost."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from fgbench.cli import app
from fgbench.errors import FgbenchError, UnknownNameError
from fgbench.plugins.names import check_model_options, check_models, check_selectors
from fgbench.study.condition import Condition, Setting, Study
from fgbench.study.published import STUDIES, _nearest, study_of
from fgbench.training.request import GIVEN_BY_COMMAND


def cost(condition: Condition) -> int:
    """A plain ViT of 12 blocks at 224: 196 patches; every other model is 1.7 times as much."""
    side = condition.image_size or 224
    stride = 16 - condition.options.get("overlap", 0)
    patches = ((side - 16) // stride + 1) ** 2
    blocks = condition.options.get("depth", 12)
    return int(1000 * patches * blocks * (1.0 if condition.model == "vit" else 1.7))


SETTING = Setting(cost=cost)


def setting_of(name):
    return Setting(cost=cost, backbones=("vit_base_patch16_224", "vit_base_patch32_224") if name == "table15" else None)


@pytest.mark.parametrize("name", STUDIES)
def test_every_condition_can_be_built_by_name_and_has_a_partner(name):
    conditions = STUDIES[name].planned(setting_of(name))
    assert len(conditions) > 2
    for one in conditions:
        check_models([one.model])
        check_selectors([one.selector] if one.selector else None)
        check_model_options(one.options, [one.model], GIVEN_BY_COMMAND)
        others = {other.name for other in conditions} - {one.name}
        assert one.against is None or one.against in others
    assert sum(one.against is None for one in conditions) < len(conditions)


def test_the_components_of_table_5():
    plain, aggregator, crops, whole = STUDIES["table5"].planned(SETTING)
    assert (plain.model, aggregator.model, crops.model, whole.model) == ("vit", "glsim", "glsim", "glsim")
    assert aggregator.options == {"crops": False}
    assert crops.options == {"aggregator": False, "fusion": "confidence"}
    assert whole.options == {}


def test_the_other_ablations_of_the_paper():
    assert [one.options.get("top_k") for one in STUDIES["table13"].planned(SETTING)] == [None, 4, 8, 16, 32]
    assert [one.options.get("metric") for one in STUDIES["table14"].planned(SETTING)] == [None, None, "l1", "l2"]
    assert [one.selector for one in STUDIES["table12"].planned(SETTING)] == [None, "random", "random", None]
    levels = STUDIES["table11"].planned(Setting(models=["vit"]))
    assert [(one.image_size, one.recipe["augreg"]) for one in levels] == [
        (size, level) for size in (224, 448) for level in ("minimal", "weak", "medium", "strong")
    ]
    assert {one.against for one in levels if one.image_size == 448} == {None, "vit at 448, minimal"}
    both = STUDIES["table15"].planned(setting_of("table15"))
    assert [(one.model, one.backbone) for one in both] == [
        (model, f"vit_base_patch{patch}_224") for patch in (16, 32) for model in ("vit", "glsim")
    ]


def test_controls_cost_what_the_model_costs_and_are_compared_with_it():
    conditions = STUDIES["equal-cost"].planned(Setting(models=["vit", "glsim"], cost=cost))
    plain, model, *controls = conditions
    assert (plain.name, model.name, model.against) == ("vit", "glsim", "vit")
    assert {one.against for one in controls} == {"glsim"}
    sizes, overlaps, depths = (
        [getattr(one, "image_size", None) for one in controls],
        *([one.options.get(key) for one in controls] for key in ("overlap", "depth")),
    )
    assert sizes == [288, None, None]  # 18² patches are 1.65 times 14²
    assert overlaps == [None, 4, None]  # 18² as well
    assert depths == [None, None, 20]
    for control in controls:
        assert cost(control) == pytest.approx(cost(model), rel=0.05)


def test_a_model_that_costs_no_more_has_no_control():
    same = Setting(models=["transfg"], cost=lambda condition: 100)
    assert [one.name for one in STUDIES["equal-cost"].planned(same)] == ["vit", "transfg"]


@given(st.lists(st.integers(1, 1000), min_size=1, max_size=40), st.integers(1, 5000))
def test_the_nearest_cost_is_found(steps, wanted):
    costs = [sum(steps[: index + 1]) for index in range(len(steps))]
    found = _nearest(wanted, len(costs) - 1, lambda count: costs[count])
    assert abs(costs[found] - wanted) == min(abs(one - wanted) for one in costs)


def test_a_reduction_at_several_rates():
    names = [one.name for one in STUDIES["keep-rate"].planned(Setting(reductions=["tome"], keep_rates=[0.8, 0.6]))]
    assert names == ["vit", "vit+tome@0.8", "vit+tome@0.6"]


def test_conditions_of_one_name_and_partners_that_are_not_there_are_refused():
    twice = Study(name="s", title="", conditions=lambda _: [Condition(name="a", model="vit")] * 2)
    with pytest.raises(FgbenchError, match="study s: two conditions have the name 'a'"):
        twice.planned(SETTING)
    alone = Study(name="s", title="", conditions=lambda _: [Condition(name="a", model="vit", against="b")])
    with pytest.raises(FgbenchError, match="'a' is against a condition that is not there: 'b'; it has: a"):
        alone.planned(SETTING)


def test_an_unknown_study_is_told_with_the_nearest():
    with pytest.raises(
        UnknownNameError, match=r"unknown study 'tabel5'; did you mean table5.*known studies: equal-cost"
    ):
        study_of("tabel5")
    with pytest.raises(FgbenchError, match="no study was named; known: table4, table5"):
        study_of("")


def test_patch_sizes_need_two_backbones():
    with pytest.raises(FgbenchError, match="table15 compares backbones of several patch sizes, got 'test_vit'"):
        STUDIES["table15"].planned(Setting(backbones=["test_vit"]))


def test_studies_are_listed_with_the_options_that_they_take():
    rows = {
        row["name"]: row for row in json.loads(CliRunner().invoke(app, ["list", "studies", "--format", "json"]).stdout)
    }
    assert list(rows) == list(STUDIES)
    assert rows["table11"]["takes"] == "--models --sizes"
    assert rows["table14"] == {"name": "table14", "takes": "", "description": "Measures of similarity: section D.3.3"}
