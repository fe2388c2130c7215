"""Losses against cases worked by hand."""

from __future__ import annotations

import math

import pytest
import torch
from helpers.model_scenes import backbones_of, enliven, images
from torch.nn import functional

from fgbench.models.build import create_model, models
from fgbench.models.cal import attention_boxes, choose_maps, drop
from fgbench.models.losses import center_loss, contrastive_loss, near_contrastive_loss, weigh_by_uncertainty
from fgbench.models.model import fuse


def test_contrastive_loss_of_two_of_a_class_and_one_stranger():
    # cosines: a·b = 0.6 (one class), a·c = 0.8, b·c = 0 (strangers); lengths do not matter
    tokens = torch.tensor([[1.0, 0.0], [1.2, 1.6], [1.6, -1.2]])
    loss = contrastive_loss(tokens, torch.tensor([7, 7, 3]), margin=0.4)
    pairs = 2 * (1 - 0.6) + 2 * (0.8 - 0.4) + 2 * 0.0
    assert loss.item() == pytest.approx(pairs / 9, abs=1e-6)


def test_contrastive_loss_is_nothing_for_equals_of_a_class_and_strangers_below_the_margin():
    tokens = torch.tensor([[2.0, 0.0], [5.0, 0.0], [0.3, 1.0]])
    assert contrastive_loss(tokens, torch.tensor([0, 0, 1]), margin=0.4).item() == pytest.approx(0, abs=1e-6)


def test_near_contrastive_loss_keeps_a_stranger_up_to_a_margin_beyond_its_class():
    # Distances (1 − cos)/2 of a to b, c and d: 0.2, 0.4 and 0.84; of b to c and d: 0.83 and 0.41; of c to d: 0.93.
    angles = torch.tensor([0.0, math.acos(0.6), -math.acos(0.2), math.acos(0.6) + math.radians(80)])
    tokens = torch.stack([angles.cos(), angles.sin()], dim=1) * torch.tensor([[1.0], [2.0], [0.5], [3.0]])
    targets = torch.tensor([7, 7, 3, 5])
    cos = [[math.cos(a - b) for b in angles.tolist()] for a in angles.tolist()]
    # The mean distance to the own class is 0.2 for a and b, and 0 for c and d.
    kept = [(i, j) for i in range(4) for j in range(4) if targets[i] != targets[j]]
    kept = [(i, j) for i, j in kept if (1 - cos[i][j]) / 2 <= 0.3 + (0.2 if i < 2 else 0.0)]
    assert kept == [(0, 2), (1, 3)]
    expected = 2 * (1 - 0.6) + sum(1 + cos[i][j] for i, j in kept)
    assert near_contrastive_loss(tokens, targets).item() == pytest.approx(expected / 16, abs=1e-6)
    assert near_contrastive_loss(tokens, targets, margin=0.1).item() == pytest.approx(2 * 0.4 / 16, abs=1e-6)


def test_near_contrastive_loss_of_one_class_is_the_sum_of_its_distances():
    tokens = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]])
    assert near_contrastive_loss(tokens, torch.tensor([4, 4, 4])).item() == pytest.approx(2 * (1 + 1 + 2) / 9)
    assert near_contrastive_loss(tokens[:1], torch.tensor([4])).item() == pytest.approx(0, abs=1e-6)


def test_center_loss_adds_over_features_and_averages_over_images():
    features = torch.tensor([[1.0, 2.0], [0.0, 0.0]])
    centers = torch.tensor([[0.0, 0.0], [3.0, 4.0]])
    assert center_loss(features, centers).item() == pytest.approx((1 + 4 + 9 + 16) / 2)


def test_uncertainty_halves_each_loss_and_adds_its_logarithm():
    losses = torch.tensor([2.0, 4.0])
    weighted = weigh_by_uncertainty(losses, torch.tensor([0.0, math.log(2)]))
    assert weighted.item() == pytest.approx(0.5 * (2 + 0) + 0.5 * (4 / 2 + math.log(2)))


