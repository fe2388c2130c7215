"""The graph of SIM-Trans: its closed form, by hand and against the restatement; dropout at test; its cost."""

from __future__ import annotations

import math

import pytest
import torch
from helpers import restated_structure
from helpers.model_scenes import backbones_of, built, enliven, images
from torch import Tensor
from torch.nn import functional

from fgbench.errors import FgbenchError
from fgbench.flops.count_models import count_model
from fgbench.models.build import create_model, models
from fgbench.models.encoder import Encoder
from fgbench.models.simtrans import SIMTrans
from fgbench.models.structure import HIDDEN, StructureGraph, attended_object, closed_form, graph_row

WIDTH = 48


def drawn(batch: int, side: int, seed: int = 0, heads: int = 3, spread: float = 2.0) -> tuple[Tensor, Tensor, Tensor]:
    """Attention of the class token (B, H, G²), W₁ and W₂, in double precision."""
    made = torch.Generator().manual_seed(seed)
    logits = spread * torch.randn(batch, heads, side * side + 1, generator=made, dtype=torch.float64)
    w1 = torch.randn(2, HIDDEN, generator=made, dtype=torch.float64)
    return logits.softmax(dim=-1)[..., 1:], w1, torch.randn(HIDDEN, WIDTH, generator=made, dtype=torch.float64)


# The closed form ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dropped", [False, True])
@pytest.mark.parametrize(("side", "spread"), [(1, 2.0), (2, 0.1), (5, 4.0), (14, 1.0)])
def test_graph_and_closed_form_are_the_restatement_s_row(side, spread, dropped):
    row, w1, w2 = drawn(3, side, seed=side, spread=spread)
    found = attended_object(row, (side, side))
    kept = functional.dropout(torch.ones(3, side * side, HIDDEN, dtype=torch.float64), 0.3) if dropped else None
    for image in range(3):
        p = restated_structure.weights_of_object(row[image])
        torch.testing.assert_close(found.weights[image], p)
        anchor = int(p.argmax())
        assert found.anchor[image] == anchor
        expected = restated_structure.structure(p, anchor, side, w1, w2, None if kept is None else kept[image])
        for run in (graph_row, closed_form):
            torch.testing.assert_close(run(found, w1, w2, kept)[image], expected, rtol=1e-9, atol=1e-15)


@pytest.mark.parametrize("seed", range(3))
def test_the_closed_form_is_the_graph_in_single_precision(seed):
    row, w1, w2 = (x.float() for x in drawn(2, 37, seed, heads=12))
    found = attended_object(row, (37, 37))
    published, fast = graph_row(found, w1, w2), closed_form(found, w1, w2)
    assert published.abs().max() > 0
    assert (fast - published).abs().max() <= 1e-5 * published.abs().max()


def test_the_object_of_nine_patches_by_hand():
    # sums of 0.6, 0.8, 0.1 and 0.1 with a mean of 0.18: above it are patches 2 and 7, and 7 has more
    row = torch.zeros(1, 2, 9)
    row[0, 0, 2], row[0, 0, 7], row[0, 1, 7], row[0, 1, 0] = 0.6, 0.5, 0.3, 0.1
    row[0, 1, 5] = 0.1
    found = attended_object(row, (3, 3))
    assert found.anchor.tolist() == [7]
    assert found.weights[0].tolist() == pytest.approx([0, 0, 0.3, 0, 0, 0, 0, 0.4, 0])
    # from row 2, column 1 to row 0, column 2: up two rows, one column to the right
    distance, angle = math.sqrt(4 + 1) / 3, (math.atan2(1, -2) / math.pi + 1) / 2
    assert found.nodes[0, 2].tolist() == pytest.approx([distance, angle])
    assert found.nodes[0, 7].tolist() == pytest.approx([0, 0.5])
    assert not found.nodes[0, [0, 1, 3, 4, 5, 6, 8]].any()


def test_attention_that_is_even_has_no_object_and_adds_nothing():
    _, w1, w2 = drawn(1, 4)
    found = attended_object(torch.full((2, 3, 16), 1 / 16, dtype=torch.float64), (4, 4))
    assert not found.weights.any()
    for run in (graph_row, closed_form):
        assert not run(found, w1, w2).any()


@pytest.mark.parametrize("which", [0, 1])
def test_gradient_is_the_same_through_graph_and_closed_form(which):
    gradients = []
    for impl in ("published", "fast"):
        name = backbones_of(models.load("simtrans"))[which]
        model = enliven(create_model("simtrans", name, img_size=112, num_classes=3, impl=impl)).double().eval()
        model(images(3, 112).double(), torch.tensor([0, 1, 1]))[0].backward()
        gradients.append({key: parameter.grad for key, parameter in model.named_parameters()})
    for key, published in gradients[0].items():
        torch.testing.assert_close(gradients[1][key], published, rtol=1e-6, atol=1e-10, msg=key)
    assert gradients[0]["structure.weight1"].abs().max() > 0


def test_the_structure_trains_the_attention_that_it_reads():
    row, w1, w2 = drawn(2, 5)
    row = row.requires_grad_()
    closed_form(attended_object(row, (5, 5)), w1, w2).sum().backward()
    assert row.grad.abs().max() > 0


# Dropout at test ------------------------------------------------------------------------------------------------------


