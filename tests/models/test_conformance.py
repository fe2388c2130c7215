"""The contract of models, for every registered model, plug-ins included."""

from __future__ import annotations

import itertools

import pytest
import torch
from helpers.model_scenes import backbones_of, enliven, images
from helpers.ranking import assert_same_selection
from torch import nn

from fgbench.errors import FgbenchError
from fgbench.models.build import create_model, model_options, models
from fgbench.models.model import Explanation
from fgbench_selectors import get
from fgbench_selectors.registry import selectors

CLASSES = 5
# Models that select tokens, but not those of the highest scores: by votes or counts that scores alone do not tell.
NOT_BY_SCORES = ("IELT", "R2Trans", "PIM", "HERBS")
SIZES = (112, 224)
CASES = [
    (name, backbone, size)
    for name in models.names()
    for backbone, size in itertools.product(backbones_of(models.load(name)), SIZES)
]
SMALL = [case for case in CASES if case[2] == SIZES[0]]  # for what does not depend on the number of tokens


def build(name: str, backbone: str, size: int, **options):
    return enliven(create_model(name, backbone, img_size=size, num_classes=CLASSES, **options)).eval()


@pytest.mark.parametrize(("name", "backbone", "size"), CASES)
def test_logits_have_a_row_per_image_are_repeatable_and_do_not_depend_on_neighbours(name, backbone, size):
    model, batch = build(name, backbone, size), images(3, size)
    with torch.no_grad():
        together = model(batch)
        again = model(batch)
        alone = torch.cat([model(image[None]) for image in batch])
    assert together.shape == (3, CLASSES)
    assert torch.isfinite(together).all()
    assert torch.equal(together, again)
    assert (together - alone).abs().max() <= 1e-5 * max(1.0, together.abs().max().item())
    assert len({tuple(row) for row in together.tolist()}) == 3, "the logits do not depend on the image"


@pytest.mark.parametrize(("name", "backbone", "size"), CASES)
def test_the_published_computation_gives_the_fast_logits(name, backbone, size):
    model, batch = build(name, backbone, size), images(3, size, seed=1)
    with torch.no_grad():
        fast = model.explain(batch)
        model.impl = "published"
        published = model.explain(batch)
    same = [index for index in range(len(batch)) if same_selection(model, batch, fast, published, index)]
    assert (fast.logits - published.logits)[same].abs().max() <= 1e-4 * max(1.0, fast.logits.abs().max().item())


def same_selection(model, batch, fast, published, index: int) -> bool:
    """Whether both select the same in an image. Where they do not, rounding decides: it differs between processors."""
    if fast.boxes is None or torch.equal(fast.boxes[index], published.boxes[index]):
        return True
    if fast.selected is not None and type(model).__name__ not in NOT_BY_SCORES:
        scores, one, other = published.scores[index], fast.selected[index], published.selected[index]
        if scores.ndim > one.ndim:  # one token of every head
            one, other = one.unsqueeze(-1), other.unsqueeze(-1)
        assert_same_selection(ranked(scores), one, other, 1e-4)
        return torch.equal(one.sort(dim=-1).values, other.sort(dim=-1).values)
    assert hangs_on_rounding(model, batch[index : index + 1]), (fast.boxes[index], published.boxes[index])
    return False


def ranked(scores: torch.Tensor) -> torch.Tensor:
    """Scores as differences that rounding leaves alone: logarithms, of those below 0 with the order turned round."""
    tiny = torch.finfo(scores.dtype).tiny
    return -(-scores).clamp_min(tiny).log() if (scores <= 0).all() else scores.clamp_min(tiny).log()


def hangs_on_rounding(model, image) -> bool:
    """Whether an image that is as good as the same has other boxes."""
    made = torch.Generator().manual_seed(0)
    nudged = [image * (1 + 1e-5 * torch.randn(image.shape, generator=made)) for _ in range(8)]
    with torch.no_grad():
        return len({str(model.explain(each).boxes.tolist()) for each in nudged}) > 1


class Threshold(nn.Module):
    """A box by whether an image's mean is above 0.5."""

    def explain(self, image):
        return Explanation(image, boxes=torch.tensor([[[0, 0, 1 + int(image.mean() > 0.5), 2]]]))


@pytest.mark.parametrize(("mean", "hangs"), [(0.5, True), (0.501, False), (0.499, False)])
def test_a_box_that_hangs_on_rounding_is_told_from_one_that_does_not(mean, hangs):
    assert hangs_on_rounding(Threshold(), torch.full((1, 3, 8, 8), mean)) is hangs


