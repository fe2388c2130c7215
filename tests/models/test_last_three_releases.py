"""Files of ACC-ViT and FAL-ViT: logits of the authors' modules, positions of both scales, files of another model."""

from __future__ import annotations

import pytest
import torch
from helpers import randomness, released_last_three, released_models
from models.test_more_releases import POSITIONS, save, zoomed
from models.test_released_checkpoints import CLASSES, TINY, ours, trained

import fgbench
from fgbench.errors import FgbenchError
from fgbench.models.build import create_model

IMAGES = randomness.images(2, 224)
FORMATS = {"accvit": "acc-vit", "falvit": "fal-vit"}
AUTHORS = {"accvit": released_last_three.ACCViT, "falvit": released_last_three.FALViT}


@pytest.fixture(autouse=True, scope="module")
def without_gradients():
    with torch.no_grad():
        yield


@pytest.mark.parametrize("impl", ["fast", "published"])
@pytest.mark.parametrize("prefix", ["module.", ""])
@pytest.mark.parametrize("name", AUTHORS)
def test_a_released_file_gives_the_logits_of_the_released_model(name, prefix, impl, tmp_path):
    module, model = trained(AUTHORS[name], IMAGES), ours(name, TINY, impl=impl)
    report = fgbench.load_checkpoint(model, save(module, tmp_path / "released.bin", prefix), strict=True)
    expected = module(IMAGES)
    assert expected.std() > 0.1
    torch.testing.assert_close(model(IMAGES), expected, rtol=0, atol=1e-4)
    assert (report.format, report.norm_eps, report.complete) == (FORMATS[name], 1e-6, True)
    assert (report.missing, report.unexpected, report.resized) == ((), (), ())


def test_a_bare_state_dict_of_a_parallel_acc_vit_is_read_and_every_head_is_its_own(tmp_path):
    module, model = trained(released_last_three.ACCViT, IMAGES), ours("accvit", TINY)
    torch.save({f"module.{name}": w for name, w in module.state_dict().items()}, tmp_path / "cub-59.pth")
    assert fgbench.load_checkpoint(model, tmp_path / "cub-59.pth", strict=True).complete
    for own, expected in zip(model.explain(IMAGES).heads.values(), module.heads(IMAGES), strict=True):
        torch.testing.assert_close(own, expected, rtol=0, atol=1e-4)


def test_a_fal_vit_beside_the_state_of_apex_is_read_with_the_head_of_its_first_pass(tmp_path):
    module, model = trained(released_last_three.FALViT, IMAGES), ours("falvit", TINY)
    scaler = {"loss_scaler0": {"loss_scale": 2.0**20, "unskipped": 12}}
    torch.save({"model": module.state_dict(), "amp": scaler}, tmp_path / "cub_checkpoint.bin")
    assert fgbench.load_checkpoint(model, tmp_path / "cub_checkpoint.bin").complete
    heads, (coarse, fine) = model.explain(IMAGES).heads, module.both(IMAGES)
    torch.testing.assert_close(heads["coarse"], coarse, rtol=0, atol=1e-4)
    torch.testing.assert_close(heads["fine"], fine, rtol=0, atol=1e-4)


@pytest.mark.parametrize("name", AUTHORS)
def test_what_was_loaded_is_saved_and_read_again(name, tmp_path):
    model, again = ours(name, TINY), ours(name, TINY)
    fgbench.load_checkpoint(model, save(trained(AUTHORS[name], IMAGES), tmp_path / "released.bin"))
    fgbench.save_checkpoint(model, tmp_path / "own.safetensors")
    report = fgbench.load_checkpoint(again, tmp_path / "own.safetensors", strict=True)
    assert (report.complete, report.differences) == (True, ())
    assert torch.equal(again(IMAGES), model(IMAGES))


