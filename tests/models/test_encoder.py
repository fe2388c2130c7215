"""The encoder against timm's own forward pass, and what it records."""

from __future__ import annotations

import pytest
import timm
import torch
from helpers.model_scenes import enliven, images

from fgbench.errors import FgbenchError
from fgbench.models.backbone import build_vit
from fgbench.models.build import create_model
from fgbench.models.encoder import Encoder, run_for_chosen, run_recorded
from fgbench_selectors import QK, Maps, Needs

# A plain ViT, distilled, class token without position, patches of 14 with registers and layer scale, CLIP's norm before
# the blocks, rotary positions alike in all blocks and different ones, DINOv3, three projections with a gated MLP.
FAMILIES = [
    "vit_tiny_patch16_224",
    "deit_tiny_distilled_patch16_224",
    "deit3_small_patch16_224",
    "vit_small_patch14_reg4_dinov2",
    "vit_base_patch32_clip_224",
    "vit_small_patch16_rope_224",
    "vit_small_patch16_rope_mixed_224",
    "vit_small_patch16_dinov3",
    "eva02_tiny_patch14_224",
]
ALL = Needs(blocks=slice(None), logits=True)


def made(name: str, size: int = 112, **options) -> tuple[Encoder, torch.Tensor]:
    vit = enliven(build_vit(name, size, 3, **options)).eval()
    return Encoder(vit, name, size), images(2, size)


@pytest.mark.parametrize("name", FAMILIES)
def test_tokens_equal_timm_s_to_the_last_bit_recorded_or_not(name):
    encoder, batch = made(name)
    with torch.no_grad():
        expected = encoder.vit.fc_norm(encoder.vit.forward_features(batch))  # where timm pools, its norm comes after
        state = encoder.start(batch)
        encoder.run(state, range(encoder.depth), ALL)
        assert torch.equal(encoder(batch), expected)
        assert torch.equal(encoder.norm(state.tokens), expected)


@pytest.mark.parametrize("name", FAMILIES)
def test_maps_and_the_class_token_alone_give_the_same_tokens(name):
    encoder, batch = made(name)
    with torch.no_grad():
        expected = encoder(batch)
        state = encoder.start(batch)
        encoder.run(state, range(encoder.depth), ALL, maps=True)
        short = encoder.start(batch)
        encoder.run(short, range(encoder.depth - 1))
    scale = expected.abs().max()
    assert (encoder.norm(state.tokens) - expected).abs().max() < 1e-4 * scale
    assert (encoder.last_block_token(short) - expected[:, :1]).abs().max() < 1e-4 * scale


@pytest.mark.parametrize("name", FAMILIES)
def test_what_is_recorded_is_what_the_attention_used(name):
    """The softmax of recorded queries and keys is the map that the block built."""
    encoder, batch = made(name)
    with torch.no_grad():
        fused, dense = encoder.start(batch), encoder.start(batch)
        encoder.run(fused, range(encoder.depth), ALL)
        encoder.run(dense, range(encoder.depth), ALL, maps=True)
    for qk, maps in zip(fused.attention, dense.attention, strict=True):
        assert isinstance(qk, QK)
        assert isinstance(maps, Maps)
        assert (qk.probs_map() - maps.probs).abs().max() < 1e-4
        assert (qk.logits_map() - maps.logits).abs().max() < 1e-3 * maps.logits.abs().max()


