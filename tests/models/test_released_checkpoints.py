"""Files of the authors, loaded into fgbench's models, give the logits of the authors' modules."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers import randomness, released_models
from safetensors.torch import save_file
from torch import Tensor, nn

import fgbench
from fgbench.errors import FgbenchError
from fgbench.models.build import create_model

CLASSES = 7
TINY = "vit_tiny_patch16_224"
State = dict[str, Tensor]


def wrapped(key: str) -> Callable[[State, Path], None]:
    return lambda state, path: torch.save({key: state}, path)


def with_logs(state: State, path: Path) -> None:
    torch.save({"logs": {"epoch": 160, "lr": 1e-3}, "state_dict": state}, path)


def with_arguments(state: State, path: Path) -> None:
    torch.save({"model": state, "args": argparse.Namespace(model_name="vit_b16", lr=0.01)}, path)


def bare(state: State, path: Path) -> None:
    torch.save(state, path)


def safetensors(state: State, path: Path) -> None:
    save_file({name: tensor.clone() for name, tensor in state.items()}, path)  # IELT has some under two names


def prefixed(save: Callable[[State, Path], None]) -> Callable[[State, Path], None]:
    return lambda state, path: save({f"model.{name}": w for name, w in state.items()}, path)


FILES = {
    "under 'model'": wrapped("model"),
    "under 'model', with the arguments of the run": with_arguments,
    "under 'state_dict', with logs": with_logs,
    "bare": bare,
    "safetensors": safetensors,
    "under 'model', with a prefix": prefixed(wrapped("model")),
    "under 'state_dict', with logs and a prefix": prefixed(with_logs),
    "bare, with a prefix": prefixed(bare),
    "safetensors, with a prefix": prefixed(safetensors),
}
# Our model and its backbone, the authors' module, and how they store it.
RELEASES = {
    "glsim": ("glsim", TINY, released_models.GLSim, wrapped("model")),
    "glsim's plain vit": ("vit", TINY, released_models.GLSimViT, wrapped("model")),
    "transfg": ("transfg", TINY, released_models.TransFG, wrapped("model")),
    "ffvt": ("ffvt", TINY, released_models.FFVT, wrapped("model")),
    "ielt": ("ielt", TINY, released_models.IELT, wrapped("model")),
    "r2-trans": ("r2trans", TINY, released_models.R2Trans, bare),
    "cal": ("cal", "resnet26", released_models.CAL, with_logs),
}
EMBEDDINGS = ("class_token", "cls_token", "pos_embedding", "position_embeddings", "patch_embedding", "patch_embeddings")


@pytest.fixture(autouse=True, scope="module")
def without_gradients():
    with torch.no_grad():
        yield


@pytest.fixture(scope="module")
def images() -> Tensor:
    return randomness.images(2, 224)


def trained(author: Callable[..., nn.Module], images: Tensor, **shape: Any) -> nn.Module:
    """An author's module after some training, so to speak."""
    module = author(CLASSES, **shape).eval()
    weights = randomness.randomise(module.state_dict())
    if isinstance(module, released_models.CAL):
        module.load_state_dict(weights)
        randomness.attend_to_objects(weights, images, module.features(images))
    module.load_state_dict(weights)
    return module


def ours(name: str, backbone: str, size: int = 224, **options: Any) -> nn.Module:
    return create_model(name, backbone, img_size=size, num_classes=CLASSES, **options).eval()


def suffix(save: Callable[[State, Path], None]) -> str:
    return ".safetensors" if save in (FILES["safetensors"], FILES["safetensors, with a prefix"]) else ".pth"


@pytest.mark.parametrize("release", RELEASES)
def test_a_released_file_gives_the_logits_of_the_released_model(release, images, tmp_path):
    name, backbone, author, save = RELEASES[release]
    module = trained(author, images)
    save(module.state_dict(), tmp_path / "released.pth")
    model = ours(name, backbone)
    report = fgbench.load_checkpoint(model, tmp_path / "released.pth")
    expected = module(images)
    assert expected.std() > 0.1
    torch.testing.assert_close(model(images), expected, rtol=0, atol=1e-4)
    assert release.split("'")[0] in report.format.lower()
    assert (report.missing, report.resized) == ((), ())
    assert set(report.unexpected) <= {"anchor_class_token"}  # which nothing that was released ever read


@pytest.mark.parametrize("kind", FILES)
@pytest.mark.parametrize("release", ["glsim's plain vit", "transfg"])
def test_every_kind_of_file_is_read(release, kind, images, tmp_path):
    name, backbone, author, _ = RELEASES[release]
    module, path = trained(author, images[:1]), tmp_path / f"released{suffix(FILES[kind])}"
    FILES[kind](module.state_dict(), path)
    model = ours(name, backbone)
    report = fgbench.load_checkpoint(model, path)
    torch.testing.assert_close(model(images[:1]), module(images[:1]), rtol=0, atol=1e-4)
    assert (report.missing, report.unexpected, report.resized) == ((), (), ())


