"""Messages of ``fgbench visualize`` about bad input."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from helpers.small_pictures import SMALL, run, saved

from fgbench.explain import run as explain_run
from fgbench.models import backbone
from fgbench.models.build import create_model
from fgbench.models.checkpoints.load import save_checkpoint

BAD = [
    ("nowhere.png", "no such picture: 'nowhere.png'"),
    (".", "a folder is no picture: '.'; name its files, such as ./*.jpg"),
    ("text.png", "not a picture that Pillow reads: 'text.png'"),
    ("empty.png", "not a picture that Pillow reads: 'empty.png'"),
]
BAD_OPTIONS = [
    ("--selectors pms", "unknown selector 'pms'; did you mean psm"),
    ("--selectors ,", "no selector was given"),
    ("--selectors gls b.jpg", "a file was named as a selector: 'b.jpg'; pictures come before the options"),
    ("--model glsin", "unknown model 'glsin'; did you mean glsim"),
    ("--model tpskg", "cannot be reproduced yet"),
    ("--backbone vit_bas_patch16_224", "unknown backbone 'vit_bas_patch16_224'; did you mean vit_base_patch16"),
    ("--backbone resnet18", "no plain vision transformer: 'resnet18'"),
    ("--model glsim --backbone fgtest_vit_gap", "no class token to classify by: 'fgtest_vit_gap'"),
    ("--backbone fgtest_vit_gap --model-options top_k=3", "has no option 'top_k'"),
    ("--model-options top_k=3", "model 'vit' has no option 'top_k'"),
    ("--model-options top_k", "--model-options takes KEY=VALUE"),
    ("--size 8", "image size 8 is smaller than the 16-pixel patch"),
    ("--size big", "image size must be a whole number, got 'big'"),
    ("--size 99999", "image size must be at most 16384"),
    ("--top-k 0", "top-k must be at least 1"),
    ("--top-k 500", "--top-k must be at most 36"),
    ("--rule widest", "unknown rule 'widest'"),
    ("--view left", "unknown view 'left'"),
    ("--norm none", "unknown norm 'none'"),
    ("--impl quick", "unknown impl 'quick'"),
    ("--style cold", "unknown style 'cold'"),
    ("--cmap jet", "unknown colour map 'jet'"),
    ("--alpha 2", "alpha must lie between 0 and 1"),
    ("--dpi 5", "dpi must be at least 30"),
    ("--seed -1", "seed must be at least 0"),
    ("--device tpu", "unknown device 'tpu'"),
    ("--format table", "unknown format 'table'"),
    ("--output x.gif", "no format is known for the suffix '.gif'"),
    ("--output nowhere/x.png", "there is no folder 'nowhere'"),
    ("--output nowhere/out/", "there is no folder"),
    ("--output . --format json", "it is a folder"),
    ("--checkpoint nowhere.pth", "no checkpoint file 'nowhere.pth'"),
    ("--checkpoint text.png", "the checkpoint"),
    ("--checkpoint cal.safetensors", "are of no known format in 'cal.safetensors'"),
    ("--checkpoint wide.safetensors", "shapes do not fit"),
    ("--checkpoint cal.safetensors --model vit glsim", "one checkpoint cannot be that of 2 models"),
    ("--checkpoint cal.safetensors --pretrained", "--pretrained and --checkpoint are both weights"),
    ("--position-interpolation bicubic", "say which with --checkpoint FILE"),
    ("--plugin nowhere.py", "no plug-in file 'nowhere.py'"),
]


@pytest.fixture(scope="module")
def bad_folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("bad")
    saved(folder, "a.png")
    saved(folder, "b.jpg")
    (folder / "text.png").write_text("no picture")
    (folder / "empty.png").write_bytes(b"")
    save_checkpoint(create_model("cal", "resnet18", img_size=64), folder / "cal.safetensors")
    save_checkpoint(create_model("vit", "fgtest_vit_reg4", img_size=98), folder / "wide.safetensors")
    return folder


@pytest.mark.parametrize(("words", "message"), [*BAD, *((f"a.png {words}", says) for words, says in BAD_OPTIONS)])
def test_bad_input_is_a_clear_line_and_exit_code_2_and_leaves_no_file(words, message, bad_folder, monkeypatch):
    monkeypatch.chdir(bad_folder)
    before = sorted(bad_folder.iterdir())
    small = [word for pair in (("--backbone", "test_vit"), ("--size", "96")) if pair[0] not in words for word in pair]
    result = run(*words.split(), *small)
    assert result.exit_code == 2
    assert message in result.stderr
    assert all(line.startswith("fgbench: ") and len(line) < 1500 for line in result.stderr.splitlines())
    assert "internal error" not in result.stderr
    assert (result.stdout, sorted(bad_folder.iterdir())) == ("", before)


def test_pretrained_weights_that_cannot_be_had_are_said_to_be(here, monkeypatch):
    create = backbone.timm.create_model

    def offline(name, *, pretrained=False, **options):
        if pretrained:
            raise OSError("no route to host")
        return create(name, **options)

    monkeypatch.setattr(backbone.timm, "create_model", offline)
    result = run("a.png", *SMALL, "--pretrained")
    assert result.exit_code == 3
    assert "no pretrained weights for 'test_vit': no route to host; leave --pretrained out" in result.stderr
    assert not Path("visualize.png").exists()


def test_a_device_that_is_not_there_is_refused(here, monkeypatch):
    monkeypatch.setattr(explain_run.torch.cuda, "is_available", lambda: False)
    result = run("a.png", *SMALL, "--device", "cuda")
    assert (result.exit_code, "no CUDA device is there" in result.stderr) == (2, True)


def test_more_pictures_than_a_sheet_has_room_for_ask_for_a_folder(here):
    names = [f"{index}.png" for index in range(101)]
    result = run(*names, *SMALL)
    assert (result.exit_code, "name a folder: --output DIR/" in result.stderr) == (2, True)


def test_which_of_two_sets_of_weights_is_seen_through_is_said_and_can_be_chosen(here):
    model = create_model("vit", "test_vit", img_size=96, num_classes=3)
    raw = model.state_dict()
    torch.save({"model": raw, "model_ema": {name: tensor + 1 for name, tensor in raw.items()}}, "two.pth")
    words = ["a.png", *SMALL, "--selectors", "attention", "--checkpoint", "two.pth", "--format", "json"]
    results = [run(*words, *more) for more in ([], ["--weights", "ema"])]
    assert [result.exit_code for result in results] == [0, 0]
    for result, key in zip(results, ("model", "model_ema"), strict=True):
        assert f"two.pth: the weights under {key!r} are read, not those under " in result.stderr
        assert f"two.pth ({key})" in result.stdout
    refused = run(*words, "--weights", "teacher")
    assert (refused.exit_code, "no set of weights is called 'teacher'" in refused.stderr) == (2, True)
    lonely = run("a.png", *SMALL, "--weights", "ema")
    assert (lonely.exit_code, "--weights chooses what is read of a file" in lonely.stderr) == (2, True)
