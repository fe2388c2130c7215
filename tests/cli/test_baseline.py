"""``--baseline``: what is refused before anything runs, and what ``flops`` prints."""

from __future__ import annotations

import json

import pytest
from helpers.throughput_rows import row
from typer.testing import CliRunner

from fgbench.cli import app

TINY = ["--backbones", "test_vit", "--sizes", "64"]


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.delenv("FGBENCH_STORE", raising=False)
    monkeypatch.chdir(tmp_path)
    return lambda *words: CliRunner().invoke(app, [*words])


@pytest.mark.parametrize(
    "words",
    [["throughput", "--model", "glsim", "cal"], ["flops", "--model", "glsim", "cal"]],
    ids=["throughput", "flops"],
)
def test_a_baseline_that_is_not_measured_is_refused_before_anything_runs(run, words, tmp_path):
    result = run(*words, "--baseline", "vit")
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == "fgbench: --baseline must be one of the models, got 'vit'; one of: glsim, cal\n"
    assert not list(tmp_path.iterdir())


def test_only_models_have_a_baseline_in_flops(run):
    result = run("flops", "--baseline", "vit")
    assert result.exit_code == 2
    assert "--baseline goes with --models" in result.stderr


def test_a_report_names_the_models_of_its_rows(run, tmp_path):
    (tmp_path / "rows.json").write_text(json.dumps([row("vit"), row("glsim")]))
    result = run("report", "throughput", "--rows", "rows.json", "--baseline", "swin")
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == "fgbench: --baseline must be one of the models, got 'swin'; one of: vit, glsim\n"
    assert "× vit" in run("report", "throughput", "--rows", "rows.json", "--baseline", "vit").stdout


def test_flops_have_ratios_in_every_format(run):
    words = ["flops", "--model", "vit", "glsim", *TINY, "--baseline", "vit"]
    rows = {(each["model"], each["impl"]): each for each in json.loads(run(*words, "--format", "json").stdout)}
    base = rows["vit", None]
    assert base["ratio"] == 1.0
    assert rows["glsim", "fast"]["ratio"] == rows["glsim", "fast"]["flops"] / base["flops"] > 1
    assert rows[None, None]["ratio"] is None
    assert "× vit" in run(*words).stdout
    assert "baseline" not in json.loads(run(*words[:-2], "--format", "json").stdout)[0]