@pytest.mark.parametrize("kind", ["under 'model', with a prefix", "bare", "safetensors, with a prefix"])
@pytest.mark.parametrize("release", ["glsim", "ffvt", "cal", "ielt", "r2-trans"])
def test_the_container_says_nothing_about_the_model(release, kind, images, tmp_path):
    name, backbone, author, _ = RELEASES[release]
    module, path = trained(author, images[:1]), tmp_path / f"released{suffix(FILES[kind])}"
    FILES[kind](module.state_dict(), path)
    model = ours(name, backbone)
    assert fgbench.load_checkpoint(model, str(path)).missing == ()
    torch.testing.assert_close(model(images[:1]), module(images[:1]), rtol=0, atol=1e-4)


@pytest.mark.parametrize("release", ["glsim", "glsim's plain vit", "transfg", "ffvt", "ielt", "r2-trans"])
def test_the_epsilon_of_the_released_model_comes_with_its_weights(release, images, tmp_path):
    """Embeddings of a thousandth have a variance of 1e-6: with another epsilon their norm is another."""
    name, backbone, author, save = RELEASES[release]
    module = trained(author, images)
    for parameter, w in module.named_parameters():
        if any(part in EMBEDDINGS for part in parameter.split(".")):
            w *= 1e-3
    expected = module(images)
    save(module.state_dict(), tmp_path / "released.pth")
    model = ours(name, backbone)
    fgbench.load_checkpoint(model, tmp_path / "released.pth")
    torch.testing.assert_close(model(images), expected, rtol=0, atol=1e-4)

    for norm in (m for m in module.modules() if isinstance(m, nn.LayerNorm)):
        norm.eps = 1e-6 if norm.eps == 1e-12 else 1e-12
    assert (module(images) - expected).abs().max() > 1e-2


def test_glsim_in_both_implementations(images, tmp_path):
    module = trained(released_models.GLSim, images)
    torch.save({"model": module.state_dict()}, tmp_path / "released.pth")
    for impl in ("fast", "published"):
        model = ours("glsim", TINY, impl=impl)
        fgbench.load_checkpoint(model, tmp_path / "released.pth")
        torch.testing.assert_close(model(images), module(images), rtol=0, atol=1e-4)


def test_a_plain_vit_reports_what_of_glsim_it_has_no_use_for(images, tmp_path):
    module = trained(released_models.GLSim, images)
    torch.save({"model": module.state_dict()}, tmp_path / "released.pth")
    model = ours("vit", TINY)
    report = fgbench.load_checkpoint(model, tmp_path / "released.pth")
    assert report.missing == ()
    assert any("aggregator" in name for name in report.unexpected)
    torch.testing.assert_close(model(images), released_models.GLSimViT.forward(module, images), rtol=0, atol=1e-4)


def test_glsim_reports_what_a_plain_vit_does_not_give_it(images, tmp_path):
    torch.save({"model": trained(released_models.GLSimViT, images).state_dict()}, tmp_path / "released.pth")
    model = ours("glsim", TINY)
    report = fgbench.load_checkpoint(model, tmp_path / "released.pth")
    assert report.missing
    assert all("aggregator" in name for name in report.missing)
    assert report.unexpected == ()


@pytest.mark.parametrize("release", ["glsim", "transfg", "ffvt", "ielt"])
def test_positions_of_another_grid_are_resized_and_the_class_token_keeps_its_own(release, images, tmp_path):
    """Positions that are alike on one grid are alike on every grid, however they are interpolated."""
    name, backbone, author, save = RELEASES[release]

    def level(module: nn.Module) -> nn.Module:
        for parameter, w in module.named_parameters():
            if parameter.endswith(("pos_embedding", "position_embeddings")):
                w[:, 1:] = w[:, 1:2].clone()
        return module

    larger = randomness.images(2, 288, seed=1)
    module = level(trained(author, images))
    save(module.state_dict(), tmp_path / "released.pth")
    model = ours(name, backbone, 288)
    report = fgbench.load_checkpoint(model, tmp_path / "released.pth")
    assert len(report.resized) == 1
    assert "pos" in report.resized[0]

    expected = author(CLASSES, 288).eval()
    weights = dict(module.state_dict())
    for parameter, w in expected.named_parameters():
        if parameter.endswith(("pos_embedding", "position_embeddings")):
            own = weights[parameter]
            weights[parameter] = torch.cat([own[:, :1], own[:, 1:2].expand(-1, w.shape[1] - 1, -1)], dim=1)
    expected.load_state_dict(weights)
    torch.testing.assert_close(model(larger), expected(larger), rtol=0, atol=1e-4)