def test_label_smoothing_by_hand():
    model = create_model("vit", "fgtest_vit", img_size=32, num_classes=3, label_smoothing=0.3)
    logits = torch.tensor([[0.0, math.log(2), 0.0]])  # probabilities ¼ ½ ¼
    # targets of 0.3 / 3 everywhere and 0.7 more on the right one
    expected = -(0.1 * math.log(0.25) + 0.8 * math.log(0.5) + 0.1 * math.log(0.25))
    assert model.cross_entropy(logits, torch.tensor([1])).item() == pytest.approx(expected, abs=1e-6)


def test_fusion_of_two_heads_by_hand():
    heads = {"a": torch.tensor([[0.0, 0.0]]), "b": torch.tensor([[math.log(3), 0.0]])}
    assert fuse(heads, "mean")[0].tolist() == pytest.approx([math.log(3) / 2, 0])
    # (½ + ¾) / 2 and (½ + ¼) / 2
    assert fuse(heads, "probabilities").exp()[0].tolist() == pytest.approx([0.625, 0.375])
    assert torch.equal(fuse(heads, "first"), heads["a"])
    assert torch.equal(fuse(heads, "last"), heads["b"])


def test_label_smoothing_reaches_every_head():
    model = create_model("vit", "fgtest_vit", img_size=32, num_classes=3, label_smoothing=0.3)
    logits, targets = torch.tensor([[0.0, math.log(2), 0.0]]), torch.tensor([1])
    one = model.cross_entropy(logits, targets).item()
    assert model.cross_entropy(logits, targets, logits, logits).item() == pytest.approx(3 * one)


def test_the_probabilities_of_half_precision_stay_finite():
    heads = {"a": torch.tensor([[40.0, 0.0]]).half(), "b": torch.tensor([[38.0, 0.0]]).half()}
    assert torch.isfinite(fuse(heads, "probabilities")).all()


def test_the_margin_is_the_one_that_was_asked_for():
    tokens, targets = torch.tensor([[1.0, 0.0], [0.8, 0.6]]), torch.tensor([0, 1])
    assert contrastive_loss(tokens, targets, 0.2).item() == pytest.approx(2 * 0.6 / 4)
    assert contrastive_loss(tokens, targets, 0.7).item() == pytest.approx(2 * 0.1 / 4)
    model = enliven(create_model("transfg", "fgtest_vit", img_size=64, num_classes=3)).eval()
    batch = images(3, 64), torch.tensor([0, 1, 2])
    losses = []
    for margin in (-1.0, 1.0):
        model.margin = margin
        losses.append(model(*batch)[0].item())
    assert losses[0] > losses[1] + 0.1


def test_cal_outside_of_training_draws_nothing_and_moves_no_center():
    model = enliven(create_model("cal", "fgtest_resnet", img_size=64, num_classes=3)).eval()
    batch, targets = images(2, 64), torch.tensor([2, 0])
    first, logits = model(batch, targets)
    assert first.item() == model(batch, targets)[0].item()
    assert first.item() == pytest.approx(functional.cross_entropy(logits, targets).item())
    assert model.feature_center is None
    assert torch.equal(logits, model(batch))


def test_pair_wise_attention_by_hand():
    """One head, one token an image: the weights of one's own value and of the partner's are a softmax of two."""
    from types import SimpleNamespace

    from fgbench.models.encoder import Encoder, State

    same = torch.nn.Identity()
    qkv = torch.nn.Linear(1, 3, bias=False)
    with torch.no_grad():
        qkv.weight.copy_(torch.tensor([[1.0], [2.0], [10.0]]))  # q = x, k = 2x, v = 10x
    attn = SimpleNamespace(
        qkv=qkv, num_heads=1, q_norm=same, k_norm=same, scale=1.0, fused_attn=False, training=False, attn_drop=same
    )
    attn.proj = attn.proj_drop = same
    block = SimpleNamespace(
        norm1=same, attn=attn, drop_path1=same, norm2=same, mlp=lambda x: 0 * x, drop_path2=same, ls1=None, ls2=None
    )
    encoder = SimpleNamespace(vit=SimpleNamespace(blocks=[block]), _rope=lambda *_: None)
    state = State(torch.tensor([[[1.0]], [[0.5]]]))
    with torch.no_grad():
        Encoder.run_in_pairs(encoder, state, torch.tensor([1, 0]))
    own = 1 / (1 + math.exp(1.0 * 1.0 - 1.0 * 2.0))  # image 0: logits 1·2 with itself, 1·1 with its partner
    other = 1 / (1 + math.exp(0.5 * 2.0 - 0.5 * 1.0))  # image 1: logits 0.5·1 with itself, 0.5·2 with its partner
    assert state.tokens.flatten().tolist() == pytest.approx(
        [1 + own * 10 + (1 - own) * 5, 0.5 + other * 5 + (1 - other) * 10], rel=1e-5
    )


