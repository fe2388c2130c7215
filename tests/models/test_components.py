"""Components of GLSim that its ablations leave out, selections that look at no image, and depths of the plain ViT."""

from __future__ import annotations

from collections import Counter

import pytest
import timm
import torch
from safetensors.torch import save_file

from fgbench.datasets.build import open_dataset
from fgbench.datasets.transforms import eval_transform
from fgbench.errors import FgbenchError
from fgbench.flops.count_models import count_model
from fgbench.models.build import create_model
from fgbench.models.checkpoints.load import load_checkpoint, save_checkpoint
from fgbench_selectors.blind import hashed_scores
from fgbench_selectors.conformance import check_selector
from fgbench_selectors.registry import get, selectors

PARTS = {
    "aggregator alone": {"crops": False},
    "crops alone": {"aggregator": False},
    "random crops": {"aggregator": False, "fusion": "confidence", "selector": "random"},
    "crops of the centre": {"selector": "centre"},
    "l1": {"metric": "l1"},
    "l2": {"metric": "l2"},
}


def built(name="glsim", **options):
    torch.manual_seed(0)
    return create_model(name, "test_vit", img_size=64, num_classes=5, **options).eval()


@pytest.fixture(scope="module")
def images():
    return torch.randn(6, 3, 64, 64, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("options", PARTS.values(), ids=PARTS)
def test_every_form_learns_with_all_its_weights_and_has_one_answer_for_an_image(options, images):
    model = built(**options)
    with torch.no_grad():
        together = model(images)
        alone = torch.cat([model(images[index : index + 1]) for index in range(len(images))])
    assert torch.allclose(together, alone, atol=1e-5)
    loss, _ = model.train()(images, torch.arange(6) % 5)
    loss.backward()
    assert [name for name, parameter in model.named_parameters() if parameter.grad is None] == []


def test_without_crops_the_aggregator_reads_the_class_token_of_the_image(images):
    model = built(crops=False)
    with torch.no_grad():
        token = model.class_token(images)
        wanted = model.head(model.aggregator_norm(model.aggregator(token))[:, 0])
        found = model.explain(images)
    assert torch.equal(found.logits, wanted)
    assert found.scores is None
    assert model.selector is None


def test_without_an_aggregator_the_more_confident_prediction_is_taken(images):
    model = built(aggregator=False)
    with torch.no_grad():
        found = model.explain(images)
        whole = model.head(model.class_token(images)[:, 0])
        crop = model.head(model.class_token(found.crops[:, 0])[:, 0])
    surer = whole.softmax(-1).max(-1).values >= crop.softmax(-1).max(-1).values
    assert torch.allclose(found.logits, torch.where(surer[:, None], whole, crop), atol=1e-5)


def test_components_do_not_change_what_the_published_model_computes(images):
    model, same = built(), built(aggregator="vit", crops=True, fusion="aggregator", metric="cosine", selector="gls")
    same.load_state_dict(model.state_dict())
    with torch.no_grad():
        assert torch.equal(model(images), same(images))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"crops": False, "aggregator": False}, "nothing is left of GLSim; the plain model is 'vit'"),
        ({"fusion": "confidence"}, "cannot be joined by fusion 'confidence'; it goes with aggregator=False"),
        ({"aggregator": False, "fusion": "aggregator"}, "it goes with aggregator=vit"),
        ({"crops": False, "selector": "gls"}, "no use for selector 'gls'"),
        ({"metric": "l3"}, "unknown similarity metric 'l3'"),
        ({"metric": "l1", "selector": "rollout"}, "metric is the similarity of the selector gls"),
        ({"aggregator": True}, "unknown aggregator True"),
        ({"crops": 1}, "crops must be True or False, got 1"),
        ({"crops": False, "top_k": 3}, "without crops there is no use for top_k; got 3; leave top_k out"),
        ({"crops": False, "crop_class_token": True}, "without crops there is no use for crop_class_token"),
        ({"aggregator": False, "block_init": "xavier"}, "without an aggregator there is no use for block_init"),
    ],
)
def test_components_that_do_not_fit_are_refused(options, message):
    with pytest.raises(FgbenchError, match=message):
        built(**options)


@pytest.mark.parametrize("options", [*PARTS.values()], ids=PARTS)
def test_a_file_gives_the_same_logits(options, images, tmp_path):
    model, other = built(**options), built(**options)
    torch.nn.init.normal_(model.head.weight)
    save_checkpoint(model, tmp_path / "weights.safetensors")
    load_checkpoint(other, tmp_path / "weights.safetensors")
    with torch.no_grad():
        assert torch.equal(model(images), other(images))


def test_random_patches_differ_between_images_and_are_spread_evenly():
    model = built(selector="random")
    birds = open_dataset("synthetic", test_images=200)
    transform = eval_transform(birds, 64)
    images = torch.stack([transform(birds.test.open(index)) for index in range(200)])
    with torch.no_grad():
        scores = model.explain(images).scores
    best = Counter(scores.argmax(-1).tolist())
    assert len(scores.unique(dim=0)) == 200
    assert all(len(image.unique()) == 16 for image in scores)
    assert len(best) == 16
    assert max(best.values()) < 50  # 12.5 are expected
    assert 0 <= float(scores.min()) < 0.01 < 0.99 < float(scores.max()) < 1


