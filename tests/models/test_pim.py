"""PIM and HERBS against plain restatements, image by image; their options, losses and costs."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import chain
from typing import Any

import pytest
import torch
from helpers import plain_models, randomness, restated_pim, restated_swin
from helpers.model_scenes import enliven, images
from timm.layers.drop import DropPath
from torch import Tensor, nn

from fgbench.backbone_shape import cut_off_by
from fgbench.errors import FgbenchError
from fgbench.flops.counter import count_flops
from fgbench.models.build import create_model
from fgbench_selectors import Needs, Selector

CLASSES, WIDTH, SHARPNESS = 6, 24, 4
HEADS = (1, 2, 2, 4)  # of the stages of fgtest_swin
CASES = [  # the last number is a seed of weights with which no order hangs on rounding
    ("pim", "fgtest_swin", 64, {}, 4),
    ("pim", "fgtest_swin", 64, {"predict": "combiner", "num_tokens": [40, 9, 4, 1]}, 4),
    ("pim", "fgtest_vit", 96, {"num_tokens": 20}, 2),
    ("pim", "fgtest_vit_reg4", 84, {"predict": "combiner"}, 3),
    ("pim", "fgtest_resnet", 38, {}, 1),  # sides of 10, 5, 3 and 2 places: not all are doubled exactly
    ("pim", "fgtest_resnet", 32, {"predict": "combiner"}, 1),
    ("herbs", "fgtest_swin", 64, {"num_tokens": [16, 9, 4, 2]}, 3),
    ("herbs", "fgtest_swin", 64, {"predict": "combiner"}, 3),
    ("herbs", "fgtest_vit", 96, {"num_tokens": [5, 6, 7, 8]}, 1),
    ("herbs", "fgtest_resnet", 32, {}, 6),
]


@dataclass
class Run:
    """A model with random weights, three images, and what the restatement makes of each."""

    name: str
    backbone: str
    size: int
    options: dict[str, Any]
    seed: int
    model: Any = None
    images: Tensor = field(init=False)

    def __post_init__(self) -> None:
        shape = {"img_size": self.size, "num_classes": CLASSES, "width": WIDTH}
        self.model = create_model(self.name, self.backbone, **shape, **self.options).eval()
        self.images = randomness.images(3, self.size)
        self.draw(self.seed)

    def draw(self, seed: int) -> None:
        """Draw the weights; classifiers on a ResNet are sharper, so that confidences differ by more than rounding."""
        self.weights = randomness.randomise(self.model.state_dict(), seed)
        for name, w in self.weights.items():
            if "classifiers." in name and name.endswith("fc.weight"):
                w *= SHARPNESS if "resnet" in self.backbone else 1
        self.model.load_state_dict(self.weights)

    def tokens(self, image: Tensor) -> list[Tensor]:
        """The tokens (S, C) of every level."""
        if "swin" in self.backbone:
            found = restated_swin.stages(self.weights, image, "pyramid.net.", HEADS, 4)
            return [stage[-1].flatten(0, 1) for stage in found]
        if "vit" in self.backbone:
            shape = (14, 3, 5) if "reg4" in self.backbone else (16, 2, 1)
            encoder = plain_models.Encoder(self.weights, *shape, root="pyramid.net.vit.")
            return encoder.blocks(encoder.embed(image))[0][-4:]
        return [maps.flatten(1).T for maps in plain_models.resnet_stages(image, self.weights, "pyramid.net.")]

    def restate(self) -> list[restated_pim.Answer]:
        """Everything of every image."""
        levels = self.model.pyramid.levels
        options = {"bilinear": "resnet" in self.backbone, "herbs": self.name == "herbs"}
        shape = {"num_tokens": self.model.num_tokens, "grids": [level.grid for level in levels]}
        return [restated_pim.plug_in(self.tokens(x), self.weights, **shape, **options) for x in self.images]


@pytest.fixture(params=CASES, ids=lambda case: ", ".join(map(str, case)), scope="module")
def run(request) -> Run:
    with torch.no_grad():
        made = Run(*request.param)
        made.answers = made.restate()
    return made


@pytest.mark.parametrize("impl", ["fast", "published"])
def test_a_batch_equals_the_restatement_image_by_image(run, impl):
    run.model.impl = impl
    with torch.no_grad():
        found = run.model.explain(run.images)
    expected = torch.stack([answer.predict(run.model.predict) for answer in run.answers])
    assert min(answer.gap for answer in run.answers) > 1e-5, "the order of tokens would hang on rounding"
    assert expected.std() > 0.1
    torch.testing.assert_close(found.logits, expected, rtol=0, atol=1e-4)
    for name, head in found.heads.items():
        torch.testing.assert_close(head, torch.stack([a.heads[name] for a in run.answers]), rtol=0, atol=1e-4)
    first, parts = 0, []
    for level, k in enumerate(run.model.num_tokens):
        parts.append([[first + s for s in answer.order[level][:k]] for answer in run.answers])
        first += run.model.pyramid.levels[level].num_tokens
    assert found.selected.tolist() == [list(chain(*rows)) for rows in zip(*parts, strict=True)]


def test_the_loss_equals_the_restatement(run):
    """In eval mode, where norms use their running statistics and nothing is dropped."""
    targets = torch.tensor([1, 4, 1])
    for selected in (0.0, 0.7):
        run.model.selected_weight = selected
        with torch.no_grad():
            loss, logits = run.model(run.images, targets)
        by = {"level": run.model.level_weight, "selected": selected, "dropped": 5.0, "combiner": 1.0}
        if run.name == "herbs":
            by |= {"first": 1.375, "temperature": 64.0}
        expected = restated_pim.loss(run.answers, targets.tolist(), run.model.num_tokens, by)
        torch.testing.assert_close(loss, expected, rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(logits, run.model(run.images))


def built(name: str = "pim", backbone: str = "fgtest_swin", size: int = 64, **options: Any) -> Any:
    return create_model(name, backbone, img_size=size, num_classes=CLASSES, **{"width": WIDTH, **options})


def test_herbs_divergence_follows_the_temperature_of_the_epoch():
    model, batch, targets = enliven(built("herbs", dropped_weight=0.0)).eval(), images(2, 64), torch.tensor([0, 3])
    found = []
    for epoch in (1, 10, 11, 21):
        model.begin_epoch(epoch)
        with torch.no_grad():
            found.append((model.epoch_temperature, model(batch, targets)[0].item()))
    assert [temperature for temperature, _ in found] == [64, 64, 32, 16]
    assert found[0] == found[1]
    assert found[1][1] < found[2][1] < found[3][1]  # less smoothed, the pyramids are further apart


def test_the_first_pyramid_learns_from_the_second_one_and_not_the_other_way_round():
    model = enliven(built("herbs", level_weight=0.0, dropped_weight=0.0, combiner_weight=0.0)).eval()
    model(images(2, 64), torch.tensor([0, 3]))[0].backward()
    with_gradient = {name.split(".")[0] for name, p in model.named_parameters() if p.grad is not None and p.grad.any()}
    assert with_gradient == {"pyramid", "top_down", "first_classifiers"}


SCHEDULES = [
    ("pim", "swin_large_patch4_window12_384", 384, [2048, 512, 128, 32], 85),
    ("herbs", "swin_large_patch4_window12_384", 384, [256, 128, 64, 32], 7),
    ("pim", "vit_base_patch16_224", 448, [32] * 4, 4),
    ("pim", "resnet50", 448, [32] * 4, 4),
    ("pim", "resnet50", 64, [32, 32, 16, 4], 2),
]


@pytest.mark.parametrize(("name", "backbone", "size", "tokens", "nodes"), SCHEDULES)
def test_the_published_sizes(name, backbone, size, tokens, nodes):
    with torch.device("meta"):
        model = create_model(name, backbone, img_size=size)
    assert model.num_tokens == tokens
    assert model.combiner.adjacency.shape == (nodes, nodes)
    assert model.width == (1536 if "swin" in backbone else 512)
    shapes = [(level.num_tokens, level.width) for level in model.pyramid.levels]
    if "swin" in backbone:
        assert shapes == [(2304, 384), (576, 768), (144, 1536), (144, 1536)]
    if "vit" in backbone:
        assert shapes == [(785, 768)] * 4  # the class token is one of the tokens


def test_a_learned_map_of_positions_stands_where_the_published_codes_have_one():
    pim, herbs, vit, resnet = (
        {name for name in built(*kind).state_dict() if name.startswith("top_down.steps.") and name.endswith("weight")}
        for kind in (("pim",), ("herbs",), ("pim", "fgtest_vit"), ("pim", "fgtest_resnet"))
    )
    assert pim == {"top_down.steps.0.linear.weight", "top_down.steps.1.linear.weight"}
    assert herbs == pim | {"top_down.steps.2.linear.weight"}
    assert vit == resnet == set()


def test_the_combiner_costs_little_where_nothing_is_trained():
    with torch.device("meta"):
        model = create_model("pim", img_size=384).eval()
        features = [torch.empty(1, level.num_tokens, model.width) for level in model.pyramid.levels]
        index = [torch.empty(1, k, dtype=torch.long) for k in model.num_tokens]
        macs = [count_flops(lambda p=p: model.combiner(features, index, published=p)).macs for p in (False, True)]
    assert macs[0] < macs[1] / 25
    total, nodes, width = sum(model.num_tokens), 85, 1536
    classes, graph, maps = width * 200, nodes * nodes * width, 2 * nodes * width * (width // 4)
    assert macs[1] == total * nodes * width + maps + nodes * width * width + graph + nodes * width + classes


@pytest.mark.parametrize("name", ["pim", "herbs"])
def test_the_combiner_alone_needs_no_other_head(name):
    both, alone = (enliven(built(name, predict=predict)).eval() for predict in ("all", "combiner"))
    batch = images(2, 64)
    with torch.no_grad():
        assert torch.equal(both.flow(batch).heads["combiner"], alone(batch))
        assert list(alone.flow(batch).heads) == ["combiner"]
        calls = []
        for model in (both, alone):
            calls.append([])
            layers = [
                m for m in getattr(model, "first_classifiers", model.classifiers).modules() if isinstance(m, nn.Linear)
            ]
            handles = [m.register_forward_hook(lambda *_, own=calls[-1]: own.append(1)) for m in layers]
            model(batch)
            for handle in handles:
                handle.remove()
    assert [len(own) for own in calls] == ([8, 0] if name == "herbs" else [8, 8])


class Loud(Selector):
    """Length of a token."""

    needs = Needs(tokens=True)
    score_shape = ("batch", "tokens")

    def published(self, features):
        return features.read_tokens().norm(dim=-1)


class ByAttention(Loud):
    """Attention to a token."""

    needs = Needs(blocks=slice(None))


def test_another_selector_may_read_tokens_and_not_attention():
    model, batch = enliven(built(selector=Loud())).eval(), images(2, 64)
    with torch.no_grad():
        assert not torch.equal(model.flow(batch).selected, enliven(built()).eval().flow(batch).selected)
    with pytest.raises(FgbenchError, match="has no attention for a selector to read"):
        built(selector=ByAttention())


def test_the_heat_is_the_mean_confidence_over_levels_on_the_first_grid():
    model = enliven(built("pim", "fgtest_vit", 96)).eval()
    with torch.no_grad():
        found = model.run(images(2, 96))[1]
        heat = model.explain(images(2, 96)).scores
    torch.testing.assert_close(heat, torch.stack(found.scores)[:, :, 1:].mean(dim=0))


def test_boxes_are_the_squares_of_tokens_and_the_image_for_the_class_token():
    model = built("pim", "fgtest_vit", 96, num_tokens=37).eval()
    boxes = model.boxes([torch.tensor([[0, 1, 8, 36]])] + [torch.tensor([[2]])] * 3)[0]
    assert boxes[:4].tolist() == [[0, 0, 96, 96], [0, 0, 16, 16], [16, 16, 32, 32], [80, 80, 96, 96]]
    resnet = built("pim", "fgtest_resnet", 70).eval()
    last = resnet.boxes([torch.tensor([[level.num_tokens - 1]]) for level in resnet.pyramid.levels])[0]
    assert last.tolist() == [[68, 68, 70, 70], [64, 64, 70, 70], [64, 64, 70, 70], [64, 64, 70, 70]]


def test_one_image_and_one_node_cannot_be_trained_together():
    model = built(num_tokens=[8, 4, 2, 1]).train()
    assert model.combiner.adjacency.shape == (1, 1)
    with pytest.raises(FgbenchError, match="one node needs 2 images to train"):
        model(images(1, 64), torch.tensor([0]))
    assert model(images(2, 64), torch.tensor([0, 1]))[0].isfinite()


def test_weights_of_the_loss_are_no_difference_of_a_file():
    model = built("herbs", first_weight=0.5, temperature=9.0, combiner_weight=0.1, predict="combiner")
    assert model.options == {
        **{"backbone": "fgtest_swin", "img_size": 64, "width": WIDTH, "selector": "confidence"},
        **{"num_tokens": None, "predict": "combiner"},
    }


def test_pixels_that_no_patch_covers_are_told_of_a_vit():
    assert [cut_off_by(built("pim", "fgtest_vit", size)) for size in (96, 100)] == [0, 4]


def test_a_swin_is_trained_with_the_stochastic_depth_that_timm_builds_it_with_unless_another_is_set():
    with torch.device("meta"):
        model = create_model("pim", "swin_tiny_patch4_window7_224", width=WIDTH)
    rates = [m.drop_prob for m in model.modules() if isinstance(m, DropPath)]
    assert max(rates) == pytest.approx(0.1)
    assert len(set(rates)) > 5  # growing
    model.set_stochastic_depth(0.0)
    assert not model.has_stochastic_depth