@pytest.mark.parametrize(("name", "backbone", "size"), SMALL)
@pytest.mark.parametrize("batch", [1, 3])
def test_gradient_reaches_every_trainable_parameter_or_the_model_says_why_not(name, backbone, size, batch):
    torch.manual_seed(0)
    model = build(name, backbone, size).train()
    # Batch statistics of one image and one pixel do not exist, and an addend before them has no gradient.
    if (batch == 1 and name in ("cal", "resnet101")) or name in ("simtrans", "pim", "herbs", "falvit"):
        for module in model.modules():
            if isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d)):
                module.eval()
    loss, logits = model(images(batch, size), torch.arange(batch) % CLASSES)
    loss.backward()
    assert logits.shape == (batch, CLASSES)
    assert torch.isfinite(loss)
    excused = tuple(model.without_gradient)
    for parameter_name, parameter in model.named_parameters():
        if excused and parameter_name.startswith(excused):
            assert parameter.grad is None
            continue
        assert parameter.grad is not None, f"no gradient reaches {parameter_name}"
        assert torch.isfinite(parameter.grad).all(), parameter_name
        assert parameter.grad.abs().max() > 0, f"the gradient of {parameter_name} is zero"


@pytest.mark.parametrize(("name", "backbone", "size"), SMALL)
@pytest.mark.parametrize("impl", ["published", "fast"])
def test_half_precision_runs_as_weights_and_as_autocast(name, backbone, size, impl):
    batches = (3, 1)
    model, batch = build(name, backbone, size, impl=impl), images(max(batches), size)
    with torch.no_grad():
        with torch.autocast("cpu", torch.bfloat16):
            mixed = [model(batch[:count]) for count in batches]
        model, batch = model.to(torch.bfloat16), batch.bfloat16()
        half = [model(batch[:count]) for count in batches]
    for logits in (mixed, half):
        assert [tuple(each.shape) for each in logits] == [(count, CLASSES) for count in batches]
        assert torch.isfinite(torch.cat(logits)).all()


@pytest.mark.parametrize("name", ["vit", "resnet101", "dcal", "ffvt", "r2trans"])
def test_half_precision_is_close_where_no_crop_can_jump(name):
    model, batch = build(name, backbones_of(models.load(name))[0], 224), images(4, 224)
    with torch.no_grad():
        expected = model(batch)
        half = model.to(torch.bfloat16)(batch.bfloat16()).float()
    assert (half - expected).abs().mean() < 0.1 * expected.std()


@pytest.mark.parametrize(("name", "backbone", "size"), SMALL)
def test_a_model_is_built_and_run_on_the_meta_device(name, backbone, size):
    with torch.device("meta"):
        model = create_model(name, backbone, img_size=size, num_classes=CLASSES).eval()
        for impl, batch in (("published", 1), ("fast", 3)):
            model.impl = impl
            found = model.explain(torch.empty(batch, 3, size, size))
            assert found.logits.is_meta
            assert found.logits.shape == (batch, CLASSES)
    assert all(parameter.is_meta for parameter in model.parameters())


@pytest.mark.parametrize("name", models.names())
def test_explain_shows_what_was_selected_inside_the_image(name):
    size = 224
    model, batch = build(name, backbones_of(models.load(name))[0], size), images(2, size)
    with torch.no_grad():
        found = model.explain(batch)
        assert torch.equal(found.logits, model(batch))
    if model.accepts:
        assert found.scores is not None
        assert found.scores.shape[0] == 2
        assert found.boxes is not None
    if found.boxes is not None:
        y0, x0, y1, x1 = found.boxes.unbind(-1)
        assert found.boxes.shape[::2] == (2, 4)
        assert (y0 >= 0).all()
        assert (x0 >= 0).all()
        assert (y1 > y0).all()
        assert (x1 > x0).all()
        assert (y1 <= size).all()
        assert (x1 <= size).all()
    if found.crops is not None:
        assert found.crops.shape == (*found.boxes.shape[:2], 3, size, size)


@pytest.mark.parametrize(("name", "options"), [("ev", {"part_size": 64}), ("glsim", {})])
def test_boxes_lie_where_their_crops_were_cut_in_the_image(name, options):
    model = build(name, backbones_of(models.load(name))[0], 224, **options)
    picture = images(2, 224) + 4 * torch.linspace(1, 0, 224) + 2 * torch.linspace(0, 1, 224)[:, None]
    with torch.no_grad():
        found = model.explain(picture)
    assert len({str(box) for box in found.boxes.flatten(0, 1).tolist()}) > 1
    for image, boxes, crops in zip(picture, found.boxes.tolist(), found.crops, strict=True):
        for (y0, x0, y1, x1), crop in zip(boxes, crops, strict=True):
            assert abs(crop.mean() - image[:, y0:y1, x0:x1].mean()) < 0.15