def test_transfg_adds_the_contrastive_term_on_its_class_token():
    model = enliven(create_model("transfg", "fgtest_vit", img_size=64, num_classes=3, contrastive=2.0)).eval()
    batch, targets = images(3, 64), torch.tensor([0, 0, 2])
    loss, logits = model(batch, targets)
    found = model.flow(batch)
    expected = functional.cross_entropy(found.logits, targets, label_smoothing=0.1)
    expected = expected + 2 * contrastive_loss(found.token, targets, 0.4)
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
    assert torch.equal(logits, found.logits)


@pytest.mark.parametrize(
    ("name", "term", "margin"), [("simtrans", near_contrastive_loss, 0.3), ("aatrans", contrastive_loss, 0.4)]
)
def test_simtrans_and_aatrans_add_their_contrastive_terms(name, term, margin):
    model = enliven(create_model(name, "fgtest_vit", img_size=64, num_classes=3, contrastive=2.0)).eval()
    batch, targets = images(3, 64), torch.tensor([0, 0, 2])
    loss, logits = model(batch, targets)
    found = model.flow(batch)
    expected = functional.cross_entropy(found.logits, targets, label_smoothing=0.1)
    expected = expected + 2 * term(found.token, targets, margin)
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
    assert torch.equal(logits, found.logits)


def test_pair_wise_attention_with_itself_changes_nothing_and_with_another_does():
    # Every key and value twice: the softmax halves each weight, and the sum is the same.
    model = enliven(create_model("dcal", "fgtest_vit_reg4", img_size=70, num_classes=3)).eval()
    batch = images(2, 70)
    with torch.no_grad():
        alone = model.encoder.start(batch)
        model.encoder.run(alone, range(model.encoder.depth))
        itself, other = model.encoder.start(batch), model.encoder.start(batch)
        model.encoder.run_in_pairs(itself, torch.tensor([0, 1]))
        model.encoder.run_in_pairs(other, torch.tensor([1, 0]))
    assert torch.allclose(itself.tokens, alone.tokens, atol=1e-4)
    assert not torch.allclose(other.tokens, alone.tokens, atol=1e-2)


def test_dcal_trains_three_predictions_weighted_by_their_uncertainty():
    model = enliven(create_model("dcal", "fgtest_vit", img_size=64, num_classes=3)).eval()
    batch, targets, partner = images(2, 64), torch.tensor([0, 2]), torch.tensor([0, 1])
    loss, _ = model.loss(batch, targets, partner)
    found = model.flow(batch)
    cost = [functional.cross_entropy(head, targets, label_smoothing=0.1) for head in found.heads.values()]
    losses = torch.stack([*cost, cost[0]])  # a partner that is oneself distracts nobody
    assert loss.item() == pytest.approx(weigh_by_uncertainty(losses, model.log_variances).item(), rel=1e-4)


def test_ielt_weighs_its_two_predictions():
    model = enliven(create_model("ielt", "fgtest_vit", img_size=64, num_classes=3, label_smoothing=0.0)).eval()
    batch, targets = images(3, 64), torch.tensor([0, 1, 2])
    loss, logits = model(batch, targets)
    found = model.flow(batch)
    final, cross = (functional.cross_entropy(x, targets) for x in (found.logits, found.heads["cross-layer"]))
    assert loss.item() == pytest.approx((0.6 * final + 0.4 * cross).item(), rel=1e-5)
    assert torch.equal(logits, found.logits)
    assist = found.heads["cross-layer"].softmax(dim=1) * model.head.weight.sum(dim=1)
    torch.testing.assert_close(found.logits, found.heads["key"] + assist)
    model.loss_weight = 0.25
    assert model(batch, targets)[0].item() == pytest.approx((0.25 * final + 0.75 * cross).item(), rel=1e-5)