@pytest.mark.parametrize("name", FAMILIES)
def test_patches_that_are_kept_keep_their_positions(name):
    """The class token does not depend on the order of patches; it does on which ones there are."""
    encoder, batch = made(name)
    generator = torch.Generator().manual_seed(0)
    shuffled = torch.stack([torch.randperm(encoder.num_patches, generator=generator) for _ in batch])
    with torch.no_grad():
        expected = encoder(batch)[:, 0]
        whole, half = (encoder.keep(encoder.start(batch), shuffled[:, :k]) for k in (None, encoder.num_patches // 2))
        for state in (whole, half):
            encoder.run(state, range(encoder.depth))
    scale = expected.abs().max()
    assert half.tokens.shape[1] == encoder.num_prefix_tokens + encoder.num_patches // 2
    assert (encoder.norm(whole.tokens)[:, 0] - expected).abs().max() < 1e-4 * scale
    assert (encoder.norm(half.tokens)[:, 0] - expected).abs().max() > 1e-3 * scale


@pytest.mark.parametrize("name", ["vit_tiny_patch16_224", "deit3_small_patch16_224", "vit_base_patch32_clip_224"])
def test_a_block_for_chosen_tokens_computes_what_it_does_for_all(name):
    encoder, batch = made(name)
    block, met = encoder.vit.blocks[0], []

    def best_two(attention: QK) -> torch.Tensor:
        met.append(attention.row(0))
        return met[0].mean(dim=1).topk(2).indices

    with torch.no_grad():
        tokens = encoder.start(batch).tokens
        chosen = run_for_chosen(block, tokens, best_two)
        for maps in (False, True):
            every, attention = run_recorded(block, tokens, maps=maps)
            index = best_two(attention)
            torch.testing.assert_close(attention.row(0), met[0])
            expected = every.gather(1, index.unsqueeze(-1).expand(-1, -1, every.shape[-1]))
            torch.testing.assert_close(chosen, expected, rtol=0, atol=1e-4 * every.abs().max().item())


@pytest.mark.parametrize("maps", [False, True])
@pytest.mark.parametrize("name", FAMILIES)
def test_a_block_gives_its_tokens_and_the_first_one_s_row_of_attention(name, maps):
    encoder, batch = made(name)
    with torch.no_grad():
        whole, state = encoder.start(batch), encoder.start(batch)
        encoder.run(whole, range(2), ALL)
        encoder.run(state, range(1))
        before = state.tokens.clone()
        row = whole.attention[1].row(0)
        for asking in (slice(None), slice(0, 1)):
            tokens, read = encoder.block_with_row(1, state, asking, maps=maps)
            expected = whole.tokens[:, asking]
            assert (tokens - expected).abs().max() < 1e-4 * expected.abs().max()
            assert (read() - row).abs().max() < 1e-4
    assert torch.equal(state.tokens, before)


def test_gradient_reaches_the_backbone_through_a_row_of_attention():
    for maps in (False, True):
        encoder, batch = made("fgtest_vit")
        _, read = encoder.block_with_row(0, encoder.start(batch), maps=maps)
        read()[..., 1:].square().sum().backward()
        gradient = encoder.vit.blocks[0].attn.qkv.weight.grad
        q, k, v = gradient.chunk(3)
        assert q.abs().max() > 0
        assert k.abs().max() > 0
        assert not v.any()


def test_only_what_a_selector_declares_is_recorded():
    encoder, batch = made("fgtest_vit")
    state = encoder.start(batch)
    encoder.run(state, range(4), Needs(blocks=slice(1, 3)))
    assert [block is not None for block in state.attention] == [False, True, True, False]
    assert all(not block.q.requires_grad for block in state.attention if block is not None)
    plain = encoder.start(batch)
    encoder.run(plain, range(4), Needs(tokens=True))
    assert plain.attention == [None] * 4
    assert encoder.features(plain, Needs(tokens=True)).tokens is not None
    assert encoder.features(state, Needs(blocks=slice(1, 3))).tokens is None


@pytest.mark.parametrize(("size", "overlap", "grid"), [(224, 0, 14), (224, 4, 18), (448, 4, 37), (230, 0, 14)])
def test_overlapping_patches_have_the_paper_s_grid(size, overlap, grid):
    with torch.device("meta"):
        vit = build_vit("vit_tiny_patch16_224", size, 3, overlap=overlap)
    encoder = Encoder(vit, "vit_tiny_patch16_224", size)
    assert encoder.grid == (grid, grid)
    assert encoder(torch.empty(1, 3, size, size, device="meta")).shape == (1, grid * grid + 1, 192)


@pytest.mark.parametrize("size", [224, 256, 384, 448, 600, 768, 1024])
@pytest.mark.parametrize("backbone", ["vit_base_patch16_224", "vit_base_patch14_reg4_dinov2", "vit_base_patch32_224"])
@pytest.mark.parametrize("model", ["glsim", "transfg"])
def test_any_size_and_patch_is_built_with_positions_of_its_grid(model, backbone, size):
    with torch.device("meta"):
        made = create_model(model, backbone, img_size=size)
        assert made(torch.empty(1, 3, size, size)).shape == (1, 200)


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("vit_base_patch16_siglip_224", "no class token"),
        ("resnet50", "no plain vision transformer"),
        ("vit_tiny_patch16_223", "did you mean vit_tiny_patch16_224"),
        ("vit_small_patch16_36x1_224.nonsense", "tag"),
        ("vit_base_patch32_plus_256", None),
    ],
)
def test_a_backbone_that_cannot_serve_is_refused_in_one_line(name, why):
    if why is None:
        with torch.device("meta"):
            assert create_model("vit", name, img_size=256) is not None
        return
    with pytest.raises(FgbenchError, match=why) as caught:
        create_model("glsim", name)
    assert "\n" not in str(caught.value)


def test_pretrained_weights_without_network_are_one_clear_line(monkeypatch, tmp_path):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(FgbenchError, match="no pretrained weights for 'vit_tiny_patch16_224'") as caught:
        create_model("glsim", "vit_tiny_patch16_224", pretrained=True)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 3


def test_models_live_under_timm_s_roof_too():
    import fgbench.models  # noqa: F401

    made = timm.create_model("fgbench_glsim", backbone="fgtest_vit", img_size=64, num_classes=3, top_k=2)
    assert type(made).__name__ == "GLSim"
    assert made(images(1, 64)).shape == (1, 3)
    assert {"fgbench_transfg", "fgbench_ielt", "fgbench_accvit", "fgbench_falvit"} <= set(timm.list_models("fgbench_*"))
    with pytest.raises(FgbenchError, match="3 channels"):
        timm.create_model("fgbench_vit", backbone="fgtest_vit", in_chans=1)