def test_cal_s_boxes_of_the_mirror_image_are_turned_back(monkeypatch):
    from fgbench.models import cal

    monkeypatch.setattr(cal, "attention_boxes", lambda heat, *_: torch.tensor([[10, 20, 30, 60]]).expand(len(heat), 4))
    model = build("cal", "fgtest_resnet", 224, passes=8)
    with torch.no_grad():
        boxes = model.explain(images(1, 224)).boxes[0].tolist()
    assert boxes == [[10, 20, 30, 60]] * 3 + [[10, 164, 30, 204]] * 3


def peaked(seed: int, dtype: torch.dtype):
    """A CAL whose attention maps reach above zero at a thousandth of all places, and images."""
    model = build("cal", "fgtest_resnet", 96).to(dtype)
    enliven(model, seed)
    batch, bn = images(4, 96, seed).to(dtype), model.attentions["bn"]
    raw = model.attentions["conv"](model.features.forward_features(batch)).transpose(0, 1).flatten(1)
    bn.running_mean.copy_(raw.mean(dim=1))
    bn.running_var.copy_(raw.var(dim=1))
    bn.weight.fill_(1)
    bn.bias.copy_(-torch.quantile((raw - raw.mean(dim=1, keepdim=True)) / raw.std(dim=1, keepdim=True), 0.999, dim=1))
    return model, batch


@pytest.mark.parametrize(("dtype", "pixels", "logits"), [(torch.float32, 2e-6, 1e-3), (torch.float64, 2e-14, 1e-9)])
@pytest.mark.parametrize("seed", range(3))
def test_cal_s_logits_follow_every_rounding_of_a_crop_where_its_maps_are_peaked(dtype, pixels, logits, seed):
    """Its signed root rises by 10⁻³ where a feature leaves zero, as docs/differences.md says."""
    with torch.no_grad():
        model, batch = peaked(seed, dtype)
        fast = model.explain(batch)
        model.impl = "published"
        published = model.explain(batch)
    assert torch.equal(fast.boxes, published.boxes)
    assert (fast.crops - published.crops).abs().max() <= pixels
    assert (fast.logits - published.logits).abs().max() <= logits


BAD_OPTIONS = [
    ("glsim", {"top_k": 0}),
    ("glsim", {"top_k": 1000}),
    ("glsim", {"top_k": "8"}),
    ("glsim", {"top_k": 1.5}),
    ("glsim", {"rule": "x"}),
    ("glsim", {"norm_eps": -1}),
    ("glsim", {"selector": 5}),
    ("glsim", {"impl": "fastest"}),
    ("glsim", {"overlap": 16}),
    ("glsim", {"overlap": 2.5}),
    ("glsim", {"img_size": "64"}),
    ("glsim", {"img_size": (64, 64)}),
    ("glsim", {"img_size": 8}),
    ("glsim", {"num_classes": 0}),
    ("glsim", {"backbone": 5}),
    ("glsim", {"backbone": ""}),
    ("glsim", {"backbone": "fgbench_vit"}),
    ("ffvt", {"num_tokens": 50}),
    ("dcal", {"ratio": "x"}),
    ("dcal", {"readout": "max"}),
    ("ramstrans", {"rule": "x"}),
    ("aftrans", {"fusion": "nope"}),
    ("ev", {"max_iou": float("nan")}),
    ("ev", {"part_size": 0}),
    ("transfg", {"margin": 2}),
    ("vit", {"label_smoothing": 1}),
    ("ielt", {"num_tokens": 0}),
    ("ielt", {"num_tokens": 17}),
    ("ielt", {"num_tokens": [4, 4]}),
    ("ielt", {"num_tokens": [4, 4, 2.5]}),
    ("ielt", {"num_tokens": "16"}),
    ("ielt", {"num_key_tokens": 0}),
    ("ielt", {"votes": 1.5}),
    ("ielt", {"ties": "last"}),
    ("ielt", {"loss_weight": 1.1}),
    ("ielt", {"update_warm": -1}),
    ("r2trans", {"predict": "both"}),
    ("r2trans", {"drop": 1.5}),
    ("cal", {"passes": 3}),
    ("cal", {"num_attentions": 0}),
    ("cal", {"img_size": 0}),
    ("resnet101", {"num_classes": -1}),
    ("simtrans", {"test_dropout": 1}),
    ("simtrans", {"margin": -0.1}),
    ("simtrans", {"contrastive": "1"}),
    ("simtrans", {"selector": "psm"}),
    ("aatrans", {"margin": 2}),
    ("aatrans", {"selector": "maws"}),
    ("pim", {"num_tokens": 0}),
    ("pim", {"num_tokens": [4, 4]}),
    ("pim", {"num_tokens": [1000, 4, 4, 4]}),
    ("pim", {"num_tokens": [4, 4, 4, 0.5]}),
    ("pim", {"width": 2}),
    ("pim", {"predict": "mean"}),
    ("pim", {"dropout": 1}),
    ("pim", {"dropped_weight": -1}),
    ("pim", {"selector": "gls"}),
    ("pim", {"img_size": (64, 96)}),
    ("pim", {"backbone": "convnext_tiny"}),
    ("pim", {"backbone": "vit_base_r50_s16_224"}),
    ("herbs", {"temperature": 0}),
    ("herbs", {"first_weight": "1"}),
    ("accvit", {"ratio": 1.5}),
    ("accvit", {"head_weights": [1, 1, 1]}),
    ("accvit", {"head_weights": [1, 1, 1, "1"]}),
    ("accvit", {"head_weights": -1}),
    ("accvit", {"head_weights": 0}),
    ("accvit", {"early_weight": -0.1}),
    ("accvit", {"collage": "yes"}),
    ("accvit", {"cells": 1}),
    ("accvit", {"fresh_last_norm": None}),
    ("accvit", {"selector": "psm"}),
    ("falvit", {"ratio": -0.1}),
    ("falvit", {"margin": 2}),
    ("falvit", {"contrastive": "1"}),
    ("falvit", {"overlap": 4}),
    ("falvit", {"selector": "mhv"}),
]


