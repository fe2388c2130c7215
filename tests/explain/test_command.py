"""``fgbench visualize`` as it is typed."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest
from helpers.small_pictures import BRIGHTNESS, SMALL, rows_of, run, saved, scene
from PIL import Image

from fgbench.cli import errors
from fgbench.cli.commands.visualize_result import file_names
from fgbench.explain import run as explain_run
from fgbench.models.build import create_model, models
from fgbench.models.checkpoints.load import save_checkpoint
from fgbench_selectors import selectors

FIELDS = (
    "image height width orientation model backbone weights selector impl image_size view top_k rule seen_box grid "
    "scores equal best_patch best_box boxes upright_boxes boxes_are prediction reason"
).split()
OF_PATCHES = ("transfg", "ffvt", "dcal", "ielt", "r2trans", "simtrans", "aatrans", "accvit", "falvit")
OF_PATCHES += ("pim", "herbs", "mpsa", "vitnet")


def caption_of(svg: Path) -> str:
    root = ElementTree.parse(svg).getroot()
    return next(node.text or "" for node in root.iter() if node.tag.endswith("description"))


def test_without_options_every_selector_is_drawn_into_one_picture_that_shouts_about_random_weights(here):
    result = run("a.png", "b.jpg", *SMALL)
    assert (result.exit_code, result.stdout, result.stderr) == (0, "", "fgbench: wrote visualize.png\n")
    with Image.open("visualize.png") as image:
        about = image.info["Description"]
        assert image.width > 7 * 200
    assert about.startswith("RANDOM WEIGHTS")
    assert "vit on test_vit, weights: random, seed 0." in about
    assert "sacm is a selector that learns, and has learned nothing here" in about
    assert "96 × 96 pixels from the centre of the picture resized to 128 × 128" in about


def test_rows_have_their_fields_and_every_selector_its_own_map(here):
    rows = rows_of("a.png", "b.jpg", *SMALL)
    assert [list(row) for row in rows] == [[*FIELDS, "kind", "schema_version"]] * len(rows)
    assert [(row["image"], row["selector"]) for row in rows] == [
        (name, selector) for name in ("a.png", "b.jpg") for selector in selectors.names()
    ]
    assert {row["reason"] for row in rows} == {None}
    assert {row["prediction"] for row in rows} == {None}, "random weights predict nothing"
    assert [rows[0][name] for name in ("height", "width", "grid", "top_k", "rule")] == [90, 120, [6, 6], 3, "enclosing"]
    assert len({json.dumps(row["scores"]) for row in rows}) == len(rows)
    for row in rows:
        flat = [score for line in row["scores"] for score in line]
        y, x = row["best_patch"]
        assert row["scores"][y][x] == max(flat)
        assert row["boxes"][0][0] <= row["best_box"][0]


def test_published_and_fast_see_the_same(here):
    fast, published = (rows_of("a.png", *SMALL, "--impl", impl) for impl in ("fast", "published"))
    defined = 0
    for one, other in zip(fast, published, strict=True):
        assert other["impl"] == "published"
        ordered = sorted((score for line in other["scores"] for score in line), reverse=True)
        if ordered[other["top_k"] - 1] - ordered[other["top_k"]] > 2e-4 * ordered[0]:  # else rounding may choose
            assert one["boxes"] == other["boxes"]
            defined += 1
        for mine, theirs in zip(one["scores"], other["scores"], strict=True):
            assert mine == pytest.approx(theirs, rel=1e-4)
    assert defined > len(fast) / 2


def test_seeds_draw_other_weights_and_the_same_seed_the_same(here):
    first, again, other = (rows_of("a.png", *SMALL, "--selectors", "gls", "--seed", seed) for seed in (1, 1, 2))
    assert first == again
    assert first[0]["scores"] != other[0]["scores"]


def test_lists_are_taken_in_every_habit(here):
    for typed in (["--selectors", "psm", "gls"], ["--selectors", "psm,gls"], ["--selectors=psm", "--selectors=gls"]):
        assert [row["selector"] for row in rows_of("a.png", *SMALL, *typed)] == ["psm", "gls"]


@pytest.mark.parametrize(("name", "starts"), [("x.svg", b"<?xml"), ("x.pdf", b"%PDF"), ("x.png", b"\x89PNG")])
def test_a_file_gets_the_format_of_its_suffix_and_replaces_an_older_one(name, starts, here):
    (here / name).write_text("old")
    (here / name).chmod(0o640)
    result = run("a.png", *SMALL, "--selectors", "gls", "--output", name)
    assert (result.exit_code, result.stdout) == (0, "")
    assert (here / name).read_bytes().startswith(starts)
    assert (here / name).stat().st_mode & 0o777 == 0o640
    again = run("a.png", *SMALL, "--selectors", "gls", "--output", "again", "--format", name[2:])
    assert again.exit_code == 0
    assert (here / "again").read_bytes() == (here / name).read_bytes(), "the same picture is the same file"


def test_standard_output_takes_a_picture_too(here):
    result = run("a.png", *SMALL, "--selectors", "gls", "--output", "-")
    assert result.exit_code == 0
    with Image.open(io.BytesIO(result.stdout_bytes)) as image:
        assert image.format == "PNG"


def test_a_folder_gets_a_file_per_picture(here):
    (here / "sub").mkdir()
    saved(here / "sub", "a.png", scene(seed=3))
    result = run("a.png", "b.jpg", "sub/a.png", *SMALL, "--selectors", "gls", "--output", "out/", "--format", "svg")
    assert result.exit_code == 0
    assert sorted(path.name for path in (here / "out").iterdir()) == ["a-2.svg", "a.svg", "b.svg"]
    assert run("a.png", *SMALL, "--selectors", "gls", "-o", "out").exit_code == 0
    assert (here / "out" / "a.png").is_file()


def test_file_names_are_plain_and_no_two_are_the_same():
    paths = [
        "x/Bird.png",
        "y/bird.jpg",
        "a b\n$c.png",
        "..png",
        "漢字.png",
        "bird-2.png",
        "\udcff.gif",
        "w" * 300 + ".png",
    ]
    found = file_names(paths)
    assert len({name.lower() for name in found}) == len(paths)
    assert all(re.fullmatch(r"[A-Za-z0-9_-][\w.-]{0,110}", name) for name in found)


def test_selectors_that_do_not_fit_a_backbone_are_in_the_caption_with_the_reason(here):
    words = ["--size", "112", "--backbones", "fgtest_vit_gap", "fgtest_vit_reg4"]
    result = run("a.png", *words, "--output", "x.svg")
    assert result.exit_code == 0
    assert "left out: selector 'maws': MAWS reads the class token's row" in result.stderr
    caption = caption_of(here / "x.svg")
    assert (
        "vit on fgtest_vit_gap: Left out: attention, attention_sum, maws, mhv, psm, rollout, sacm "
        "(reads the class token's row, and the backbone has no class token)."
    ) in caption
    rows = rows_of_left(words)
    kept = [(row["backbone"], row["selector"]) for row in rows if row["reason"] is None]
    fitting = [name for name in selectors.names() if not selectors.load(name).needs.class_token]
    assert {"gls", "column_mass", "column_entropy", "confidence"} == set(fitting)
    every = [("fgtest_vit_reg4", name) for name in selectors.names()]
    assert kept == [*(("fgtest_vit_gap", name) for name in fitting), *every]
    assert rows[0]["scores"] is None
    assert "no class token" in rows[0]["reason"]
    assert {tuple(row["grid"]) for row in rows if row["grid"]} == {(7, 7), (8, 8)}


def rows_of_left(words):
    result = run("a.png", *words, "--format", "json")
    assert result.exit_code == 0
    return json.loads(result.stdout)


def test_patches_of_a_backbone_without_a_class_token_are_compared_with_their_mean(here):
    """The same as timm's own tokens say, registers left out."""
    import timm
    import torch
    from torch.nn import functional

    from fgbench.datasets.dataset import IMAGENET_MEAN, IMAGENET_STD
    from fgbench.explain.boxes import input_geometry
    from fgbench.explain.picture import read_picture

    (row,) = rows_of("a.png", "--size", "96", "--backbone", "fgtest_vit_gap", "--selectors", "gls")
    torch.manual_seed(0)
    model = timm.create_model("fgtest_vit_gap", img_size=96, num_classes=200).eval()
    geometry = input_geometry((90, 120), 96, "centre")
    with torch.no_grad():
        pixels = read_picture("a.png").network_input(geometry, IMAGENET_MEAN, IMAGENET_STD)
        tokens = model.fc_norm(model.forward_features(pixels))[0, 1:]
    expected = functional.cosine_similarity(tokens, tokens.mean(dim=0), dim=-1)
    assert [score for line in row["scores"] for score in line] == pytest.approx(expected.tolist(), abs=1e-5)