@pytest.mark.parametrize("predict", ["first", "mixture"])
def test_r2trans_trains_three_predictions_whatever_it_predicts_by(predict):
    model = create_model("r2trans", "fgtest_vit", img_size=64, num_classes=3, label_smoothing=0.0, predict=predict)
    model, batch, targets = enliven(model).eval(), images(3, 64), torch.tensor([0, 1, 2])
    loss, logits = model(batch, targets)
    heads = model.explain(batch).heads
    first, second, both = (functional.cross_entropy(heads[name], targets) for name in ("first", "second", "both"))
    assert loss.item() == pytest.approx((0.4 * first + 0.4 * second + 0.2 * both).item(), rel=1e-5)
    mixture = (4 * heads["first"] + 4 * heads["second"] + 2 * heads["both"]) / 10
    torch.testing.assert_close(logits, heads["first"] if predict == "first" else mixture)
    assert abs(first - second) > 0.01


def test_cal_boxes_surround_what_reaches_the_threshold():
    heat = torch.zeros(2, 1, 5, 5)
    heat[0, 0, 1, 3] = 1.0  # at 17 pixels and corners aligned, cell c lies at pixel 4·c: row 4, column 12
    # ½ of a single peak reaches two pixels to each side along a row or column
    assert attention_boxes(heat, 17, 0.5, 0.0).tolist() == [[2, 10, 6, 14], [0, 0, 16, 16]]
    # padded by 0.2 · 17 = 3.4 pixels: int(2 − 3.4) → 0, int(6 + 3.4) = 9, int(10 − 3.4) = 6, 14 + 3.4 → 17
    assert attention_boxes(heat, 17, 0.5, 0.2)[0].tolist() == [0, 6, 9, 17]


def test_cal_drops_what_reaches_the_threshold():
    heat = torch.tensor([[[[1.0, 0.0], [0.0, 0.4]]]])
    dropped = drop(torch.ones(1, 3, 2, 2), heat, 0.5)
    assert dropped[0, 0].tolist() == [[0, 1], [1, 1]]


def test_cal_chooses_maps_by_the_root_of_their_sum():
    torch.manual_seed(0)
    maps = torch.zeros(1, 3, 2, 2)
    maps[0, 1], maps[0, 2] = 1.0, 4.0  # sums 4 and 16: roots 2 and 4
    drawn = torch.cat([choose_maps(maps, 64).amax(dim=(2, 3)) for _ in range(100)])
    shares = [(drawn == value).float().mean().item() for value in (0.0, 1.0, 4.0)]
    assert shares == pytest.approx([0.0, 1 / 3, 2 / 3], abs=0.03)


def test_cal_centers_start_at_zero_and_move_towards_their_class():
    model = create_model("cal", "fgtest_resnet", img_size=64, num_classes=3, beta=0.5)
    pooled = torch.zeros(3, model.fc.in_features)
    pooled[0, 0], pooled[1, 0], pooled[2, 1] = 1.0, 3.0, 1.0
    before = model.move_centers(pooled, torch.tensor([1, 1, 0]))
    assert not before.any()
    # half of the way to the mean of 1 and 3
    assert model.feature_center[1, :2].tolist() == [1.0, 0.0]
    assert model.feature_center[0, :2].tolist() == [0.0, 0.5]
    assert not model.feature_center[2].any()
    again = model.move_centers(pooled, torch.tensor([1, 1, 0]))
    assert again[0, 0].item() == pytest.approx(1.0), "centers are compared at length one"


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
@pytest.mark.parametrize("with_centers", [False, True])
def test_cal_trains_in_another_precision_whether_its_centers_were_converted_or_made_there(dtype, with_centers):
    model = enliven(create_model("cal", "fgtest_resnet", img_size=64, num_classes=3)).train()
    if with_centers:
        model.make_room(model.buffers_of_training)
    model.to(dtype)
    weights = [parameter.clone() for parameter in model.parameters()]
    for _ in range(2):  # the second step begins from centers that have moved
        loss, _ = model(images(3, 64).to(dtype), torch.tensor([0, 1, 1]))
        loss.backward()
    torch.optim.SGD(model.parameters(), lr=0.1).step()
    assert torch.isfinite(loss)
    assert model.feature_center[:2].any(dim=1).all()
    assert not model.feature_center[2].any()
    assert all(torch.isfinite(parameter).all() for parameter in model.parameters())
    assert any(not torch.equal(old, new) for old, new in zip(weights, model.parameters(), strict=True))