@pytest.mark.parametrize(("name", "options"), BAD_OPTIONS)
def test_a_bad_option_is_one_line_before_anything_runs(name, options):
    defaults = {"backbone": backbones_of(models.load(name))[0], "img_size": 64, "num_classes": 3}
    with pytest.raises(FgbenchError) as caught:
        create_model(name, **defaults | options)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", models.names())
def test_what_is_no_batch_of_the_model_s_images_is_refused(name):
    model = build(name, backbones_of(models.load(name))[0], 64)
    for shape in ((0, 3, 64, 64), (1, 3, 64, 96), (3, 64, 64), (1, 1, 64, 64), (2, 3, 128, 128)):
        with pytest.raises(FgbenchError, match=r"images of shape \(B, 3, 64, 64\)"):
            model(torch.zeros(shape))


def test_a_crop_s_own_class_token_needs_no_position():
    model = create_model("glsim", "vit_small_patch16_dinov3", img_size=64, num_classes=3, crop_class_token=True)
    assert model(images(1, 64)).shape == (1, 3)


def test_a_selector_that_is_handed_over_stays_as_it_was():
    selector = get("gls", metric="l1")
    first = create_model("glsim", "fgtest_vit", img_size=64, selector=selector)
    create_model("glsim", "fgtest_vit", img_size=64, selector=selector, impl="published")
    assert (selector.impl, first.selector.impl, first.selector.metric) == ("fast", "fast", "l1")


@pytest.mark.parametrize("name", models.names())
def test_a_model_leaves_no_hook_behind_and_holds_no_tensor_of_a_run(name):
    model, batch = build(name, backbones_of(models.load(name))[0], 112), images(1, 112)
    before = {key: id(value) for key, value in vars(model).items()}
    with torch.no_grad():
        model(batch)
    assert {key: id(value) for key, value in vars(model).items()} == before
    for module in model.modules():
        assert not module._forward_hooks
        assert not module._forward_pre_hooks


@pytest.mark.parametrize("name", models.names())
def test_every_selector_fits_or_is_refused_in_one_line(name):
    kind = models.load(name)
    if "selector" not in model_options(kind):
        pytest.skip("selects by no selector")
    for selector in selectors.names():
        fits = selectors.load(selector).score_shape in kind.accepts
        options = {"img_size": 96, "num_classes": CLASSES, "selector": selector}
        if not fits:
            with pytest.raises(FgbenchError, match=r"scores of shape .* choose a selector") as caught:
                create_model(name, backbones_of(kind)[0], **options)
            assert "\n" not in str(caught.value)
            continue
        model = enliven(create_model(name, backbones_of(kind)[0], **options)).eval()
        with torch.no_grad():
            fast = model(images(2, 96))
            model.impl = "published"
            assert torch.allclose(model(images(2, 96)), fast, atol=1e-4), selector