def test_a_selector_of_ones_own_is_a_column_and_a_broken_one_takes_nobody_down(here, brightness):
    Path("broken.py").write_text(BRIGHTNESS.replace("Brightness", "Broken").replace("return", "raise KeyError('x') or"))
    result = run("a.png", *SMALL, "--plugin", brightness, "broken.py", "-o", "x.svg")
    assert result.exit_code == 2
    assert "plug-in 'broken' from broken.py is broken: KeyError: 'x'" in result.stderr
    assert "Left out: broken (KeyError: 'x')." in caption_of(here / "x.svg")
    Path("none.py").write_text("import nothing_of_that_name")
    result = run("a.png", *SMALL, "--plugin", "none.py", "--selectors", "none")
    assert result.exit_code == 2
    assert "ModuleNotFoundError" in result.stderr.splitlines()[0]
    assert "unknown selector 'none'" in result.stderr.splitlines()[1]


def test_scores_that_are_all_alike_are_said_to_be(here):
    Path("same.py").write_text(BRIGHTNESS.replace("Brightness", "Same").replace(":, 0]", ":, 0] * 0 + 5"))
    result = run("a.png", *SMALL, "--plugin", "same.py", "--selectors", "same", "-o", "x.svg")
    assert result.exit_code == 0
    assert "same scores all patches alike, and selects nothing, in a.png." in caption_of(here / "x.svg")
    (row,) = rows_of("a.png", *SMALL, "--plugin", "same.py", "--selectors", "same")
    assert (row["equal"], row["boxes"], row["best_patch"]) == (True, [], [0, 0])