def test_cal_s_centers_move_alike_in_double_and_in_single_precision():
    generator = torch.Generator().manual_seed(0)
    model = create_model("cal", "fgtest_resnet", img_size=64, num_classes=3, beta=0.3)
    pooled = torch.randn(3, model.fc.in_features, generator=generator, dtype=torch.float64)
    targets, moved = torch.tensor([1, 1, 0]), {}
    for dtype in (torch.float32, torch.float64):
        model.feature_center = torch.zeros(model.fc.weight.shape, dtype=dtype)
        for _ in range(2):
            centers = model.move_centers(pooled.to(dtype), targets)
        assert (centers.dtype, model.feature_center.dtype) == (dtype, dtype)
        moved[dtype] = model.feature_center.double()
    first = 0.3 * torch.stack([pooled[2], pooled[:2].mean(dim=0)])  # from 0; then from there, compared at length one
    expected = first + 0.3 * (first / 0.3 - functional.normalize(first, dim=1))
    torch.testing.assert_close(moved[torch.float64][:2], expected, rtol=0, atol=1e-12)
    torch.testing.assert_close(moved[torch.float32], moved[torch.float64], rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", [name for name in models.names() if name != "cal"])
def test_every_model_trains_a_step_in_double_precision(name):
    backbone = backbones_of(models.load(name))[0]
    model = enliven(create_model(name, backbone, img_size=64, num_classes=3)).train().double()
    loss, logits = model(images(3, 64).double(), torch.tensor([0, 1, 1]))
    loss.backward()
    assert (loss.dtype, logits.dtype) == (torch.float64, torch.float64)
    assert all(parameter.grad is None or torch.isfinite(parameter.grad).all() for parameter in model.parameters())


def test_cal_loss_by_its_parts():
    """The four terms put together from the model's own pieces, drawn alike."""
    from fgbench.models import cal

    model = enliven(create_model("cal", "fgtest_resnet", img_size=64, num_classes=3)).train()
    for module in model.modules():  # so that both runs below see the same statistics
        if isinstance(module, torch.nn.BatchNorm2d):
            module.eval()
    batch, targets = images(2, 64), torch.tensor([2, 0])
    torch.manual_seed(3)
    loss, logits = model(batch, targets)

    model.feature_center = None
    torch.manual_seed(3)
    features, maps = model.look(batch)
    phi = model.pool(features, maps)
    raw, fake = model.fc(100 * phi), model.fc(100 * model.pool(features, cal.counterfactual(maps)))
    chosen = choose_maps(maps)
    draw = batch.new_empty(2, 2, 1, 1, 1).uniform_()
    crops = cal.cut(batch, attention_boxes(chosen[:, :1], 64, 0.4 + 0.2 * draw[0], 0.1), 64)
    both = torch.cat([crops, drop(batch, chosen[:, 1:], 0.2 + 0.3 * draw[1])])
    features, maps = model.look(both)
    augmented = model.fc(100 * model.pool(features, maps))
    fake_augmented = model.fc(100 * model.pool(features, cal.counterfactual(maps)))
    twice = torch.cat([targets, targets])
    expected = (
        functional.cross_entropy(raw, targets) / 3
        + functional.cross_entropy(augmented, twice) * 2 / 3
        + functional.cross_entropy(torch.cat([raw - fake, augmented - fake_augmented]), torch.cat([targets, twice]))
        + phi.square().sum() / 2
    )
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
    assert torch.allclose(logits, (raw + augmented[:2]) / 2, atol=1e-6)
