"""``fgbench regress --baseline``, as it is typed: counted figures that changed, vanished or are new; every output."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from helpers.regress_command import edit, failing, findings, run
from timm.layers import set_fused_attn, use_fused_attn

from fgbench.cli.commands import regress_output
from fgbench.errors import FgbenchError

PLUGIN = """
import torch
from fgbench_selectors import Needs, Selector


class Mine(Selector):
    '''Similarity of every patch to their mean.'''

    name = "mine"
    needs = Needs(tokens=True)
    score_shape = ("batch", "patches")

    def published(self, features):
        x = features.tokens[:, features.num_prefix_tokens:]
        {more}
        return torch.nn.functional.cosine_similarity(x, x.mean(1, keepdim=True), dim=-1)

    fast = published
"""


def test_nothing_changed(baseline):
    result = run("--baseline", baseline)
    assert result.exit_code == 0, result.stderr
    assert result.stdout.splitlines()[-1] == "passed: 12 figures of 3 points are the same"
    found = findings("--baseline", baseline, code=0)
    assert {each["figure"] for each in found} == {"macs", "flops", "params", "activation_bytes"}
    assert all(each["before"] == each["after"] is not None for each in found)


def test_an_update_without_a_change_leaves_the_file_as_it_is(baseline):
    before = baseline.read_bytes()
    result = run("--baseline", baseline, "--update")
    assert (result.exit_code, baseline.read_bytes()) == (0, before)
    assert "baseline.json is written" in result.stderr


@pytest.mark.parametrize("figure", ["macs", "flops", "params", "activation_bytes"])
@pytest.mark.parametrize("other", [1, 10**12])
def test_a_figure_that_differs_fails_in_both_directions(baseline, figure, other):
    assert failing("--baseline", edit(baseline, **{figure: other})) == {("gls fast test_vit 64", figure, "changed")}


def test_an_update_shows_what_changes_and_takes_it_over(baseline):
    old = edit(baseline, macs=1)
    result = run("--baseline", old, "--update")
    assert result.exit_code == 0
    assert "changed" in result.stdout
    assert old.read_text() == baseline.read_text()
    assert run("--baseline", old).exit_code == 0


@pytest.mark.parametrize(
    "more", ["x = x + 0 * (x @ x.mT) @ x", "x = x + 0 * x @ x.new_zeros(x.shape[-1], x.shape[-1])"]
)
def test_an_extra_product_in_a_plug_in_is_found(more):
    Path("mine.py").write_text(PLUGIN.format(more=""))
    words = ("--baseline", "b.json", "--plugin", "mine.py")
    sizes = ("--selectors", "mine", "--models", "vit", "--backbones", "test_vit", "--sizes", "64", "96")
    assert run(*words, *sizes, "--update").exit_code == 0
    assert run(*words).exit_code == 0
    Path("mine.py").write_text(PLUGIN.format(more=more))
    found = failing(*words)
    for size in (64, 96):
        for impl in ("published", "fast"):
            assert (f"mine {impl} test_vit {size}", "macs", "changed") in found
    assert not [point for point, *_ in found if not point.startswith("mine ")]


def test_a_selector_that_is_gone_fails_and_a_new_one_is_listed(baseline):
    Path("gone.py").write_text(PLUGIN.format(more="").replace('"mine"', '"gone"'))
    words = ("--baseline", "b.json", "--plugin", "gone.py", "--selectors", "gls", "gone", "--models", "vit")
    assert run(*words, "--backbones", "test_vit", "--sizes", 64, "--update").exit_code == 0
    data = json.loads(Path("b.json").read_text())
    text = Path("b.json").read_text().replace('"gone"', '"other"')
    Path("b.json").write_text(text)
    assert len(data["points"]) == 6
    found = findings("--baseline", "b.json", code=1)
    assert {(each["point"], each["verdict"]) for each in found if each["verdict"] != "same"} == {
        ("other published test_vit 64", "vanished"),
        ("other fast test_vit 64", "vanished"),
    }
    assert "no selector of this name is registered" in next(e["reason"] for e in found if e["verdict"] == "vanished")
    everything = json.loads(baseline.read_text())
    everything["grid"]["selectors"] = None  # all that are registered
    baseline.write_text(json.dumps(everything))
    listed = {each["point"] for each in findings("--baseline", baseline, code=0) if each["verdict"] == "new"}
    assert "psm fast test_vit 64" in listed


def test_a_plug_in_that_breaks_is_named_and_its_points_have_vanished(baseline):
    Path("broken.py").write_text(PLUGIN.format(more="raise RuntimeError('not today')").replace('"mine"', '"broken"'))
    everything = json.loads(baseline.read_text())
    everything["grid"]["selectors"] = ["broken", "gls"]
    identity = {"model": None, "selector": "broken", "impl": "fast", "backbone": "test_vit", "image_size": 64}
    everything["points"].append({**identity, "macs": 0, "flops": 1, "params": 0, "activation_bytes": 1})
    baseline.write_text(json.dumps(everything))
    found = findings("--baseline", baseline, "--plugin", "broken.py", code=1)
    gone = [each for each in found if each["verdict"] == "vanished"]
    assert [each["point"] for each in gone] == ["broken fast test_vit 64"]
    assert "not today" in gone[0]["reason"]
    before = baseline.read_bytes()
    result = run("--baseline", baseline, "--plugin", "broken.py", "--update")
    assert (result.exit_code, baseline.read_bytes()) == (2, before)
    assert "was left as it was" in result.stderr


def test_a_plug_in_that_cannot_be_loaded_leaves_the_others_compared(baseline):
    Path("bad.py").write_text("import there_is_no_such_module")
    result = run("--baseline", baseline, "--plugin", "bad.py")
    assert result.exit_code == 2
    assert "12 figures of 3 points are the same" in result.stdout
    assert "there_is_no_such_module" in result.stderr


def test_options_narrow_what_is_compared(baseline):
    wrong = edit(baseline, macs=1)
    assert run("--baseline", wrong, "--selectors", "gls").exit_code == 1
    assert run("--baseline", wrong, "--models", "vit", "--selectors", "psm").exit_code == 0
    result = run("--baseline", wrong, "--sizes", "96")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "nothing of what was asked for is in 'edited.json'" in result.stderr


def test_the_environment_changes_no_figure(baseline):
    """TIMM_FUSED_ATTN=0 is read once, when timm is imported; this is what it sets."""
    set_fused_attn(False)
    try:
        assert run("--baseline", baseline).exit_code == 0
        assert not use_fused_attn()
    finally:
        set_fused_attn(True)


def test_a_backbone_that_is_gone_has_vanished(baseline):
    baseline.write_text(baseline.read_text().replace("test_vit", "vit_gone"))
    found = findings("--baseline", baseline, code=1)
    gone = {each["point"]: each["reason"] for each in found if each["verdict"] == "vanished"}
    assert set(gone) == {"vit_gone 64", "gls fast vit_gone 64"}
    assert all("no backbone of this name is known" in reason for reason in gone.values())


def test_an_update_that_narrows_says_what_it_leaves_out(baseline):
    result = run("--baseline", baseline, "--update", "--sizes", "96", "--markdown", "m.md")
    text = " ".join(result.stdout.split())
    assert result.exit_code == 0
    assert "was not counted: it is not among what is to be counted Compared" in text
    assert result.stdout.splitlines()[-1] == "updated: 3 vanished; 12 new; 0 figures are the same"
    assert "fail" not in text + Path("m.md").read_text()


def test_an_output_that_cannot_be_written_is_no_loss_of_the_verdict(baseline, monkeypatch):
    emit = regress_output.emit

    def full(text, path=None):
        if str(path) == "junit.xml":
            raise FgbenchError("cannot write to", "junit.xml", "No space left on device")
        emit(text, path)

    monkeypatch.setattr(regress_output, "emit", full)
    words = ("--junit", "junit.xml", "--smaller-is-better", "s.json")
    for file, code in ((baseline, 2), (edit(baseline, macs=1), 1)):
        result = run("--baseline", file, *words)
        assert (result.exit_code, bool(result.stdout)) == (code, True)
        assert "No space left on device" in result.stderr
        assert json.loads(Path("s.json").read_text())


def test_a_full_summary_is_left_as_it_is(baseline, monkeypatch):
    Path("summary.md").write_text("x" * (2**20 - 100))
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(Path("summary.md").absolute()))
    result = run("--baseline", baseline, "--markdown", "summary.md")
    assert (result.exit_code, Path("summary.md").stat().st_size) == (0, 2**20 - 100)
    assert "summary.md is full" in result.stderr


def test_what_was_counted_stands_where_nothing_can_be_measured(baseline):
    result = run("--baseline", edit(baseline, macs=1), "--base-python", "no/python")
    assert result.exit_code == 1
    assert "1 changed" in result.stdout
    assert "no Python executable 'no/python'" in result.stderr
    assert run("--baseline", baseline, "--base-python", "no/python").exit_code == 2


def test_versions_that_differ_are_said_where_figures_do(baseline):
    data = json.loads(edit(baseline, macs=1).read_text())
    data["counted_with"]["torch"] = "1.0"
    Path("old.json").write_text(json.dumps(data))
    assert "counted with other versions, which may be why: torch 1.0 → " in run("--baseline", "old.json").stdout


def test_every_output_is_written(baseline, monkeypatch):
    wrong = edit(baseline, macs=1)
    Path("summary.md").write_text("an earlier step\n")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(Path("summary.md").absolute()))
    files = ("--markdown", "summary.md", "--junit", "junit.xml", "--benchmark-json", "times.json")
    charts = ("--smaller-is-better", "smaller.json", "--bigger-is-better", "bigger.json", "--output", "rows.csv")
    result = run("--baseline", wrong, *files, *charts, "--annotations")
    assert result.exit_code == 1
    assert Path("summary.md").read_text().startswith("an earlier step\n# Regression check: failed")
    assert 'failures="1"' in Path("junit.xml").read_text()
    assert json.loads(Path("times.json").read_text())["benchmarks"] == []
    assert len(json.loads(Path("smaller.json").read_text())) == 12
    assert json.loads(Path("bigger.json").read_text()) == []
    assert "bigger.json is an empty list, which github-action-benchmark refuses" in result.stderr
    assert len(Path("rows.csv").read_text().splitlines()) == 13
    assert result.stdout.startswith("::error title=")
    assert "file=edited.json" in result.stdout
    assert run("--baseline", wrong, "--markdown", "own.md").exit_code == 1
    assert run("--baseline", wrong, "--markdown", "own.md").exit_code == 1
    assert Path("own.md").read_text().count("# Regression check") == 1
