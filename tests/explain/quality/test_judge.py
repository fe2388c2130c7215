"""All selectors on one tiny trained model, from images and boxes to rows."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import pytest
import torch
from helpers.model_scenes import enliven, images
from torch import nn

from fgbench.errors import BrokenPluginError, FgbenchError, LeftOutNotice, UnknownNameError
from fgbench.explain.boxes import Patches
from fgbench.explain.cost import SelectionCost, selection_flops
from fgbench.explain.quality import judge
from fgbench.explain.quality.judge import QualityOptions, evaluating, judge_selectors
from fgbench.explain.scores import SelectorScores
from fgbench.flops.grid import CountGrid
from fgbench.flops.models import model_rows
from fgbench.flops.rows import flops_rows
from fgbench.models.build import create_model, models
from fgbench.models.model import Explanation, Model
from fgbench.models.vision_transformer import VisionTransformerModel
from fgbench_selectors import Needs, Selector, get
from fgbench_selectors.registry import Entry, selectors

SIZE, CLASSES = 64, 5
BOXES = [
    [(0, 0, 20, 20)],
    [],
    [(30, 30, 50, 60), (35, 35, 60, 64)],
    [(10.5, 3, 14, 60)],
    [(0, 0, 64, 64)],
    [(5, 5, 9, 9)],
]
LOCAL = ("pointing_percent", "heat_in_parts_percent", "crop_part_percent", "crop_iou_percent", "part_recall_percent")
FEW = QualityOptions(steps=3, perturbed_images=2)


def build(name="vit", **options) -> Model:
    return enliven(create_model(name, "test_vit", img_size=SIZE, num_classes=CLASSES, **options))


def scenes(boxes=BOXES, batch=6):
    drawn = images(6, SIZE)
    return [(drawn[i : i + batch], boxes and boxes[i : i + batch]) for i in range(0, 6, batch)]


@pytest.fixture
def told():
    return []


@pytest.fixture
def judged(told):
    return partial(judge_selectors, model_name="m", dataset="d", on_problem=told.append, options=FEW)


@pytest.fixture
def plug_in(monkeypatch):
    """Register a selector class under the name ``mine``."""
    return lambda cls: monkeypatch.setattr(selectors, "_from_files", {"mine": Entry("mine", "a test", lambda: cls)})


class Mine(Selector):
    needs = Needs(tokens=True)
    score_shape = ("batch", "patches")

    def published(self, features):
        return features.read_tokens()[:, features.num_prefix_tokens :].norm(dim=-1)


def test_every_registered_selector_has_a_row_with_what_it_finds_and_what_it_costs(judged, told):
    rows = judged(build(), scenes(), seed=3, checkpoint="a.pt")
    assert [row.selector for row in rows] == selectors.names()
    assert told == []
    for row in rows:
        assert (row.model, row.dataset, row.image_size, row.seed, row.checkpoint) == ("m", "d", SIZE, 3, "a.pt")
        assert (row.images, row.images_without_parts, row.perturbed_images, row.top_k) == (6, 1, 2, 2)
        assert all(0 <= getattr(row, name) <= 100 for name in LOCAL)
        assert 0 < row.insertion_auc < 1
        assert 0 < row.deletion_auc < 1
        assert list(row.as_dict())[:2] == ["model", "selector"]
    assert len({row.insertion_auc for row in rows}) > 1, "the selectors cannot be told apart"


@pytest.mark.parametrize(
    "name", [name for name in models.names() if issubclass(models.load(name), VisionTransformerModel)]
)
def test_every_model_on_a_vit_is_judged_with_every_selector(name, judged, told):
    model = build(name)
    rows = judged(model, scenes(), options=replace(FEW, perturbed_images=1, steps=1))
    left_out = [] if model.classifies_tokens else ["confidence"]  # it needs logits of single tokens
    assert [row.selector for row in rows] == [each for each in selectors.names() if each not in left_out]
    assert len(told) == len(left_out)


def test_costs_are_those_that_fgbench_flops_counts(judged):
    rows = judged(build(), scenes(), options=replace(FEW, perturbed_images=0))
    request = CountGrid(sizes=(SIZE,), backbones=("test_vit",), impls=("fast",), num_classes=CLASSES)
    counted = {row.selector: (row.flops, row.percent_of_backbone) for row in flops_rows(request, print)}
    for row in rows:
        assert (row.selector_flops, row.percent_of_backbone) == counted[row.selector]


@pytest.mark.parametrize(("model", "selector"), [("transfg", "psm"), ("ramstrans", "rollout"), ("aftrans", "sacm")])
def test_costs_of_a_models_own_selection_are_those_of_its_part_in_fgbench_flops(model, selector, judged):
    (row,) = judged(build(model), scenes(), [selector], options=replace(FEW, perturbed_images=0))
    request = CountGrid(models=(model,), sizes=(SIZE,), backbones=("test_vit",), impls=("fast",), num_classes=CLASSES)
    (part,) = (counted for counted in model_rows(request, print) if counted.stage == "selector")
    assert (row.selector_flops, row.percent_of_backbone) == (part.flops, part.percent_of_backbone)


def test_figures_do_not_depend_on_batches_or_on_the_order_of_images(judged):
    everything = replace(FEW, perturbed_images=6)
    model, (batch, boxes) = build(), scenes()[0]
    order = [4, 2, 0, 5, 1, 3]
    shuffled = [(batch[order[:4]], [boxes[i] for i in order[:4]]), (batch[order[4:]], [boxes[i] for i in order[4:]])]
    for one, other in zip(
        judged(model, scenes(), options=everything), judged(model, shuffled, options=everything), strict=True
    ):
        for name, value in one.as_dict().items():
            assert getattr(other, name) == (
                pytest.approx(value, rel=1e-4) if isinstance(value, (float, list)) else value
            ), name


def test_without_boxes_there_are_curves_and_no_figures_of_parts(judged):
    for row in judged(build(), scenes(None), ["gls"]):
        assert [getattr(row, name) for name in LOCAL] == [None] * 5
        assert row.images_without_parts is None
        assert row.insertion_auc is not None


def test_where_no_part_is_visible_images_are_counted_and_figures_missing(judged):
    outside = [[(70, 70, 90, 90)]] * 6
    (row,) = judged(build(), scenes(outside), ["gls"])
    assert (row.images, row.images_without_parts, row.pointing_percent) == (6, 6, None)


def test_without_perturbed_images_curves_are_missing_and_never_zero(judged):
    (row,) = judged(build(), scenes(), ["gls"], options=QualityOptions(perturbed_images=0))
    assert (row.insertion_auc, row.deletion_auc, row.perturbed_images) == (None, None, 0)


def test_perturbed_images_are_spread_over_the_data_set(judged, monkeypatch):
    seen = []
    curve = judge.insertion_curve
    monkeypatch.setattr(
        judge, "insertion_curve", lambda m, batch, *rest: (seen.extend(batch), curve(m, batch, *rest))[1]
    )
    options = QualityOptions(perturbed_images=2, perturb_every=3, steps=1)
    (row,) = judged(build(), scenes(batch=2), ["gls"], options=options)
    drawn = images(6, SIZE)
    assert row.perturbed_images == 2
    assert torch.equal(torch.stack(seen), drawn[[0, 3]])


def test_baselines_stand_beside_the_selectors_and_cost_nothing_that_was_counted(judged):
    rows = judged(build(), scenes(), ["gls"], options=replace(FEW, baselines=True))
    assert [row.selector for row in rows] == ["gls", "random", "centre"]
    for row in rows[1:]:
        assert (row.selector_flops, row.percent_of_backbone) == (None, None)
        assert row.pointing_percent is not None
        assert row.insertion_auc is not None


def test_the_models_own_selector_judges_with_its_own_options_and_weights(judged):
    model = build("aftrans")
    nn.init.normal_(model.selector.excitation[2].weight, std=200.0)
    model.selector.excitation[2].bias.data = torch.tensor([9.0, -9, -9, -9, -9, -9])
    own = SelectorScores(model.eval(), ["sacm"], print)
    with torch.inference_mode():
        scores, _ = own.scores(images(2, SIZE))
        assert torch.allclose(scores["sacm"], model.explain(images(2, SIZE)).scores)
    fresh = SelectorScores(build("vit").eval(), ["sacm"], print)
    assert fresh._selectors["sacm"].excitation[2].weight.abs().max() == 0


def test_a_selector_instance_that_nobody_registered_is_judged_too(judged, told):
    rows = judged(build("glsim", selector=Mine()), scenes())
    assert [row.selector for row in rows] == [*selectors.names(), "mine"]
    assert rows[-1].selector_flops > 0
    assert told == []


def test_published_models_are_judged_by_the_same_scores(judged):
    fast, published = build("dcal"), build("dcal", impl="published")
    for one, other in zip(judged(fast, scenes()), judged(published, scenes()), strict=True):
        assert other.pointing_percent == one.pointing_percent
        assert other.selector_flops == one.selector_flops
        assert other.insertion_auc == pytest.approx(one.insertion_auc, rel=1e-4)
    assert published.selector.impl == "published"


def raising(features):
    raise ValueError("no such thing")


@pytest.mark.parametrize(
    ("scores", "why"),
    [
        (raising, "no such thing"),
        (lambda features: features.read_tokens()[..., 0], "have shape"),
        (lambda features: features.read_tokens()[:, 1:, 0] / 0, "not finite"),
    ],
)
def test_a_plug_in_that_breaks_is_reported_once_by_name_and_the_others_have_their_rows(
    scores, why, judged, told, plug_in
):
    plug_in(type("Broken", (Mine,), {"published": lambda self, features: scores(features)}))
    rows = judged(build(), scenes(batch=2))
    assert "mine" not in [row.selector for row in rows]
    assert len(rows) == len(selectors.names()) - 1
    (error,) = told
    assert isinstance(error, BrokenPluginError)
    assert (error.name, why in error.why) == ("mine", True)


def test_a_plug_in_that_breaks_late_has_no_row_of_half_the_images(judged, plug_in):
    calls = []

    def later(self, features):
        calls.append(features)
        return Mine.published(self, features) if len(calls) < 3 else raising(features)  # in the third batch

    plug_in(type("Late", (Mine,), {"published": later}))
    assert [row.selector for row in judged(build(), scenes(batch=2), ["mine", "gls"])] == ["gls"]


def test_a_plug_in_with_a_place_in_no_image_is_left_out(judged, told, plug_in):
    plug_in(
        type(
            "Placeless",
            (Mine,),
            {
                "needs": Needs(blocks=slice(None)),
                "score_shape": ("batch", "heads"),
                "published": lambda self, features: features.read_blocks(slice(None))[0].row(0).sum(dim=-1),
            },
        )
    )
    assert judged(build(), scenes(), ["mine"]) == []
    assert "place in the image" in str(told[0])


@pytest.mark.parametrize("needs", [Needs(blocks=slice(40, 41)), Needs()])
def test_a_selector_with_nothing_to_read_is_left_out_before_a_model_is_run(needs, judged, told, plug_in):
    plug_in(type("Deep", (Mine,), {"needs": needs}))
    assert judged(build(), scenes(), ["mine"]) == []
    assert "reads none of the 6 blocks" in str(told[0])


def test_a_selector_that_runs_but_cannot_be_counted_has_a_row_without_cost(judged, told, plug_in):
    def reads_values(self, features):
        assert features.read_tokens().sum().item() != 0
        return Mine.published(self, features)

    plug_in(type("Uncounted", (Mine,), {"published": reads_values}))
    (row,) = judged(build(), scenes(), ["mine"])
    assert (row.selector_flops, row.percent_of_backbone) == (None, None)
    assert row.pointing_percent is not None
    assert "cannot be counted" in str(told[0])


def test_cal_is_judged_by_its_own_map(judged, told):
    model = enliven(create_model("cal", "fgtest_resnet", img_size=SIZE, num_classes=CLASSES))
    (row,) = judged(model, scenes())
    assert (row.selector, row.selector_flops, told) == ("own", None, [])
    assert row.pointing_percent is not None
    (row,) = judged(model, scenes(), ["psm"])
    assert "psm" in str(told[0])


def test_a_model_that_selects_nothing_has_no_rows_and_that_is_said(judged, told):
    model = create_model("resnet101", "test_resnet", img_size=SIZE, num_classes=CLASSES)
    assert judged(model, scenes(), options=replace(FEW, baselines=True)) == []
    assert isinstance(told[0], LeftOutNotice)
    assert "selects nothing" in str(told[0])


def test_the_model_is_left_in_the_mode_of_every_module_and_without_gradient(judged):
    model = build("transfg").train()
    model.encoder.vit.blocks[0].eval()
    before = [module.training for module in model.modules()]
    judged(model, scenes(), ["psm"])
    assert [module.training for module in model.modules()] == before
    assert all(parameter.grad is None for parameter in model.parameters())
    with pytest.raises(RuntimeError), evaluating(model):  # an error does not change that
        raise RuntimeError
    assert [module.training for module in model.modules()] == before


def test_a_model_in_half_precision_is_judged_with_images_in_its_own(judged, told):
    rows = judged(build("transfg").to(torch.bfloat16), scenes())
    assert [row.selector for row in rows] == selectors.names()
    assert told == []


def test_judging_twice_gives_the_same_rows(judged):
    model = build("ffvt")
    assert judged(model, scenes()) == judged(model, scenes())


class Planted:
    """Scores whose heat lies at given patches."""

    names = ["planted"]  # noqa: RUF012

    def __init__(self, hottest):
        self.scores_of = torch.zeros(1, 16)
        self.scores_of[0, hottest] = 1

    def scores(self, batch):
        patches = Patches(grid=(4, 4), patch_size=16, stride=16, image_size=SIZE)
        return {"planted": self.scores_of.expand(len(batch), -1)}, patches

    def cost(self, name):
        return SelectionCost()


class Anything(Model):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))

    def flow(self, batch):
        return Explanation(batch.mean(dim=(2, 3)))


@pytest.mark.parametrize(("hottest", "expected"), [([5, 6], 100), ([0, 1], 0)])
def test_heat_exactly_on_the_part_is_all_right_and_heat_beside_it_all_wrong(hottest, expected, judged, monkeypatch):
    monkeypatch.setattr(judge, "score_source", lambda *_: Planted(hottest))
    (row,) = judged(Anything(), scenes([[(16, 16, 32, 48)]] * 6), options=replace(FEW, top_k=2))
    assert [getattr(row, name) for name in LOCAL] == [expected] * 5


def test_the_released_rule_and_the_tolerance_reach_the_figures(judged, monkeypatch):
    monkeypatch.setattr(judge, "score_source", lambda *_: Planted([0, 1]))
    beside = scenes([[(0, 0, 16, 8)]] * 6)
    (strict,) = judged(Anything(), beside, options=replace(FEW, top_k=2))
    (lenient,) = judged(Anything(), beside, options=replace(FEW, top_k=2, rule="released", tolerance=1))
    assert (strict.pointing_percent, strict.crop_part_percent) == (0, 25)
    assert (lenient.pointing_percent, lenient.crop_part_percent) == (100, 50)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rule": "tight"}, "unknown box rule"),
        ({"steps": 0}, "steps"),
        ({"perturbed_images": -1}, "perturbed_images"),
        ({"perturb_every": 0}, "perturb_every"),
        ({"top_k": 0}, "top_k"),
        ({"tolerance": -1}, "tolerance"),
    ],
)
def test_options_that_mean_nothing_are_refused(options, message):
    with pytest.raises(FgbenchError, match=message):
        QualityOptions(**options)


def test_requests_that_cannot_be_met_say_why(judged, plug_in):
    with pytest.raises(UnknownNameError):
        judged(build(), scenes(), ["psn"])
    with pytest.raises(FgbenchError, match="no images"):
        judged(build(), [], ["gls"])
    with pytest.raises(FgbenchError, match="top_k"):
        judged(build(), scenes(), ["gls"], options=QualityOptions(top_k=17))
    with pytest.raises(FgbenchError, match="6 images come with boxes for 5"):
        judged(build(), [(images(6, SIZE), BOXES[:5])], ["gls"])


def test_a_selector_called_like_a_baseline_is_refused_beside_it(judged, monkeypatch):
    monkeypatch.setattr(selectors, "_from_files", {"random": Entry("random", "a test", lambda: Mine)})
    with pytest.raises(FgbenchError, match="name of a baseline"):
        judged(build(), scenes(), ["gls"], options=QualityOptions(baselines=True))


def test_progress_is_told_how_many_images_are_done(judged):
    done = []
    judged(build(), scenes(batch=4), ["gls"], progress=done.append)
    assert done == [4, 6]


def test_a_selection_is_counted_for_one_image_whatever_the_batch():
    model = build().eval()
    selector = get("rollout")
    with torch.no_grad():
        counts = {selection_flops(selector, model.record(images(n, SIZE), [selector.needs])[0]) for n in (1, 3)}
    assert len(counts) == 1