@pytest.mark.parametrize("name", [name for name in models.names() if name != "vit"])
def test_every_model_shows_its_own_selection(name, here):
    others = {"resnet101": "resnet18", "cal": "resnet18", "vitnet": "swin_tiny_patch4_window7_224"}
    words = ["--size", "64", "--model", name, "--backbone", others.get(name, "test_vit")]
    result = run("a.png", *words, "--format", "json")
    if name == "resnet101":
        assert result.exit_code == 2
        assert "resnet101's own selection: it selects nothing" in result.stderr
        return
    (row,) = json.loads(result.stdout)
    assert (row["selector"], row["model"], row["equal"]) == ("own", name, False)
    assert row["boxes"] or name in ("ffvt", "mpsa")
    assert row["boxes_are"] == ("patches" if name in OF_PATCHES else "crops")
    for y0, x0, y1, x1 in row["boxes"]:
        seen = row["seen_box"]
        assert seen[0] <= y0 < y1 <= seen[2]
        assert seen[1] <= x0 < x1 <= seen[3]


def test_models_selectors_and_crops_stand_beside_one_another(here):
    words = ["--model", "glsim", "cal", "--backbones", "test_vit", "resnet18", "--size", "64", "--selectors", "psm"]
    result = run("a.png", "b.jpg", *words, "-o", "x.svg")
    assert result.exit_code == 0
    assert "left out: glsim on resnet18" in result.stderr
    caption = caption_of(here / "x.svg")
    assert "Own boxes of glsim, cal: the crops looked at again." in caption
    assert "cal on resnet18: Left out: psm (model 'cal' has no tokens for selectors to read)." in caption
    for style in ("heat", "crops"):
        assert run("a.png", *words, "-o", "y.png", "--style", style, "--dpi", "60").exit_code == 0


