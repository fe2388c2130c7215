"""``fgbench export-model``: the file that people deploy, with labels and preprocessing."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

import fgbench
from fgbench.cli import app
from fgbench.datasets.dataset import HALF, decode
from fgbench.datasets.transforms import centre_transform
from fgbench.results.recipe import resized_side

SIZE, NAMES = 64, [f"kind {number}" for number in range(4)]
PAGE = Path(__file__).parents[2] / "docs" / "engines.md"
SMALL = ("--backbone", "test_vit", "--sizes", str(SIZE))


def run(*words: str):
    return CliRunner().invoke(app, ["export-model", *map(str, words)])


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    torch.manual_seed(3)
    model = fgbench.create_model("ffvt", "test_vit", img_size=SIZE, num_classes=len(NAMES))
    path = tmp_path_factory.mktemp("weights") / "ffvt.safetensors"
    fgbench.save_checkpoint(model, path, dataset="synthetic", class_names=json.dumps(NAMES))
    return path, model.eval()


def preprocessed(image: Image.Image, how: dict) -> np.ndarray:
    """As somebody reads the metadata who does not have fgbench."""
    resized = image.convert(how["colours"]).resize(how["resize"][::-1], Image.Resampling.BICUBIC)
    height, width = how["centre_crop"]
    top, left = (round((side - size) / 2) for side, size in zip(how["resize"], (height, width), strict=True))
    pixels = np.asarray(resized)[top : top + height, left : left + width] * how["scale"]
    return ((pixels - how["mean"]) / how["std"]).transpose(2, 0, 1)[None].astype(np.float32)


def test_the_file_of_a_checkpoint_classifies_as_the_model_does(checkpoint, tmp_path):
    path, model = checkpoint
    result = run("ffvt", *SMALL, "--checkpoint", path, "--output", tmp_path / "ffvt.onnx")
    assert result.exit_code == 0, result.stderr
    assert "4 labels; logits differ by" in result.stderr
    about = {entry.key: entry.value for entry in onnx.load(tmp_path / "ffvt.onnx").metadata_props}
    assert json.loads(about["labels"]) == NAMES
    assert (about["model"], about["selector"], about["backbone"]) == ("ffvt", "maws", "test_vit")
    assert about["weights"].startswith("ffvt.safetensors, sha256 ")
    how = json.loads(about["preprocessing"])
    noise = np.random.default_rng(0).integers(0, 256, (50, 70, 3), dtype=np.uint8)
    image = Image.fromarray(noise).resize((90, 60))
    ours = centre_transform(resized_side(SIZE), SIZE, HALF, HALF)(image)
    given = preprocessed(image, how)
    assert np.abs(given[0] - ours.numpy()).max() < 0.03
    session = onnxruntime.InferenceSession(str(tmp_path / "ffvt.onnx"), providers=["CPUExecutionProvider"])
    logits, selected = session.run(["logits", "selected"], {"images": ours[None].numpy().repeat(3, axis=0)})
    with torch.inference_mode():
        truth = model.flow(ours[None])
    assert np.abs(logits - truth.logits.numpy()).max() < 1e-5
    assert (selected == truth.selected.numpy()).all()
    assert list(tmp_path.iterdir()) == [tmp_path / "ffvt.onnx"]


FILE = """
import torch
from torch import nn

def tiny(num_classes=10):
    pooled = nn.AdaptiveAvgPool2d(1)
    return nn.Sequential(nn.Conv2d(3, 4, 3, 2), pooled, nn.Flatten(), nn.Linear(4, num_classes))

class Bessel(nn.Module):
    def forward(self, images):
        return torch.special.bessel_j0(images.mean(dim=(2, 3)))

def bad():
    return Bessel()

class Breaks(nn.Module):
    def forward(self, images):
        raise ValueError("of images that it does not like")

def breaks():
    return Breaks()