@pytest.mark.parametrize("size", [160, 288])
@pytest.mark.parametrize("name", AUTHORS)
def test_positions_are_resized_as_the_authors_do(name, size, tmp_path):
    module, model = trained(AUTHORS[name], IMAGES), ours(name, TINY, size=size)
    report = fgbench.load_checkpoint(model, save(module, tmp_path / "released.bin"))
    embeddings, side, own = dict(module.transformer.embeddings.named_parameters()), size // 16, model.state_dict()
    scales = {POSITIONS: ("position_embeddings", side)}
    if name == "falvit":
        scales = {POSITIONS: ("position_embeddings1", side), "finer.pos_embed": ("position_embeddings2", 2 * side)}
    for position, (given, wanted) in scales.items():
        torch.testing.assert_close(own[position], zoomed(embeddings[given], wanted, 1), rtol=0, atol=1e-5)
    assert report.resized == tuple(scales)
    assert (report.grids, report.interpolation) == ((14, side), "bilinear")


OTHERS = {
    "an ACC-ViT in a vit": (released_last_three.ACCViT, "vit", "ACCViT"),
    "an ACC-ViT in a falvit": (released_last_three.ACCViT, "falvit", "ACCViT"),
    "a FAL-ViT in an accvit": (released_last_three.FALViT, "accvit", "FALViT"),
    "a FAL-ViT in a simtrans": (released_last_three.FALViT, "simtrans", "FALViT"),
    "a TransFG in an accvit": (released_models.TransFG, "accvit", "TransFG"),
}


@pytest.mark.parametrize("case", OTHERS)
def test_a_file_of_another_model_is_named(case, tmp_path):
    author, name, kind = OTHERS[case]
    report = fgbench.load_checkpoint(
        ours(name, TINY, **({"overlap": 0} if name == "simtrans" else {})),
        save(trained(author, IMAGES), tmp_path / "released.bin"),
    )
    assert report.trained_as == kind
    assert not report.complete


@pytest.mark.parametrize("name", AUTHORS)
def test_a_head_for_other_classes_is_told_by_their_numbers(name, tmp_path):
    path = save(trained(AUTHORS[name], IMAGES), tmp_path / "released.bin")
    model = create_model(name, TINY, num_classes=CLASSES + 3)
    with pytest.raises(FgbenchError, match=f"has a head for {CLASSES} classes, the model for {CLASSES + 3}"):
        fgbench.load_checkpoint(model, path)


def test_the_names_are_the_released_ones():
    acc, fal = (author(CLASSES).state_dict() for author in AUTHORS.values())
    shared = {"embeddings.cls_token", "encoder.layer.11.attn.out.bias", "encoder.layer.0.ffn.fc1.weight"}
    assert {f"transformer.{name}" for name in shared} < set(acc) & set(fal)
    assert {"transformer.encoder.aof.attn.query.weight", "transformer.encoder.norm13.bias", "part_head10.bias"} < set(
        acc
    )
    assert "transformer.embeddings.position_embeddings" in acc
    assert fal["transformer.embeddings.patch_embeddings2.weight"].shape == (192, 3, 8, 8)
    assert fal["transformer.embeddings.position_embeddings2"].shape == (1, 28 * 28 + 1, 192)
    assert {"transformer.encoder.cls_norm.weight", "part_head1.weight", "part_head2.4.bias"} < set(fal)


def test_a_file_of_the_later_acc_vit_is_read_as_a_backbone(tmp_path):
    later = {}
    for name, w in trained(released_last_three.ACCViT, IMAGES).state_dict().items():
        name = name.replace("encoder.aof.", "encoder.token_filter_module.").replace(
            "encoder.norm12", "encoder.encoder_norm"
        )
        later[name.replace("encoder.norm1", "encoder.encoder_norm_").replace("part_head1", "head_")] = w
    torch.save({"model": later}, tmp_path / "later.bin")
    report = fgbench.load_checkpoint(ours("accvit", TINY), tmp_path / "later.bin")
    assert report.backbone_only
    assert not report.complete
    assert {"object_block.norm1.weight", "object_norm.bias"} <= set(report.started)
    assert "transformer.encoder.token_filter_module.ffn.fc1.bias" in report.unexpected