def test_a_trained_model_predicts_and_one_that_is_not_whole_does_not(here, bright):
    rows = rows_of("a.png", *SMALL, "--checkpoint", bright, "--selectors", "gls")
    assert rows[0]["prediction"]["class"] == 3
    assert rows[0]["prediction"]["probability"] == pytest.approx(0.6488, abs=1e-3)  # e² / (4 + e²): its biases
    assert rows[0]["weights"] == "bright.safetensors"
    result = run("a.png", *SMALL, "--checkpoint", bright, "--model", "glsim", "--selectors", "psm", "-o", "x.svg")
    assert result.exit_code == 0
    caption = caption_of(here / "x.svg")
    assert "RANDOM" not in caption
    assert "The file is that of a ViT; only what both have was loaded." in caption
    assert "weights are not in the file and were not learned: aggregator" in caption
    assert "Below a picture" not in caption


def test_class_counts_and_colours_follow_the_file(here, monkeypatch):
    seen = []
    explain = explain_run.Explainer.explain
    monkeypatch.setattr(
        explain_run.Explainer, "explain", lambda self, picture: (seen.append(self.loaded), explain(self, picture))[1]
    )
    model = create_model("vit", "test_vit", img_size=96, num_classes=7)
    save_checkpoint(model, "seven.safetensors", dataset="synthetic")
    for words in ([], ["--norm", "imagenet"]):
        rows_of("a.png", *SMALL, "--checkpoint", "seven.safetensors", "--selectors", "gls", *words)
    assert [loaded.model.num_classes for loaded in seen] == [7, 7]
    assert [loaded.mean[0] for loaded in seen] == [0.5, 0.485]


def test_a_broken_picture_is_left_out_and_the_rest_is_drawn(here):
    Path("broken.png").write_bytes(Path("a.png").read_bytes()[:100])
    result = run("broken.png", "a.png", "nowhere.png", *SMALL, "--selectors", "gls", "-o", "x.svg")
    assert result.exit_code == 2
    broken, missing, wrote = result.stderr.splitlines()
    assert "the picture cannot be read" in broken
    assert "no such picture: 'nowhere.png'" in missing
    assert wrote == "fgbench: wrote x.svg"


def test_ctrl_c_keeps_what_was_looked_at(here, monkeypatch):
    reads = []
    read = explain_run.read_picture

    def interrupted(path):
        reads.append(path)
        if len(reads) == 2:
            raise KeyboardInterrupt
        return read(path)

    monkeypatch.setattr(explain_run, "read_picture", interrupted)
    monkeypatch.setattr(errors.signal, "signal", lambda *_: None)
    result = run("a.png", "b.jpg", *SMALL, "--selectors", "gls", "-o", "x.png")
    assert result.exit_code == 130
    assert "interrupted; 1 of 2 pictures were looked at and kept" in result.stderr
    assert Path("x.png").is_file()
    reads[:] = ["one"]
    result = run("a.png", *SMALL, "--selectors", "gls", "-o", "y.png")
    assert (result.exit_code, Path("y.png").exists()) == (130, False)


HOSTILE = [
    "<b>&amp;.png",
    "$x^2$.png",
    "=1+1.png",
    "line\nbreak.png",
    "esc\x1b[31m.png",
    b"\xff.png".decode("utf8", "surrogateescape"),
]


def test_files_may_be_called_anything(here):
    for index, name in enumerate(HOSTILE):
        saved(here, name, scene(seed=index), format="PNG")
    for target in ("x.svg", "x.pdf", "x.png", "out/"):
        result = run(*HOSTILE, *SMALL, "--selectors", "gls", "--dpi", 40, "-o", target)
        assert result.exit_code == 0, result.stderr
    ElementTree.parse(here / "x.svg")
    assert len(list((here / "out").iterdir())) == len(HOSTILE)
    assert [row["image"] for row in rows_of(*HOSTILE, *SMALL, "--selectors", "gls")] == HOSTILE