def test_random_patches_are_drawn_anew_in_training_and_repeat_with_the_seed(images):
    model = built(selector="random").train()

    def drawn(seed):
        torch.manual_seed(seed)
        return model.explain(images).scores

    assert torch.equal(drawn(3), drawn(3))
    assert not torch.equal(drawn(3), drawn(4))


def test_random_patches_are_numbers_that_every_engine_computes(monkeypatch):
    tokens = torch.randn(3, 400, 40, generator=torch.Generator().manual_seed(5))
    exact = hashed_scores(tokens)
    channels = [tokens[..., channel].argmax(1).tolist() for channel in range(0, 32, 2)]
    p, bases = 46_337, (40_503, 22_543, 30_829)
    for image in range(3):
        a, b, c = (sum((at[image] + 1) * base**n for n, at in enumerate(channels, 1)) % p for base in bases)
        wanted = [((((a % (p - 1) + 1) * i + b) ** 3 + c) ** 3 % p) / p for i in range(400)]
        assert exact[image].tolist() == pytest.approx(wanted, abs=1e-6)
    assert (p - 1) ** 2 + p < 2**31  # of whole numbers of 32 bits
    noisy = tokens + 1e-6 * torch.randn(tokens.shape, generator=torch.Generator().manual_seed(6))
    assert torch.equal(hashed_scores(noisy), exact)


@pytest.mark.parametrize("name", ["random", "centre"])
def test_controls_keep_the_contract_of_selectors(name):
    check_selector(name)


def test_joining_two_predictions_is_part_of_a_stage_and_both_are_shown(images):
    model = built(aggregator=False)
    with torch.no_grad():
        found = model.explain(images)
    assert set(found.heads) == {"image", "crop"}
    stages = {}
    with torch.device("meta"):
        empty = create_model("glsim", "test_vit", img_size=64, num_classes=5, aggregator=False).eval()
    count = count_model(empty, 64)
    stages = sum((cost.flops("full") for cost in count.by_label.values()), 0)
    assert stages == count.total.flops("full")


def test_what_components_cost():
    def macs(name="glsim", **options):
        with torch.device("meta"):
            model = create_model(name, "test_vit", img_size=64, num_classes=5, **options).eval()
        model.impl = "published"
        return count_model(model, 64).total.macs

    width = create_model("vit", "test_vit", img_size=64).encoder.embed_dim
    head = width * 5
    assert macs(aggregator=False) == 2 * macs("vit")
    block = 12 * width**2 * 2 + 2 * 2**2 * width  # of two tokens: 12·N·D² + 2·N²·D
    assert macs() - macs(aggregator=False) == block - head
    assert macs(crops=False) - macs("vit") == block / 2 - 2 * width  # of one token
    assert macs("vit", depth=7) - macs("vit") == 10 * width**2 * 17 + 2 * 17**2 * width  # MLP of 3·D


def test_the_centre_is_the_centre(images):
    scores = built(selector="centre").explain(images).scores[0].view(4, 4)
    assert set(scores.flatten().topk(4).indices.tolist()) == {5, 6, 9, 10}
    assert torch.equal(scores, scores.T)


def test_controls_are_known_by_name_and_in_no_list():
    assert not {"random", "centre"} & set(selectors.names())
    assert get("random").score_shape == get("centre").score_shape == ("batch", "patches")


@pytest.mark.parametrize("depth", [1, 5, 6, 9])
def test_blocks_of_the_plain_vit(depth, images):
    model, plain = built("vit", depth=depth), built("vit")
    assert (model.encoder.depth, model.options["depth"]) == (depth, depth)
    with torch.no_grad():
        assert torch.equal(model(images), plain(images)) == (depth >= 6)  # further blocks begin as nothing
    model.train()(images, torch.arange(6) % 5)[0].backward()
    assert [name for name, parameter in model.named_parameters() if parameter.grad is None] == []


def test_a_file_of_the_backbone_begins_a_plain_vit_of_any_depth(images, tmp_path):
    plain = timm.create_model("test_vit", num_classes=5, img_size=64).eval()
    torch.nn.init.normal_(plain.head.weight)
    save_file({name: tensor.contiguous() for name, tensor in plain.state_dict().items()}, tmp_path / "own.safetensors")
    models = {depth: built("vit", depth=depth) for depth in (4, 9)}
    reports = {depth: load_checkpoint(model, tmp_path / "own.safetensors") for depth, model in models.items()}
    assert [(report.unexpected, report.missing) for report in reports.values()] == [((), ()), ((), ())]
    assert len(reports[4].ignored) == 2 * 12
    assert len(reports[9].started) == 3 * 12
    plain.blocks, whole = plain.blocks[:4], plain(images)
    with torch.no_grad():
        assert torch.allclose(models[4](images), plain(images), atol=1e-5)
        assert torch.allclose(models[9](images), whole, atol=1e-5)


def test_blocks_of_a_trained_model_are_missed(tmp_path):
    save_checkpoint(built("vit"), tmp_path / "six.safetensors")
    assert len(load_checkpoint(built("vit", depth=4), tmp_path / "six.safetensors").unread) == 2 * 12


def test_blocks_with_positions_of_their_own_are_not_added():
    with torch.device("meta"), pytest.raises(FgbenchError, match="depth must be 1 to 12, got 14"):
        create_model("vit", "vit_small_patch16_rope_mixed_224", depth=14)


@pytest.mark.parametrize("depth", [0, -1, 1.5, True, 1001])
def test_no_other_depth(depth):
    with pytest.raises(FgbenchError, match="depth must be a whole number from 1 to 1000"):
        built("vit", depth=depth)
