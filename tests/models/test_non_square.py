"""Images that are no squares: models that take them, models that refuse, and their counted work."""

from __future__ import annotations

import json

import pytest
import timm
import torch
from fvcore.nn import FlopCountAnalysis
from typer.testing import CliRunner

import fgbench
from fgbench.cli import app
from fgbench.errors import FgbenchError
from fgbench.flops.count_models import count_model
from fgbench.flops.grid import CountGrid
from fgbench.models.any_network import function_network

TALL, WIDE = (96, 64), (64, 96)
SQUARE_ONLY = ("cal", "transfg", "ffvt", "ramstrans", "aftrans", "dcal", "ev", "glsim")
SQUARE_ONLY += ("ielt", "r2trans", "simtrans", "aatrans", "accvit", "falvit", "pim", "herbs", "mpsa", "vitnet")


@pytest.mark.parametrize("size", [TALL, WIDE])
@pytest.mark.parametrize("overlap", [0, 4])
def test_a_vit_has_a_grid_of_rows_and_columns(size, overlap):
    model = fgbench.create_model("vit", "test_vit", img_size=size, num_classes=3, overlap=overlap).eval()
    step = 16 - overlap
    assert model.encoder.grid == tuple((side - 16) // step + 1 for side in size)
    with torch.no_grad():
        assert model(torch.randn(2, 3, *size)).shape == (2, 3)
        with pytest.raises(FgbenchError, match="built for images of shape"):
            model(torch.randn(2, 3, *reversed(size)))


def test_a_vit_computes_what_timm_does():
    torch.manual_seed(0)
    model = fgbench.create_model("vit", "test_vit", img_size="64x96", num_classes=3).eval()
    reference = timm.create_model("test_vit", num_classes=3, img_size=WIDE).eval()
    weights = {name.removeprefix("encoder.vit."): value for name, value in model.state_dict().items()}
    reference.load_state_dict(weights)
    images = torch.randn(2, 3, *WIDE)
    with torch.no_grad():
        assert torch.allclose(model(images), reference(images), atol=1e-6)


def test_the_macs_of_a_vit_are_those_of_the_formula_and_of_fvcore():
    height, width, patch, classes = 64, 160, 16, 10
    with torch.device("meta"):
        model = fgbench.create_model("vit", "test_vit", img_size=(height, width), num_classes=classes).eval()
    patches = (height // patch) * (width // patch)
    dim, depth, tokens = model.encoder.embed_dim, model.encoder.depth, patches + model.encoder.num_prefix_tokens
    hidden = model.encoder.vit.blocks[0].mlp.fc1.out_features
    block = tokens * (4 * dim * dim + 2 * dim * hidden) + 2 * tokens * tokens * dim
    by_hand = patches * 3 * patch * patch * dim + depth * block + dim * classes
    assert count_model(model, model.image_size).total.macs == by_hand

    plain = timm.create_model("test_vit", num_classes=classes, img_size=(height, width)).eval()
    for each in plain.modules():
        if hasattr(each, "fused_attn"):
            each.fused_attn = False
    analysis = FlopCountAnalysis(plain, torch.zeros(1, 3, height, width))
    analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False)
    operators = analysis.by_operator()
    assert sum(operators[name] for name in ("conv", "linear", "matmul")) == by_hand


@pytest.mark.parametrize("name", SQUARE_ONLY)
def test_models_that_crop_and_select_need_squares(name):
    with torch.device("meta"), pytest.raises(FgbenchError, match=f"model '{name}' needs square images, got size"):
        fgbench.create_model(name, img_size=(224, 448))


@pytest.mark.parametrize("name", ["resnet101", "test_convnext", "test_vit"])
def test_networks_take_them(name):
    options = {"backbone": "test_resnet"} if name == "resnet101" else {}
    model = fgbench.create_model(name, img_size=WIDE, num_classes=3, **options).eval()
    with torch.no_grad():
        assert model(torch.randn(1, 3, *WIDE)).shape == (1, 3)
        with pytest.raises(FgbenchError, match="built for images of shape"):
            model(torch.randn(1, 3, 64, 64))


def test_functions_get_the_height_and_the_width():
    met = []

    def make(img_size):
        met.append(img_size)
        return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 64 * 96, 2))

    model = function_network("net.py:make", make)(img_size=WIDE)
    assert met == [WIDE]
    assert model(torch.randn(1, 3, *WIDE)).shape == (1, 2)


@pytest.mark.parametrize("bad", ["64 x 96", (64,), (64, -1), "wide", 0, (0, 5)])
def test_what_is_no_size_is_refused(bad):
    with pytest.raises(FgbenchError, match="img_size"):
        fgbench.create_model("vit", "test_vit", img_size=bad)


def test_measure_and_count_take_them():
    network = torch.nn.Sequential(torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(3, 2))
    row = fgbench.measure(network, torch.randn(2, 3, *WIDE), device="cpu", energy=False, max_time_s=0.05)
    assert (row.image_size, row.batch_size) == ("64x96", 2)
    assert row.image_size.sides == WIDE
    assert fgbench.count_flops(network, torch.zeros(1, 3, *WIDE)).macs == 6


def test_flops_has_their_rows_in_order_and_refuses_the_papers_forms(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = ["flops", "--model", "vit", "glsim", "--backbones", "test_vit", "--sizes", "64x96", "64"]
    result = CliRunner().invoke(app, [*words, "--format", "json"])
    rows = json.loads(result.stdout)
    assert {(row["model"], row["image_size"]) for row in rows if row["model"]} == {
        ("vit", "64x96"),
        ("vit", 64),
        ("glsim", 64),
    }
    assert "model 'glsim' needs square images, got size '64x96'" in result.stderr
    again = CliRunner().invoke(app, [*words, "--format", "json"])  # out of the cache
    assert json.loads(again.stdout) == rows
    assert "64x96" in CliRunner().invoke(app, words).stdout
    beside = CliRunner().invoke(app, ["flops", "--backbones", "test_vit", "--sizes", "64x96", "--selectors", "gls"])
    assert beside.exit_code == 0, beside.stderr
    assert "64x96" in beside.stdout
    with pytest.raises(FgbenchError, match="closed forms are those of square images"):
        CountGrid(sizes=image_shapes_of("64x96"), conventions=("paper",)).check()


def image_shapes_of(*words):
    from fgbench.values import image_shapes

    return image_shapes(words)
