"""Levels of backbones: the same as timm's own stages, of the shapes that they announce, at every size."""

from __future__ import annotations

import pytest
import timm
import torch
from helpers import randomness
from torch import nn

from fgbench.errors import FgbenchError, UnknownNameError
from fgbench.models.pyramid import Pyramid, block_numbers, family_of
from fgbench.results.image_size import NonSquare

IMAGES = randomness.images(2, 96)
SHAPES = [
    *(("fgtest_swin", size, {"merged": merged}) for size in (64, 96, 101) for merged in (False, True)),
    ("swinv2_tiny_window8_256", 64, {"merged": True}),
    ("swin_s3_tiny_224", 64, {}),
    ("fgtest_vit", NonSquare("64x96"), {"class_token": False}),
    ("fgtest_vit_reg4", 84, {}),
    ("fgtest_vit_reg4", 84, {"class_token": False, "last_norm": True}),
    ("fgtest_vit_gap", 96, {"blocks": [1, 3]}),
    ("eva02_tiny_patch14_224", 56, {"blocks": "even", "class_token": False}),
    *(("fgtest_resnet", size, {}) for size in (32, 70, 101, NonSquare("64x96"))),
    ("test_resnet", 90, {}),
]


@pytest.fixture(autouse=True, scope="module")
def without_gradients():
    with torch.no_grad():
        yield


@pytest.mark.parametrize(("name", "size", "options"), SHAPES, ids=str)
def test_levels_have_the_shapes_that_they_announce(name, size, options):
    pyramid = Pyramid(name, size, **options).eval()
    height, width = (size, size) if isinstance(size, int) else size.sides
    tokens = pyramid(torch.randn(2, 3, height, width))
    assert [tuple(level.shape) for level in tokens] == [(2, level.num_tokens, level.width) for level in pyramid.levels]
    for level in pyramid.levels:
        assert all(
            rows * level.stride > side - level.stride for rows, side in zip(level.grid, (height, width), strict=True)
        )
    assert all(name.startswith(pyramid.home) for name in pyramid.state_dict())


def built(name: str, **options) -> tuple[Pyramid, nn.Module]:
    """A pyramid with random weights, and timm's network with the same."""
    pyramid = Pyramid(name, 96, **options).eval()
    network = timm.create_model(name, **({} if pyramid.family == "resnet" else {"img_size": 96})).eval()
    pyramid.load_state_dict(randomness.randomise(pyramid.state_dict()))
    own = {key.removeprefix(pyramid.home): weight for key, weight in pyramid.state_dict().items()}
    assert not network.load_state_dict(own, strict=False).unexpected_keys
    return pyramid, network


@pytest.mark.parametrize("name", ["fgtest_swin", "fgtest_resnet", "fgtest_resnet_basic"])
def test_stages_are_those_of_timm(name):
    pyramid, network = built(name)
    expected = []
    stages = network.layers if name == "fgtest_swin" else [getattr(network, f"layer{n}") for n in (1, 2, 3, 4)]
    for stage in stages:
        stage.register_forward_hook(lambda *found: expected.append(found[-1]))
    network(IMAGES)
    for level, whole in zip(pyramid(IMAGES), expected, strict=True):
        flat = whole.flatten(1, 2) if name == "fgtest_swin" else whole.flatten(2).mT
        torch.testing.assert_close(level, flat)


def test_merged_levels_of_a_swin_are_what_the_next_stage_starts_from_and_the_last_one_can_be_normalised():
    pyramid, network = built("fgtest_swin", merged=True, last_norm=True)
    expected = []
    for stage in network.layers[1:]:
        stage.downsample.register_forward_hook(lambda *found: expected.append(found[-1].flatten(1, 2)))
    expected.append(network.forward_features(IMAGES).flatten(1, 2))
    for level, whole in zip(pyramid(IMAGES), expected, strict=True):
        torch.testing.assert_close(level, whole)


def test_levels_of_a_vit_are_outputs_of_blocks_with_the_class_token_and_the_last_norm_on_request():
    pyramid, network = built("fgtest_vit", blocks=[2, 4], last_norm=True)
    expected = []
    network.blocks[1].register_forward_hook(lambda *found: expected.append(found[-1]))
    expected.append(network.forward_features(IMAGES))
    for level, whole in zip(pyramid(IMAGES), expected, strict=True):
        torch.testing.assert_close(level, whole)


