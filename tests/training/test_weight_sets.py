"""``fgbench accuracy`` on a file with two sets of weights, and on files that are none."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from fgbench.cli import app
from fgbench.models.build import create_model
from fgbench.results.store import Store
from fgbench.training.initial_weights import load_initial_weights
from fgbench.training.request import AccuracyRequest

DATA = ["--dataset-options", "classes=3", "train_images=9", "test_images=9", "side=32"]
SMALL = ["--model", "vit", "--backbone", "test_vit", "--sizes", "32", "--device", "cpu", "--threads", "1", *DATA]


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.delenv("FGBENCH_STORE", raising=False)
    monkeypatch.chdir(tmp_path)
    return lambda *words: CliRunner().invoke(app, ["accuracy", *SMALL, *words])


@pytest.fixture
def two_sets(tmp_path):
    """Two readings of one network that always take a picture for class 0 and for class 1."""
    model = create_model("vit", "test_vit", img_size=32, num_classes=3)
    sets = []
    for favourite, shift in ((0, 0.0), (1, 50.0)):
        weights = {name: tensor.clone() for name, tensor in model.state_dict().items()}
        weights["head.weight"].zero_()
        weights["head.bias"] = torch.eye(3)[favourite] * (1 + shift)
        sets.append(weights)
    raw, ema = sets
    torch.save({"model": raw, "model_ema": ema, "epoch": 3}, tmp_path / "two.pth")
    return tmp_path / "two.pth"


def row_of(result):
    assert result.exit_code == 0, result.stderr
    (row,) = json.loads(result.stdout)
    return row


def taken_for(result):
    """The class that all wrong pictures are taken for."""
    (name,) = {confusion["taken_for"] for confusion in row_of(result)["confusions"]}
    return name


def test_each_set_of_weights_has_a_result_of_its_own_that_says_which_it_is(run, two_sets, tmp_path):
    words = ["--checkpoint", "two.pth", "--test-only", "--format", "json", "--details"]
    results = {
        which: run(*words, *(["--weights", which] if which else [])) for which in ("", "raw", "ema", "model_ema")
    }
    named = {which: row_of(result)["weights"] for which, result in results.items()}
    assert named == {"": "model", "raw": "model", "ema": "model_ema", "model_ema": "model_ema"}
    classes = {which: taken_for(result) for which, result in results.items()}
    assert len(set(classes.values())) == 2
    assert classes[""] == classes["raw"] != classes["ema"] == classes["model_ema"]
    said = "two.pth: the weights under 'model' are read, not those under 'model_ema'; --weights chooses"
    assert said in results[""].stderr
    assert "the weights under 'model_ema' are read, not those under 'model'" in results["ema"].stderr
    # Nothing is taken from the store for another reading; the same one is.
    assert not any("in fgbench.db already" in result.stderr for result in results.values())
    again = run(*words, "--weights", "ema")
    assert "1 of 1 runs were in fgbench.db already" in again.stderr
    assert taken_for(again) == classes["ema"]
    with Store(tmp_path / "fgbench.db", read_only=True) as store:
        assert [row["weights"] for row in store.rows("accuracy")] == ["model", "model", "model_ema", "model_ema"]


def test_what_selectors_find_is_judged_on_the_weights_that_were_tested(run, two_sets, monkeypatch):
    from fgbench.training import evaluate_selectors

    loaded = []
    load = evaluate_selectors.load_checkpoint
    monkeypatch.setattr(
        evaluate_selectors,
        "load_checkpoint",
        lambda *args, **options: loaded.append(load(*args, **options)) or loaded[-1],
    )
    words = ["--checkpoint", "two.pth", "--test-only", "--quality", "--judged", "attention"]
    assert run(*words, "--weights", "ema").exit_code == 0
    assert [report.weights for report in loaded] == ["model_ema"]


def test_training_that_begins_from_a_chosen_set_says_so(tmp_path):
    path = tmp_path / "two.pth"
    assert AccuracyRequest(checkpoint=path, weights="ema").begun_from == "two.pth (ema)"
    assert AccuracyRequest(checkpoint=path).begun_from == "two.pth"
    assert AccuracyRequest(pretrained=True).begun_from == "pretrained"


def write_other(tmp_path):
    (tmp_path / "pointer.pth").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:1\nsize 3\n")
    (tmp_path / "page.safetensors").write_text("<!DOCTYPE html><html></html>")
    np.savez(tmp_path / "dates.npz", **{"embedding/kernel": np.array(["2020-01-01"], dtype="M8[D]")})
    itself = {}
    itself["model"] = itself
    torch.save(itself, tmp_path / "itself.pth")
    torch.save({"student": {"a": torch.ones(2)}, "teacher": {"a": torch.zeros(2)}}, tmp_path / "dino.pth")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--checkpoint", "pointer.pth"], "the checkpoint is a Git LFS pointer"),
        (["--checkpoint", "page.safetensors"], "the checkpoint is an HTML page"),
        (["--checkpoint", "/dev/zero"], "the checkpoint is a device"),
        (["--checkpoint", "dates.npz"], "embedding/kernel in the checkpoint is no weight but dates"),
        (["--checkpoint", "itself.pth"], "a dictionary in the checkpoint holds itself"),
        (["--checkpoint", "dino.pth"], "2 sets of weights, under 'student', 'teacher', are in the checkpoint"),
        (["--checkpoint", "dino.pth", "--weights", "tutor"], "no set of weights is called 'tutor'"),
        (["--weights", "ema"], "--weights chooses what is read of a file; say which with --checkpoint FILE"),
    ],
)
def test_a_file_that_cannot_be_read_is_one_line_and_exit_code_2(words, message, run, tmp_path):
    write_other(tmp_path)
    result = run(*words, *(["--test-only"] if "--checkpoint" in words else []))
    assert result.exit_code == 2, result.output
    (line,) = result.stderr.strip().splitlines()
    assert message in line
    assert result.stdout == ""


def test_training_begins_from_the_set_that_was_chosen(two_sets):
    dataset = type("Three", (), {"name": "three", "num_classes": 3})()
    for which, favourite in ((None, 0), ("raw", 0), ("ema", 1), ("model_ema", 1)):
        model = create_model("vit", "test_vit", img_size=32, num_classes=3)
        said = []
        load_initial_weights(model, two_sets, dataset, said.append, weights=which)
        assert int(model.head.bias.argmax()) == favourite
        (note,) = map(str, said)
        assert f"the weights under {'model_ema' if favourite else 'model'!r} are read" in note
