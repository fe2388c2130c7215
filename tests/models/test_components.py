"""Components of GLSim that its ablations leave out, selections that look at no image, and depths of the plain ViT."""

from __future__ import annotations

from collections import Counter

import pytest
import torch

from fgbench.datasets.build import open_dataset
from fgbench.datasets.transforms import eval_transform
from fgbench.errors import FgbenchError
from fgbench.models.build import create_model
from fgbench.models.checkpoints.load import load_checkpoint, save_checkpoint
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
    assert len(scores.unique(dim=0)) > 100
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


@pytest.mark.parametrize("depth", [0, -1, 1.5, True, 1001])
def test_no_other_depth(depth):
    with pytest.raises(FgbenchError, match="depth must be a whole number from 1 to 1000"):
        built("vit", depth=depth)
