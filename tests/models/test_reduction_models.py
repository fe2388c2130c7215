"""Published models on encoders that reduce tokens: their selectors score all patches, dropped ones lowest."""

from __future__ import annotations

import pytest
import torch
from helpers.backbones import fgtest_vit  # noqa: F401  # registers the small backbones
from helpers.model_scenes import enliven, images

from fgbench.errors import FgbenchError
from fgbench.models.build import create_model, model_class, models
from fgbench.models.reductions.build import reduced_name
from fgbench.models.vision_transformer import VisionTransformerModel
from fgbench.plugins.kinds import reductions
from fgbench_selectors import Features, Maps, get

ON_VIT = [name for name in models.names() if issubclass(model_class(name), VisionTransformerModel)]
SIZE = 96


def built(name: str, reduction: str, **options):
    options = {"reduction_at": (2, 3), **options}
    model = create_model(name, "fgtest_vit", img_size=SIZE, num_classes=3, reduction=reduction, **options)
    return enliven(model).eval()


@pytest.mark.parametrize("reduction", reductions.names())
@pytest.mark.parametrize("name", ON_VIT)
def test_every_model_on_a_vit_runs_on_fewer_tokens(name, reduction):
    model, batch = built(name, reduction), images(2, SIZE)
    with torch.no_grad():
        fast = model.explain(batch)
        alone = torch.cat([model.explain(image[None]).logits for image in batch])
        model.impl = "published"
        published = model.explain(batch)
    assert (fast.logits - alone).abs().max() <= 1e-5
    assert (fast.logits - published.logits).abs().max() <= 1e-4
    if fast.scores is not None:
        assert fast.scores.shape[-1] - model.encoder.num_patches in (0, 1)
        assert (fast.scores.double() - published.scores.double()).abs().max() <= 1e-4
    assert model.two_impls or name == "vit"


@pytest.mark.parametrize("name", ON_VIT)
def test_a_model_trains_on_fewer_tokens(name):
    torch.manual_seed(0)
    model = built(name, "evit").train()
    loss, _ = model(images(3, SIZE), torch.arange(3))
    loss.backward()
    assert torch.isfinite(loss)


def test_the_selected_patches_are_among_those_that_are_left():
    model = built("transfg", "topk", keep_rate=0.3)
    batch = images(3, SIZE)
    state, _ = model.all_but_last(batch, model.selector)
    with torch.no_grad():
        selected = model.explain(batch).selected
    present = state.sources.present[:, 1:]
    assert present.sum() < present.numel() / 4
    assert present.gather(1, selected).all()


def flow(maps: list[torch.Tensor], moves: list[torch.Tensor | None]) -> torch.Tensor:
    """The row of the class token in the product of rectangular maps, from the last block to the first one.

    ``maps`` are (M, M) of each block, mean over heads; ``moves`` (M', M), after each block: what the tokens behind it
    are made of, None where none were reduced.
    """
    row = torch.zeros(maps[-1].shape[0], dtype=torch.float64)
    row[0] = 1
    for probs, move in zip(reversed(maps), reversed(moves), strict=True):
        if move is not None:
            row = row @ move
        row = (row + row @ probs) / 2
    return row


@pytest.mark.parametrize("impl", ["published", "fast"])
@pytest.mark.parametrize("reduction", ["evit", "topk", "tome"])
def test_rollout_follows_attention_through_the_reduced_blocks(reduction, impl):
    """A selector that multiplies maps gets the product of the rectangular maps, and shares of what was merged."""
    model = built("vit", reduction, keep_rate=0.6)
    image = images(1, SIZE, seed=4)
    needs = get("rollout", reading="dcal").needs
    with torch.no_grad():
        state = model.start(image)
        model.encoder.run(state, range(4), needs, maps=impl == "published")
        scores = get("rollout", impl=impl, reading="dcal")(model.encoder.features(state, needs))[0].double()
    maps = [block.block.probs_map()[0].mean(dim=0).double() for block in state.attention]
    moves: list[torch.Tensor | None] = []
    for before, after, probs, later in zip(
        [_identity(state), *state.places[:-1]], state.places, maps, [*maps[1:], None], strict=True
    ):
        length = state.tokens.shape[1] if later is None else len(later)
        moves.append(_move(before, after, len(probs), length))
    expected = flow(maps, moves)
    here = state.sources.present[0, 1:]
    assert (scores - expected[1:])[here].abs().max() <= 1e-5
    if not here.all():
        assert scores[~here].max() <= scores[here].min()