class Intruder:
    """Writes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def test_a_file_that_would_run_code_is_refused_and_runs_none(images, tmp_path):
    state = trained(released_models.GLSimViT, images).state_dict()
    torch.save({"model": state, "args": Intruder(tmp_path / "intruded")}, tmp_path / "released.pth")
    model = ours("vit", TINY)
    with pytest.raises(FgbenchError):
        fgbench.load_checkpoint(model, tmp_path / "released.pth")
    assert not (tmp_path / "intruded").exists()


def test_a_backbone_of_another_width_is_refused_and_the_model_stays_as_it_was(images, tmp_path):
    torch.save(
        {"model": trained(released_models.GLSimViT, images, width=128, heads=2).state_dict()}, tmp_path / "narrow.pth"
    )
    model = ours("vit", TINY)
    before = {name: w.clone() for name, w in model.state_dict().items()}
    with pytest.raises(FgbenchError):
        fgbench.load_checkpoint(model, tmp_path / "narrow.pth")
    assert all(torch.equal(w, before[name]) for name, w in model.state_dict().items())


def test_a_file_of_names_that_nobody_released_is_refused(tmp_path):
    torch.save({"model": {"somebody.elses.weight": torch.zeros(3)}}, tmp_path / "unknown.pth")
    with pytest.raises(FgbenchError):
        fgbench.load_checkpoint(ours("vit", TINY), tmp_path / "unknown.pth")


def test_the_names_are_the_released_ones():
    """Some of each format in full, so that the modules above stay what they stand for."""
    glsim = released_models.GLSim(CLASSES).state_dict()
    assert {"class_token", "anchor_class_token", "patch_embedding.weight", "positional_embedding.pos_embedding"} < set(
        glsim
    )
    assert {"encoder.blocks.11.attn.proj_q.weight", "encoder.blocks.0.proj.bias", "head.bias"} < set(glsim)
    assert {"encoder.blocks.0.pwff.fc1.weight", "encoder_norm.weight", "aggregator.blocks.0.norm2.bias"} < set(glsim)
    transfg, ffvt = released_models.TransFG(CLASSES).state_dict(), released_models.FFVT(CLASSES).state_dict()
    shared = {"embeddings.cls_token", "embeddings.position_embeddings", "embeddings.patch_embeddings.weight"}
    shared |= {"encoder.layer.10.attention_norm.weight", "encoder.layer.10.attn.out.bias"}
    shared |= {"encoder.layer.0.ffn.fc2.weight", "encoder.layer.0.ffn_norm.bias", "encoder.layer.0.attn.query.weight"}
    assert {f"transformer.{name}" for name in shared} < set(transfg) & set(ffvt)
    assert {"transformer.encoder.part_layer.attn.key.weight", "transformer.encoder.part_norm.bias"} < set(transfg)
    assert {"part_head.weight", "part_head.bias"} < set(transfg)
    assert {"transformer.encoder.ff_last_layer.attn.value.bias", "transformer.encoder.ff_encoder_norm.bias"} < set(ffvt)
    assert {"head.weight", "head.bias"} < set(ffvt)
    cal = released_models.CAL(CLASSES).state_dict()
    assert {name.split(".")[1] for name in cal if name.startswith("features.")} == set("014567")
    assert {"features.4.0.downsample.1.running_var", "attentions.conv.weight", "attentions.bn.weight"} < set(cal)
    assert {name for name in cal if name.startswith("fc")} == {"fc.weight"}
    ielt, r2trans = released_models.IELT(CLASSES).state_dict(), released_models.R2Trans(CLASSES).state_dict()
    assert {"embeddings.cls_token", "embeddings.position_embeddings", "encoder.layer.10.attn.out.bias"} < set(ielt)
    assert {"encoder.clr_layer.attn.query.weight", "encoder.clr_encoder.clr_layer.attn.query.weight"} < set(ielt)
    assert {"encoder.clr_encoder.clr_norm.bias", "encoder.key_layer.ffn.fc1.weight", "head.bias"} < set(ielt)
    assert {"encoder.key_norm.weight"} < set(ielt)
    assert "encoder.layer.11.attn.out.bias" not in ielt
    base = {"transformer.embeddings.patch_embeddings.weight", "transformer.encoder.layer.11.attn.key.bias"}
    base |= {"transformer.encoder.encoder_norm.weight", "head.weight"}
    assert {f"base_model_one.{name}" for name in base} < set(r2trans)
    assert {"norm.weight", "norm.bias", "classifier.weight", "classifier.bias"} < set(r2trans)
    assert r2trans["norm.weight"].shape == (196,)