def test_a_vit_without_its_class_token_is_that_of_timm_without_one():
    pyramid = Pyramid("fgtest_vit", 96, class_token=False, last_norm=True).eval()
    network = timm.create_model("fgtest_vit", img_size=96, class_token=False, global_pool="avg", fc_norm=False).eval()
    own = {key.removeprefix(pyramid.home): weight for key, weight in pyramid.state_dict().items()}
    assert set(network.load_state_dict(own, strict=False).missing_keys) == {"head.weight", "head.bias"}
    torch.testing.assert_close(pyramid(IMAGES)[-1], network.forward_features(IMAGES))


def test_what_comes_after_the_last_level_is_left_out():
    assert len(Pyramid("fgtest_vit", 96, blocks=[1, 2]).net.vit.blocks) == 2
    for name in ("fgtest_vit", "fgtest_swin"):
        with_norm, without = (set(Pyramid(name, 96, last_norm=norm).state_dict()) for norm in (True, False))
        assert {key.rpartition("norm.")[2] for key in with_norm - without} == {"weight", "bias"}


@pytest.mark.parametrize(
    ("blocks", "depth", "numbers"),
    [
        ("last", 12, (9, 10, 11, 12)),
        ("last", 3, (1, 2, 3)),
        ("even", 12, (3, 6, 9, 12)),
        ("even", 6, (2, 3, 5, 6)),
        ([2, 5], 6, (2, 5)),
    ],
)
def test_blocks_by_words_and_by_numbers(blocks, depth, numbers):
    assert block_numbers(blocks, depth) == numbers


WRONG = [
    ("convnext_tiny", {}, "a Swin, a plain ViT or a ResNet"),
    ("vit_base_r50_s16_224", {}, "no plain vision transformer"),
    ("fgtest_vit", {"blocks": [2, 1]}, "numbers of blocks must ascend"),
    ("fgtest_vit", {"blocks": [1, 5]}, "number of a block must be a whole number from 1 to 4"),
    ("fgtest_vit", {"blocks": "first"}, "unknown choice of blocks 'first'"),
    ("deit_tiny_distilled_patch16_224", {"class_token": False}, "distillation token"),
]


@pytest.mark.parametrize(("name", "options", "message"), WRONG)
def test_what_has_no_levels_is_refused_in_one_line(name, options, message):
    with torch.device("meta"), pytest.raises(FgbenchError, match=message) as caught:
        Pyramid(name, 96, **options)
    assert "\n" not in str(caught.value)


def test_an_unknown_name_is_refused_and_families_are_told_apart():
    with pytest.raises(UnknownNameError, match="unknown backbone 'swin_huge'"):
        Pyramid("swin_huge", 96)
    names = (
        "swin_tiny_patch4_window7_224",
        "swinv2_tiny_window8_256",
        "fgtest_vit",
        "eva02_tiny_patch14_224",
        "resnet18",
    )
    assert [family_of(name) for name in names] == ["swin", "swin", "vit", "vit", "resnet"]


def test_windows_and_stochastic_depth_of_a_swin_are_those_of_timm_unless_they_are_given():
    name = "swin_tiny_patch4_window7_224"
    with torch.device("meta"):
        own, given = Pyramid(name, 224), Pyramid(name, 224, window=4, drop_path=0.0)
    for pyramid, windows, deepest in ((own, {(7, 7)}, 0.1), (given, {(4, 4)}, 0.0)):
        blocks = [block for stage in pyramid.net.layers for block in stage.blocks]
        rates = [getattr(block.drop_path1, "drop_prob", 0.0) for block in blocks]
        assert {tuple(block.window_size) for block in blocks} == windows
        assert rates == pytest.approx([deepest * place / (len(blocks) - 1) for place in range(len(blocks))])


def test_only_a_swin_has_windows():
    with torch.device("meta"), pytest.raises(FgbenchError, match="only a Swin has windows"):
        Pyramid("fgtest_vit", 96, window=4)