"""


@pytest.fixture
def net(tmp_path):
    (tmp_path / "net.py").write_text(FILE, encoding="utf-8")
    (tmp_path / "names.txt").write_text("a\nb\n\nc\n", encoding="utf-8")
    return tmp_path


def test_the_program_of_the_page_classifies_a_picture_as_the_model_does(checkpoint, tmp_path, monkeypatch, capsys):
    path, model = checkpoint
    monkeypatch.chdir(tmp_path)
    assert run("ffvt", *SMALL, "--checkpoint", path, "--output", "glsim.onnx").exit_code == 0
    Image.fromarray(np.random.default_rng(1).integers(0, 256, (60, 90, 3), dtype=np.uint8)).save("bird.jpg")
    names: dict = {}
    exec(re.search(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL).group(1), names)
    ours = centre_transform(resized_side(SIZE), SIZE, HALF, HALF)(decode(Path("bird.jpg")))[None]
    np.testing.assert_allclose(names["images"], ours.numpy(), atol=1e-5)
    with torch.inference_mode():
        np.testing.assert_allclose(names["logits"], model(ours).numpy(), atol=1e-4)
    assert capsys.readouterr().out == f"{NAMES[names['best']]}\n"


def test_a_function_with_labels_of_its_own(net):
    words = ("--num-classes", "3", "--sizes", "32", "--labels", net / "names.txt", "--output", net / "o.onnx")
    result = run(f"{net / 'net.py'}:tiny", *words)
    assert result.exit_code == 0, result.stderr
    about = {entry.key: entry.value for entry in onnx.load(net / "o.onnx").metadata_props}
    assert json.loads(about["labels"]) == ["a", "b", "c"]
    assert about["weights"] == f"those that {net / 'net.py'}:tiny returns"
    assert re.search(r"wrote .*o\.onnx: [1-9]\d* kB, opset", result.stderr)


def test_a_function_s_preprocessing_is_said_to_be_a_default(net):
    words = ("--num-classes", "3", "--sizes", "32", "--output", net / "o.onnx")
    result = run(f"{net / 'net.py'}:tiny", *words)
    note = noted(net / "o.onnx")
    assert note.startswith("the preprocessing is a default, as a function does not say its own: mean and deviation of ")
    assert f"fgbench: {note}; the file's metadata say so" in result.stderr
    assert run(f"{net / 'net.py'}:tiny", *words, "--norm", "half").exit_code == 0
    assert "mean and deviation" not in noted(net / "o.onnx")
    assert "resize and crop" in noted(net / "o.onnx")


def test_preprocessing_that_is_known_has_no_note(net):
    model = fgbench.create_model(f"{net / 'net.py'}:tiny", img_size=32, num_classes=3)
    fgbench.save_checkpoint(model, net / "tiny.safetensors", dataset="synthetic")
    words = ("--num-classes", "3", "--sizes", "32", "--output", net / "o.onnx")
    result = run(f"{net / 'net.py'}:tiny", *words, "--checkpoint", net / "tiny.safetensors")
    assert result.exit_code == 0, result.stderr
    assert noted(net / "o.onnx") is None
    assert result.stderr.count("\n") == 1
    assert run("vit", *SMALL, "--output", net / "v.onnx").exit_code == 0
    assert noted(net / "v.onnx") is None


def noted(path) -> str | None:
    """What the metadata of a file say of its preprocessing."""
    about = {entry.key: entry.value for entry in onnx.load(path).metadata_props}
    return about.get("preprocessing_note")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("vitt",), "did you mean"),
        (("net.py:bad", "--sizes", "32", "--output", "o.onnx"), "bessel_j0"),
        (("net.py:breaks", "--sizes", "32", "--output", "o.onnx"), "ValueError: of images that it does not like"),
        (("net.py:tiny", "--labels", "names.txt", "--output", "o.onnx"), "has 3 labels"),
        (
            ("net.py:tiny", "--labels", "none.txt", "--output", "o.onnx"),
            "cannot read the labels in 'none.txt'; No such file or directory; give",
        ),
        (("net.py:tiny", "--output", "model.pt"), "end in .onnx"),
        (("net.py:tiny", "--output", "nowhere/o.onnx"), "nowhere"),
        (("vit", *SMALL, "--checkpoint", "none.pth"), "no checkpoint file"),
        (("vit", *SMALL, "--weights", "ema"), "--checkpoint FILE"),
        (("vit", *SMALL, "--selector", "gls"), "selector"),
    ],
)
def test_bad_input_is_one_line_and_leaves_no_file(words, said, net, monkeypatch):
    monkeypatch.chdir(net)
    result = run(*words)
    assert result.exit_code == 2
    assert said in result.stderr
    assert result.stderr.strip().count("\n") == 0
    assert not list(net.glob("*.onnx"))


NETS = """
import torch
from torch import nn

def ten():
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 10))

def scripted():
    return torch.jit.script(ten())

def traced():
    return torch.jit.trace(ten(), torch.zeros(2, 3, 32, 32))

class Random(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = ten()

    def forward(self, images):
        return self.net(images) * torch.rand_like(images[:, :1, 0, 0])
"""


def test_labels_are_as_many_as_the_logits_that_a_network_gives(tmp_path):
    (tmp_path / "nets.py").write_text(NETS)
    words = (f"{tmp_path / 'nets.py'}:ten", "--sizes", "32", "--output", tmp_path / "ten.onnx")
    for count in (10, 200):
        (tmp_path / f"{count}.txt").write_text("\n".join(f"kind {number}" for number in range(count)))
    result = run(*words, "--labels", tmp_path / "10.txt")
    assert result.exit_code == 0, result.stderr
    assert "10 labels" in result.stderr
    result = run(*words, "--labels", tmp_path / "200.txt")
    assert result.exit_code == 2
    assert "200.txt has 200 labels, and the model has this number of classes: 10" in result.stderr


@pytest.mark.filterwarnings("ignore")  # torch's scripts are deprecated
@pytest.mark.parametrize("function", ["scripted", "traced"])
def test_scripted_and_traced_networks_are_said_to_be_so(tmp_path, function):
    (tmp_path / "nets.py").write_text(NETS)
    result = run(f"{tmp_path / 'nets.py'}:{function}", "--sizes", "32", "--output", tmp_path / "net.onnx")
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
    assert "fgbench: a scripted or traced network cannot be exported" in result.stderr
    assert "return the nn.Module that it was made from" in result.stderr


def test_a_network_that_draws_random_numbers_is_to_be_audited(tmp_path):
    (tmp_path / "nets.py").write_text(NETS)
    result = run(f"{tmp_path / 'nets.py'}:Random", "--sizes", "32", "--output", tmp_path / "net.onnx")
    assert result.exit_code == 2
    assert "the exported file computes something else" in result.stderr
    assert "'fgbench audit NAME' tells whether the network itself gives an image one answer" in result.stderr
