"""The workflows and the action are valid, and the steps of the action work."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from fgbench.cli import app

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "regress.md").read_text(encoding="utf-8")
WORKFLOW = re.search(r"## A whole workflow\n\n```yaml\n(.*?)```", PAGE, re.DOTALL)


def check(schema: str, file: Path) -> None:
    words = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", schema, str(file)]
    result = subprocess.run(words, capture_output=True, text=True, timeout=600, check=False)
    assert result.returncode == 0, result.stdout


def test_the_workflows_and_the_action_are_what_github_reads(tmp_path):
    check("vendor.github-actions", ROOT / "action.yml")
    check("vendor.github-workflows", ROOT / ".github" / "workflows" / "ci.yml")
    (tmp_path / "cost.yml").write_text(WORKFLOW[1], encoding="utf-8")
    check("vendor.github-workflows", tmp_path / "cost.yml")


def action_step(name: str) -> dict:
    steps = yaml.safe_load((ROOT / "action.yml").read_text(encoding="utf-8"))["runs"]["steps"]
    return next(step for step in steps if step.get("name") == name)


def test_inputs_that_the_page_gives_are_those_of_the_action():
    known = set(yaml.safe_load((ROOT / "action.yml").read_text(encoding="utf-8"))["inputs"])
    jobs = yaml.safe_load(WORKFLOW[1])["jobs"].values()
    given = [step["with"] for job in jobs for step in job["steps"] if step.get("uses", "").startswith("fgbench/")]
    assert given
    assert all(set(each) <= known for each in given)


def test_nothing_that_comes_from_outside_is_put_into_a_script():
    """An expression inside ``run`` is text before bash reads it: a branch's name could be a command."""
    for name in ("Install fgbench", "Compare with the baseline"):
        assert "${{" not in action_step(name)["run"]


def test_what_is_installed_can_be_several_packages(tmp_path):
    """The step's own script, with a pip that says what it was given."""
    (tmp_path / "python").write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    (tmp_path / "python").chmod(0o755)
    variables = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "FGBENCH": "a b", "INSTALL": ". extra\n  more\n"}
    script = action_step("Install fgbench")["run"]
    result = subprocess.run(
        ["bash", "-e", "-o", "pipefail", "-c", script], env=variables, capture_output=True, text=True, check=True
    )
    assert result.stdout.splitlines() == ["-m", "pip", "install", "a b", ".", "extra", "more"]


@pytest.mark.slow
@pytest.mark.parametrize("figure", ["macs", None])
def test_the_actions_comparison_fills_the_summary_and_fails_where_it_should(tmp_path, figure, monkeypatch):
    monkeypatch.chdir(tmp_path)
    small = ("--backbones", "test_vit", "--sizes", "64", "--selectors", "gls", "--models", "vit")
    made = CliRunner().invoke(app, ["regress", "--baseline", "its baseline.json", "--update", *small])
    assert made.exit_code == 0, made.stderr
    if figure:
        text = Path("its baseline.json").read_text()
        Path("its baseline.json").write_text(re.sub(rf'"{figure}": (\d+)', rf'"{figure}": 1\1', text, count=1))
    Path("summary.md").touch()
    variables = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "GITHUB_STEP_SUMMARY": str(tmp_path / "summary.md"),
        "BASELINE": "its baseline.json",
        "ARGUMENTS": "--junit\ncost.xml\n--strict\n",
    }
    script = action_step("Compare with the baseline")["run"]
    result = subprocess.run(
        ["bash", "-e", "-o", "pipefail", "-c", script], env=variables, capture_output=True, text=True, check=False
    )
    assert result.returncode == (1 if figure else 0), result.stderr
    assert ("::error title=changed" in result.stdout) == bool(figure)
    assert Path("summary.md").read_text().startswith(f"# Regression check: {'failed' if figure else 'passed'}")
    assert Path("cost.xml").exists()
