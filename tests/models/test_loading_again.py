"""A model that has loaded a file loads the next like a new model, or refuses it."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch
from helpers.model_scenes import enliven, images
from helpers.released_models import GLSim
from helpers.released_port import GLSimPort

import fgbench
from fgbench.errors import FgbenchError
from fgbench.models.build import create_model
from fgbench.models.checkpoints.files import write_weights

OPTIONS = {"img_size": 64, "num_classes": 3}
TINY, DISTILLED = "deit_tiny_patch16_224", "deit_tiny_distilled_patch16_224"


def glsim():
    return create_model("glsim", TINY, top_k=2, **OPTIONS).eval()


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Files of GLSim, its port and fgbench, with the networks that they are of."""
    folder = tmp_path_factory.mktemp("files")
    networks = {
        "released": enliven(GLSim(3, 64), 1).eval(),
        "port": enliven(GLSimPort(3, 64, top_k=2), 2).eval(),
        "own": enliven(glsim(), 3),
    }
    for name in ("released", "port"):
        torch.save(networks[name].state_dict(), folder / f"{name}.pth")
    fgbench.save_checkpoint(networks["own"], folder / "own.safetensors")
    return {name: (next(folder.glob(f"{name}.*")), network) for name, network in networks.items()}


@torch.no_grad()
@pytest.mark.parametrize("sequence", ["released own", "own released own", "released port", "port port", "own port"])
def test_the_next_file_gives_what_it_gives_a_new_model(sequence, files):
    model = glsim()
    for name in sequence.split():
        path, network = files[name]
        assert fgbench.load_checkpoint(model, path, strict=True).complete
        expected = network(images(2, 64))
        for each in (model, copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
            torch.testing.assert_close(each(images(2, 64)), expected, rtol=0, atol=1e-5)


@torch.no_grad()
def test_the_epsilon_of_a_file_is_not_kept_for_the_next(tmp_path):
    coarse = enliven(create_model("vit", "fgtest_vit", norm_eps=1e-2, **OPTIONS)).eval()
    usual = enliven(create_model("vit", "fgtest_vit", **OPTIONS), 1).eval()
    fgbench.save_checkpoint(coarse, tmp_path / "coarse.safetensors")
    fgbench.save_checkpoint(usual, tmp_path / "usual.safetensors")
    torch.save({name: tensor[:1] for name, tensor in usual.state_dict().items()}, tmp_path / "unfit.pth")
    model = create_model("vit", "fgtest_vit", **OPTIONS).eval()
    fgbench.load_checkpoint(model, tmp_path / "coarse.safetensors")
    with pytest.raises(FgbenchError, match="shapes do not fit"):
        fgbench.load_checkpoint(model, tmp_path / "unfit.pth")
    assert torch.equal(model(images(2, 64)), coarse(images(2, 64)))
    assert model.norm_eps == 1e-2
    fgbench.load_checkpoint(model, tmp_path / "usual.safetensors")
    assert torch.equal(model(images(2, 64)), usual(images(2, 64)))
    assert model.norm_eps is None
    fgbench.load_checkpoint(coarse, tmp_path / "usual.safetensors")
    assert coarse.norm_eps == 1e-2  # it was built so


@pytest.mark.parametrize("name", ["released", "own"])
def test_a_port_takes_no_file_of_another_variant(name, files):
    model = glsim()
    fgbench.load_checkpoint(model, files["port"][0])
    before = model(images(2, 64))
    with pytest.raises(
        FgbenchError, match=r"an earlier file made a model with crop_class_token=True.*build a new model"
    ):
        fgbench.load_checkpoint(model, files[name][0])
    assert torch.equal(model(images(2, 64)), before)


def test_a_vit_of_an_earlier_version_takes_no_file_of_timm_s_readout(tmp_path):
    model = create_model("vit", DISTILLED, **OPTIONS).eval()
    torch.save(model.state_dict(), tmp_path / "two_heads.pth")
    fgbench.save_checkpoint(model, tmp_path / "two_heads.safetensors")
    weights = {name: tensor for name, tensor in model.state_dict().items() if "head_dist" not in name}
    write_weights(weights, tmp_path / "earlier.safetensors", {"format": "fgbench", "model": "ViT"})
    fgbench.load_checkpoint(model, tmp_path / "earlier.safetensors")
    assert model.readout == "class_token"
    for name in ("two_heads.pth", "two_heads.safetensors"):
        with pytest.raises(FgbenchError, match=r"readout='class_token' of this ViT.*build a new model"):
            fgbench.load_checkpoint(model, tmp_path / name)
    fgbench.load_checkpoint(model, tmp_path / "earlier.safetensors", strict=True)
    fgbench.save_checkpoint(model, tmp_path / "again.safetensors")
    fgbench.load_checkpoint(model, tmp_path / "again.safetensors", strict=True)
