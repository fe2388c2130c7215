"""Models that break a promise are found, by the question that asks for it; the published ones keep all."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from fgbench.audit.questions import NAMES
from fgbench.cli import app

FILE = """
import torch
from torch import nn
from torch.nn import functional

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.head = nn.Conv2d(3, 8, 8, 8), nn.Linear(8, 5)

    def forward(self, images):
        return self.head(self.pooled(images))

    def pooled(self, images):
        return self.conv(images).relu().mean(dim=(2, 3))

class Dropping(Net):
    def pooled(self, images):
        return functional.dropout(super().pooled(images), 0.3)

class Leaning(Net):
    def pooled(self, images):
        x = super().pooled(images)
        return x - x.mean(dim=0)

class First(Net):
    def pooled(self, images):
        x = super().pooled(images)
        return x + x[:1]

class Kept(Net):
    def __init__(self):
        super().__init__()
        self.branches = nn.ModuleList(nn.Linear(8, 8) for _ in range(6))
        self.order = {name: place for place, name in enumerate({f"branch {i}" for i in range(6)})}

    def pooled(self, images):
        x = super().pooled(images)
        for index in range(6):
            x = x + (index + 1) * self.branches[self.order[f"branch {index}"]](x)
        return x

class Coarse(Net):
    def pooled(self, images):
        x = super().pooled(images)
        return x if x.dtype == torch.float32 else -x

def made(kind):
    def net():
        torch.manual_seed(0)
        return kind()
    return net

plain, dropping, leaning, first, kept, coarse = map(made, (Net, Dropping, Leaning, First, Kept, Coarse))
"""
RAISING = """
class Raising(Net):
    def pooled(self, images):
        raise ValueError("no images please")

raising = made(Raising)
"""
SMALL = ("--size", "64", "--pictures", "4", "--format", "json", "--device", "cpu")


def answers(*words: str) -> tuple[int, dict[str, dict], str]:
    result = CliRunner().invoke(app, ["audit", words[0], *SMALL, *words[1:]])
    rows = {row["question"]: row for row in json.loads(result.stdout)} if result.stdout else {}
    return result.exit_code, rows, result.stderr


@pytest.fixture
def net(tmp_path):
    (tmp_path / "net.py").write_text(FILE)
    return tmp_path / "net.py"


@pytest.mark.parametrize(
    ("function", "broken"),
    [
        ("plain", set()),
        ("leaning", {"batch"}),
        ("first", {"batch", "order"}),
        ("kept", {"process"}),
        ("coarse", {"half"}),
    ],
)
def test_what_breaks_a_promise_is_found_by_its_question_alone(net, function, broken):
    # Processes take seconds: they are asked where they could answer differently, and where nothing does.
    asked = [name for name in NAMES if name != "process" or function in ("plain", "kept")]
    code, rows, said = answers(f"{net}:{function}", *(() if asked == list(NAMES) else ("--questions", *asked)))
    assert list(rows) == asked
    assert {name for name, row in rows.items() if row["kept"] is False} == broken, rows
    assert code == bool(broken)
    assert rows["impl"]["kept"] is None
    for name in broken:
        assert rows[name]["reason"].startswith("logits differ by")
        assert name in said


def test_random_answers_are_told_from_those_that_depend_on_the_batch(net):
    """Random numbers are drawn anew where an image comes again, and are the same everywhere else."""
    code, rows, _ = answers(f"{net}:dropping", "--questions", "repeat", "process")
    assert (code, [row["kept"] for row in rows.values()]) == (1, [False, True])


@pytest.mark.parametrize(("others", "code"), [([], 2), (["plain"], 2), (["first"], 2)])
def test_a_model_that_raises_is_bad_input_whatever_the_others_do(net, others, code):
    net.write_text(FILE + RAISING)
    names = [f"{net}:{function}" for function in ("raising", *others)]
    result = CliRunner().invoke(app, ["audit", *names, *SMALL, "--questions", "order"])
    assert result.exit_code == code, result.stderr
    assert "no images please" in result.stderr
    assert ("promises that are not kept" in result.stderr) == ("first" in others)


@pytest.mark.parametrize("model", ["vit", "transfg", "ffvt", "glsim"])
def test_published_models_keep_their_promises(model):
    code, rows, _ = answers(model, "--backbones", "test_vit", "--questions", "repeat", "batch", "order", "impl")
    assert (code, [row["kept"] for row in rows.values()]) == (0, [True] * 3 + [None if model == "vit" else True]), rows
    if model == "glsim":
        assert rows["batch"]["equal_boxes_percent"] == 100


def test_new_predictors_of_dynamicvit_choose_the_same_patches_in_half_precision():
    words = ("--backbones", "test_vit", "--questions", "repeat", "batch", "half")
    result = CliRunner().invoke(app, ["audit", "vit+dynamicvit", *words, "--size", "160", "--format", "json"])
    assert [row["kept"] for row in json.loads(result.stdout)] == [True] * 3, result.stderr


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("vitt",), 2, "did you mean"),
        (("nowhere.py:net",), 2, "no file with a function"),
        (("vit", "--questions", "truth"), 2, "question"),
        (("vit", "glsim", "--checkpoint", "x.pth"), 2, "one checkpoint is that of one model alone"),
        (("vit", "--pictures", "1"), 2, "pictures"),
    ],
)
def test_bad_input_is_one_line(words, code, said):
    found, rows, stderr = answers(*words)
    assert (found, rows) == (code, {})
    assert said in stderr
    assert stderr.strip().count("\n") == 0


def test_answers_of_earlier_audits_stand_before_the_new_ones(net, tmp_path):
    words = [*SMALL, "--questions", "batch"]
    first, page = tmp_path / "first.json", tmp_path / "page.md"
    assert CliRunner().invoke(app, ["audit", f"{net}:first", *words, "-o", str(first)]).exit_code == 1
    page.write_text("<!-- begin audit -->\n<!-- end audit -->\n")
    options = ("--model-options", "readout=class_token", "--backbones", "test_vit", "--fill", str(page))
    result = CliRunner().invoke(app, ["audit", "vit", *words, "--rows", str(first), *options])
    assert result.exit_code == 0, "the broken promise is not a new one"
    assert [row["model"].rpartition(":")[2] for row in json.loads(result.stdout)] == ["first", "vit"]
    heading, _, *lines = [line for line in page.read_text().splitlines() if line.startswith("|")]
    assert heading.split("|")[2].strip() == "options"
    assert [(line.split("|")[2].strip(), line.split("|")[5].strip()) for line in lines] == [
        ("", "NO"),
        ("readout=class_token", "yes"),
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [("{}", "no array"), ("[", "cannot be read"), ('[{"kind": "flops"}]', "row 1"), ('[{"kind": "audit"}]', "missing")],
)
def test_a_file_of_other_rows_is_one_line(net, tmp_path, text, said):
    (tmp_path / "rows.json").write_text(text)
    code, rows, stderr = answers(f"{net}:plain", "--rows", str(tmp_path / "rows.json"))
    assert (code, rows) == (2, {})
    assert said in stderr
    assert stderr.count("\n") == 1


def test_a_table_has_a_line_per_model(net):
    result = CliRunner().invoke(app, ["audit", f"{net}:plain", f"{net}:first", *SMALL[:4], "--questions", "batch"])
    assert result.exit_code == 1
    assert "NO" in result.stdout
    assert "first, batch: logits differ by" in result.stdout
