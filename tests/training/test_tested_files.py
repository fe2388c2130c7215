"""Files of others under ``fgbench accuracy --test-only``: their accuracy, or one line that says why there is none."""

from __future__ import annotations

import json
import re
from pathlib import Path

import helpers.backbones  # noqa: F401  # timm knows them from now on
import numpy as np
import pytest
import timm
import torch
from helpers import randomness, released_models
from PIL import Image
from typer.testing import CliRunner

from fgbench.cli import app
from fgbench.datasets.dataset import DataSet, FileSplit
from fgbench.datasets.transforms import eval_transform

CLASSES, TINY = 4, "vit_tiny_patch16_224"
NAMES = [f"class{number}" for number in range(CLASSES)]


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.delenv("FGBENCH_STORE", raising=False)
    monkeypatch.chdir(tmp_path)
    common = ("--dataset", "folder", "--data-dir", "data", "--device", "cpu", "--threads", "1", "--test-only")
    return lambda *words: CliRunner().invoke(app, ["accuracy", *common, "--format", "json", *words])


@torch.no_grad()
def labelled_by(network: torch.nn.Module, size: int, root: Path, count: int = 24) -> None:
    """Noise of many colours, in the folders of the classes that a network predicts for it."""
    plain = DataSet(name="folder", class_names=NAMES, train=FileSplit(root, [], []), test=FileSplit(root, [], []))
    transform, drawn = eval_transform(plain, size), np.random.default_rng(0)
    for name in NAMES:
        (root / "train" / name).mkdir(parents=True)
        Image.new("RGB", (size, size), (90, 90, 90)).save(root / "train" / name / "grey.png")
    pictures, logits = [], []
    for _ in range(count):
        coarse = drawn.integers(0, 256, (4, 4, 3), dtype=np.uint8)
        pictures.append(Image.fromarray(coarse).resize((size, size), Image.Resampling.BICUBIC))
        logits.append(network(transform(pictures[-1])[None])[0])
    network.head.bias -= torch.stack(logits).mean(dim=0)  # classes that are met about as often
    for number, picture in enumerate(pictures):
        predicted = int(network(transform(picture)[None])[0].argmax())
        (root / "test" / NAMES[predicted]).mkdir(parents=True, exist_ok=True)
        picture.save(root / "test" / NAMES[predicted] / f"{number}.png")


@pytest.mark.parametrize(
    ("backbone", "size"),
    [("eva02_tiny_patch14_224", 56), ("deit_tiny_distilled_patch16_224", 64), ("vit_wee_patch16_reg1_gap_256", 64)],
)
def test_a_vit_is_right_about_what_timm_labelled(run, tmp_path, backbone, size):
    torch.manual_seed(0)
    network = timm.create_model(backbone, img_size=size, num_classes=CLASSES).eval()
    network.load_state_dict(randomness.randomise(network.state_dict()))
    labelled_by(network, size, tmp_path / "data")
    torch.save(network.state_dict(), "timm.pth")
    words = ("--model", "vit", "--backbone", backbone, "--sizes", str(size), "--checkpoint", "timm.pth")
    result = run(*words)
    assert result.exit_code == 0, result.stderr
    assert [row["top1_percent"] for row in json.loads(result.stdout)] == [100]
    assert ("timm's own weights" in result.stderr) == ("deit" not in backbone)  # which alone has ImageNet's colours
    if "gap" in backbone:  # and no class token
        return
    other = run(*words, "--model-options", "readout=class_token")
    assert other.exit_code == 0, other.stderr
    assert json.loads(other.stdout)[0]["top1_percent"] < 100


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("tested")
    for split in ("train", "test"):
        for name in NAMES:
            (root / "data" / split / name).mkdir(parents=True)
            Image.new("RGB", (32, 32), (90, 120, 30)).save(root / "data" / split / name / "a.png")
    return root


REFUSED = {
    "weights that classify find no place": ("vit", "two_heads", "2 weights of .* have no place in the model"),
    "another model's": ("transfg", "ffvt", "holds the weights of a FFVT; the model to be tested is a 'TransFG'"),
    "a plain transformer's": ("glsim", "plain", "random ones would be tested"),
    "averages the patches": ("vit", "averaged", "it has fc_norm.weight, fc_norm.bias, for which"),
    "classifies into other classes": ("vit", "more_classes", "was trained for 7 classes; data set 'folder' has 4"),
    "has one token more": ("vit", "distilled", "1 shape does not fit: .*pos_embed.*; give the backbone"),
    "more than the model reads": ("vit", "glsim", "holds the weights of a GLSim"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_would_test_another_network_is_refused(run, data, tmp_path, case):
    model, file, why = REFUSED[case]
    (tmp_path / "data").symlink_to(data / "data")
    states = {
        "two_heads": lambda: timm.create_model("deit_tiny_distilled_patch16_224", img_size=64, num_classes=CLASSES),
        "distilled": lambda: timm.create_model("deit_tiny_distilled_patch16_224", img_size=64, num_classes=CLASSES),
        "averaged": lambda: timm.create_model(TINY, img_size=64, num_classes=CLASSES, global_pool="avg"),
        "more_classes": lambda: timm.create_model(TINY, img_size=64, num_classes=7),
        "ffvt": lambda: released_models.FFVT(CLASSES, 64),
        "plain": lambda: released_models.GLSimViT(CLASSES, 64),
        "glsim": lambda: released_models.GLSim(CLASSES, 64),
    }
    torch.save(states[file]().state_dict(), "file.pth")
    if file == "two_heads":  # as a plain ViT with one position too many would not fit, and two heads have one token
        state = dict(timm.create_model("vit_tiny_patch16_224", img_size=64, num_classes=CLASSES).state_dict())
        state |= {"head_dist.weight": state["head.weight"], "head_dist.bias": state["head.bias"]}
        torch.save(state, "file.pth")
    result = run("--model", model, "--backbone", TINY, "--sizes", "64", "--checkpoint", "file.pth")
    assert result.exit_code == 2, result.stdout
    assert re.search(why, result.stderr), result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert result.stdout == ""


def test_how_positions_were_resized_is_said_and_can_be_chosen(run, data, tmp_path):
    (tmp_path / "data").symlink_to(data / "data")
    torch.save({"model": released_models.GLSimViT(CLASSES, 96).state_dict()}, "larger.pth")
    words = ("--model", "vit", "--backbone", TINY, "--sizes", "64", "--checkpoint", "larger.pth")
    first = run(*words)
    assert first.exit_code == 0, first.stderr
    assert "6×6 patches, the model 4×4" in first.stderr
    assert "bilinear" in first.stderr
    other = run(*words, "--position-interpolation", "bicubic")
    assert other.exit_code == 0, other.stderr
    assert "bicubic" in other.stderr
    assert "already" not in other.stderr  # another reading of a file is another run
    assert "already" in run(*words).stderr
    bad = run(*words, "--position-interpolation", "cubic")
    assert bad.exit_code == 2
    assert "known: bilinear, bicubic" in bad.stderr or "cubic" in bad.stderr
