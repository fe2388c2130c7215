"""IELT: its schedule, the order of equal votes, and the shares of blocks that training moves."""

from __future__ import annotations

import pytest
import torch
from helpers.model_scenes import enliven, images

import fgbench
from fgbench.models.build import create_model
from fgbench.models.ielt import published_schedule

RELEASED = [16, 14, 12, 10, 8, 6, 8, 10, 12, 14, 16]


def built(backbone: str = "fgtest_vit", size: int = 96, **options):
    return enliven(create_model("ielt", backbone, img_size=size, num_classes=3, **options)).eval()


def test_the_schedule_of_eleven_blocks_is_the_released_one():
    assert published_schedule(11) == RELEASED
    assert sum(RELEASED) == 126
    assert published_schedule(3) == [16, 6, 16]
    assert published_schedule(1) == [16]
    with torch.device("meta"):
        assert create_model("ielt", "vit_tiny_patch16_224").num_tokens == RELEASED
        assert create_model("ielt", "vit_tiny_patch16_224", num_tokens=11).num_tokens == [11] * 11


@pytest.mark.parametrize(
    ("num_tokens", "expected"), [(None, [16, 6, 16]), (5, [5, 5, 5]), ([1, 2, 3], [1, 2, 3]), ((4, 1, 1), [4, 1, 1])]
)
def test_every_block_gives_as_many_tokens_as_it_is_told(num_tokens, expected):
    model = built(num_tokens=num_tokens)
    with torch.no_grad():
        found = model.explain(images(2, 96))
    assert model.num_tokens == expected
    assert found.selected.shape == (2, sum(expected))
    assert found.boxes.shape == (2, sum(expected), 4)
    for image, scores in zip(found.selected, found.scores, strict=True):
        for patches, row in zip(image.split(expected), scores, strict=True):
            best = sorted(range(len(row)), key=lambda j: (-row[j].item(), j))[: len(patches)]
            assert patches.tolist() == best


def test_a_small_grid_gives_all_it_has():
    model = built(size=48)
    assert model.num_tokens == [9, 6, 9]
    with torch.no_grad():
        fast = model.explain(images(2, 48))
        model.impl = "published"
        published = model.explain(images(2, 48))
    assert fast.selected.shape == (2, 24)
    assert torch.equal(fast.selected, published.selected)


def test_the_released_order_of_ties_selects_as_many_votes():
    """Which of the tokens with equal votes come first depends on the sort; their votes do not."""
    batch = images(2, 224)
    first, released = (built(size=224, ties=ties) for ties in ("first", "released"))
    with torch.no_grad():
        one, other = first.explain(batch), released.explain(batch)
    assert torch.equal(one.scores, other.scores)
    votes = []
    for found in (one, other):
        pieces = zip(found.selected.split(first.num_tokens, dim=1), found.scores.unbind(1), strict=True)
        votes.append([scores.gather(1, index) for index, scores in pieces])
    assert all(torch.equal(a, b) for a, b in zip(*votes, strict=True))
    half = one.scores.half()
    assert torch.equal(half.float(), one.scores), "float16 holds all votes exactly"


def test_every_selector_with_a_score_per_block_can_take_its_place():
    model = built(selector="maws")
    with torch.no_grad():
        found = model.explain(images(2, 96))
    assert found.scores.shape == (2, 3, 37)
    assert found.selected.max() < 36
    assert (found.selected[:, 0] == found.scores[:, 0, 1:].argmax(dim=1)).all()


# Shares of blocks -----------------------------------------------------------------------------------------------------


def test_shares_move_a_thousandth_towards_the_blocks_of_key_tokens():
    model = built(num_tokens=[4, 2, 2])
    # two in the first four places, two in the next two, four in the last two
    model.move_shares(torch.tensor([[0, 3, 4, 6], [7, 7, 6, 5]]))
    expected = 0.999 * torch.tensor([0.5, 0.25, 0.25]) + 0.001 * torch.tensor([0.25, 0.25, 0.5])
    torch.testing.assert_close(model.token_shares, expected)
    assert model.tokens_per_block == [4, 2, 2]
    assert model.num_tokens == [4, 2, 2]


def test_tokens_follow_the_shares_rounded_half_to_even_and_a_block_can_lose_all():
    model = built(num_tokens=[4, 2, 2])
    model.make_room(["token_shares"])
    model.token_shares.copy_(torch.tensor([6.5, 1.5, 0.0]) / 8)
    model.weights_loaded()
    assert model.tokens_per_block == [6, 2, 0]
    with torch.no_grad():
        assert model.explain(images(2, 96)).selected.shape == (2, 8)
    # shares end at 6.5 and 8: places 0 to 6 are of the first block, 7 of the second, 8 of none
    model.move_shares(torch.tensor([[0, 6, 7, 8]]))
    expected = 0.999 * torch.tensor([6.5, 1.5, 0.0]) / 8 + 0.001 * torch.tensor([2.0, 1.0, 0.0]) / 3
    torch.testing.assert_close(model.token_shares, expected)


def test_shares_move_in_training_alone_and_after_the_warm_up():
    model, batch, targets = built(update_warm=2), images(2, 96), torch.tensor([0, 1])
    for epoch, training, moves in ((1, True, False), (2, True, False), (3, False, False), (3, True, True)):
        model.train(training)
        model.begin_epoch(epoch)
        model(batch, targets)
        assert (model.token_shares is not None) == moves
    shares = model.token_shares.clone()
    assert shares.sum().item() == pytest.approx(1)
    model(batch)
    assert torch.equal(model.token_shares, shares), "a prediction moves nothing"
    model(batch, targets)
    assert not torch.equal(model.token_shares, shares)
    fixed = built(update_warm=None).train()
    fixed.begin_epoch(1000)
    fixed(batch, targets)
    assert fixed.token_shares is None


def test_trained_shares_are_saved_and_select_again(tmp_path):
    model = built()
    model.make_room(["token_shares"])
    model.token_shares.copy_(torch.tensor([0.2, 0.5, 0.3]))
    model.weights_loaded()
    assert model.tokens_per_block == [8, 19, 11]
    fgbench.save_checkpoint(model, tmp_path / "ielt.safetensors")
    again, other = built(), built()
    report = fgbench.load_checkpoint(again, tmp_path / "ielt.safetensors", strict=True)
    other.load_state_dict(model.state_dict())
    batch = images(2, 96)
    with torch.no_grad():
        for found in (again, other):
            assert found.tokens_per_block == [8, 19, 11]
            assert torch.equal(found(batch), model(batch))
    assert report.complete
    assert report.differences == ()


def test_a_quantized_head_still_gives_the_sums_of_its_rows():
    from fgbench.deploy.quantize_torch import quantize_linear

    model, batch = built(), images(2, 96)
    with torch.no_grad():
        expected = model(batch)
        found = quantize_linear(model)(batch)
    assert found.shape == expected.shape
    assert torch.isfinite(found).all()