def test_a_tenth_is_dropped_at_test_where_it_is_asked_for_and_never_otherwise():
    plain, dropping = built("simtrans"), built("simtrans", test_dropout=True)
    batch = images(2, 64)
    with torch.no_grad():
        assert torch.equal(plain(batch), plain(batch))
        torch.manual_seed(0)
        first, second = dropping(batch), dropping(batch)
        assert (first - second).abs().max() > 1e-4
        for impl in ("fast", "published"):
            dropping.impl = impl
            torch.manual_seed(0)
            torch.testing.assert_close(dropping(batch), first, rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    ("dropout", "test_dropout", "training", "kept"),
    [
        (0.0, False, True, 1),
        (0.0, True, False, 0.9),
        (0.0, True, True, 0.9),
        (0.3, False, True, 0.7**2),
        (0.3, False, False, 1),
        (0.3, True, True, 0.7 * 0.9),
    ],
)
def test_the_share_that_is_kept_between_the_layers(dropout, test_dropout, training, kept):
    graph = StructureGraph(8, dropout=dropout, test_dropout=test_dropout).train(training)
    row, _, _ = drawn(2, 10)
    factors = graph._kept(attended_object(row, (10, 10)))
    if kept == 1:
        assert factors is None
        return
    assert (factors > 0).double().mean().item() == pytest.approx(kept, abs=0.01)
    assert factors[factors > 0].unique().tolist() == pytest.approx([1 / kept])


# The model ------------------------------------------------------------------------------------------------------------


def test_weights_begin_within_one_over_the_root_of_the_outputs():
    graph = StructureGraph(64)
    for weight, bound in ((graph.weight1, 512**-0.5), (graph.weight2, 64**-0.5)):
        assert 0.95 * bound < weight.abs().max() <= bound
        assert weight.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.1)


def test_the_structure_of_three_blocks_reaches_the_logits():
    model, batch = built("simtrans"), images(2, 64)
    with torch.no_grad():
        logits = model(batch)
        model.structure.weight2.zero_()
        plain = model(batch)
        state = model.start(batch)
        tokens = []
        for index in range(model.encoder.depth):
            model.encoder.run(state, range(index, index + 1))
            tokens.append(model.encoder.norm(state.tokens)[:, 0])
        expected = model.head(torch.cat(tokens[-3:], dim=1))
    torch.testing.assert_close(plain, expected, rtol=0, atol=1e-5)
    assert (logits - plain).abs().max() > 0.01


def test_the_object_of_every_place_is_explained():
    model, batch = built("simtrans"), images(2, 64)
    with torch.no_grad():
        found = model.explain(batch)
    patches = model.encoder.num_patches
    assert found.scores.shape == (2, 3, patches)
    assert torch.equal(found.selected, found.scores.argmax(dim=-1))
    assert found.boxes.shape == (2, 3, 4)
    assert (found.scores >= 0).all()
    assert (found.scores == 0).any(dim=-1).all()


def test_one_image_does_not_train_and_a_shallow_backbone_has_no_three_places(monkeypatch):
    model = built("simtrans").train()
    with pytest.raises(FgbenchError, match="takes 2 images or more, got 1") as caught:
        model(images(1, 64), torch.tensor([0]))
    assert "\n" not in str(caught.value)
    assert model.eval()(images(1, 64)).shape == (1, 3)
    init = Encoder.__init__

    def shallow(self, vit, *others, **options):
        vit.blocks = vit.blocks[:2]
        init(self, vit, *others, **options)

    monkeypatch.setattr(Encoder, "__init__", shallow)
    with pytest.raises(FgbenchError, match=r"the last 3 blocks; fgtest_vit has 2; choose a deeper") as caught:
        SIMTrans("fgtest_vit", img_size=64)
    assert "\n" not in str(caught.value)


# Its cost -------------------------------------------------------------------------------------------------------------


def structure_macs(impl: str) -> tuple[int, int, int]:
    """MACs of the stage at 448 pixels on ViT-B/16, its FLOPs, and its figure in fvcore's convention."""
    with torch.device("meta"):
        model = create_model("simtrans", img_size=448, impl=impl).eval()
    stage = count_model(model, 448).by_label["structure"]
    return stage.macs, stage.flops("full"), stage.flops("fvcore")


def test_the_published_graph_costs_2_94_gmac_per_place_and_image():
    patches, width = 37**2, 768
    place = patches**2 * (1 + HIDDEN + width) + patches * HIDDEN * (2 + width)
    assert round(place / 1e9, 2) == 2.94
    macs, flops, fvcore = structure_macs("published")
    assert macs == fvcore == 3 * place
    # activations: LeakyReLU and ReLU of (G², 512), LeakyReLU of (G², D); some dozens of operations per patch beside
    assert 0 <= flops - 2 * macs - 3 * patches * (2 * HIDDEN + width) < 3 * patches * 60


def test_the_closed_form_costs_as_many_as_one_row_of_attention():
    tokens, patches, width = 1370, 37**2, 768
    macs, flops, fvcore = structure_macs("fast")
    assert macs == fvcore == 3 * (tokens * width + 3 * patches + 2 * HIDDEN + HIDDEN * width)
    assert 3 * (3 * patches + 2 * HIDDEN + HIDDEN * width) < 1.2e6 < 3 * 2.94e9 / 7000
    assert 0 <= flops - 2 * macs < 3 * 12 * tokens * 20