def _identity(state):
    from fgbench.models.reductions.sources import Sources

    return Sources.of_all(torch.zeros(1, 37, 1), 1)


def _move(before, after, length: int, later: int) -> torch.Tensor | None:
    """What every token after a block is made of: shares of the tokens before it."""
    move = torch.zeros(later, length, dtype=torch.float64)
    for i in range(37):
        if after.share[0, i] > 0:
            # the share that a token has of the new one: the same for each patch in it, by its own share
            ratio = after.share[0, i] / before.share[0, i]
            move[after.owner[0, i], before.owner[0, i]] = ratio
    return move


@pytest.mark.parametrize("selector", ["psm", "rollout", "maws", "sacm", "column_mass", "mhv", "column_entropy", "gls"])
@pytest.mark.parametrize("reduction", ["evit", "tome"])
def test_published_and_fast_selectors_agree_on_reduced_blocks(reduction, selector):
    model = built("vit", reduction)
    batch = images(2, SIZE)
    found = []
    with torch.no_grad():
        for impl in ("fast", "published"):
            chosen = get(selector, impl=impl)
            state = model.start(batch)
            model.encoder.run(state, range(4), chosen.needs, maps=impl == "published")
            found.append(chosen(model.encoder.features(state, chosen.needs)).double())
    scale = found[1].abs().max()
    assert (found[0] - found[1]).abs().max() <= 1e-4 * scale


def test_features_say_which_tokens_are_left_and_scores_of_others_are_the_lowest():
    maps = Maps(torch.softmax(torch.randn(1, 2, 5, 5), dim=-1))
    present = torch.tensor([[True, False, True, True, False]])
    features = Features(attention=[maps], grid=(2, 2), present=[present])
    scores = get("attention")(features)
    assert scores[0, 0] == scores[0, 3] == scores[0, 1:3].min()
    whole = get("attention")(Features(attention=[maps], grid=(2, 2)))
    assert torch.equal(scores[0, 1:3], whole[0, 1:3])


def test_a_name_says_all():
    model = create_model("vit+evit@0.5+at=2-3+fuse=false", "fgtest_vit", img_size=SIZE, num_classes=3)
    assert model.reduction_options == {
        "reduction": "evit",
        "keep_rate": 0.5,
        "reduction_at": [2, 3],
        "reduction_selector": None,
        "reduction_options": {"fuse": False},
    }
    assert type(model).__name__ == "ViT"
    assert reduced_name("vit", model) == "vit+evit@0.5+at=2-3+fuse=false"
    same = create_model("vit", "fgtest_vit", img_size=SIZE, num_classes=3, reduction="topk")
    assert reduced_name("vit", same) == "vit+topk@0.7"
    merging = create_model("vit+tome+r=4", "fgtest_vit", img_size=SIZE, num_classes=3)
    assert reduced_name("vit", merging) == "vit+tome+r=4"
    assert merging.options["keep_rate"] is None
    plain = create_model("vit", "fgtest_vit", img_size=SIZE, num_classes=3)
    assert not {"reduction", "keep_rate"} & set(plain.options)
    assert plain.reduction is None
    assert reduced_name("vit", plain) == "vit"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("vit+evti@0.5", "evit"),
        ("vti+evit@0.5", "unknown model"),
        ("resnet101+evit@0.5", "no tokens"),
        ("cal+evit", "no tokens"),
        ("vit+evit@0", "keep_rate"),
        ("vit+evit@0.5+fuze=true", "fuse"),
    ],
)
def test_a_wrong_name_is_refused_in_one_line(name, message):
    with pytest.raises(FgbenchError, match=message) as refused:
        create_model(name)
    assert "\n" not in str(refused.value)


def test_name_and_options_must_not_both_say_it():
    with pytest.raises(FgbenchError, match="the name of the model says"):
        create_model("vit+evit@0.5", "fgtest_vit", img_size=SIZE, keep_rate=0.7)
