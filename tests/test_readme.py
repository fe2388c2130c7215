"""Commands and output in the README are correct."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from helpers.throughput_rows import ROWS
from typer.testing import CliRunner

import fgbench
from fgbench.cli import app
from fgbench.cli.program import COMMANDS
from fgbench.flops.count_models import count_model
from fgbench.plugins.kinds import models
from fgbench.plugins.reports import make_reports, reports
from fgbench_reports.data import Data
from fgbench_selectors import selectors
from fgbench_selectors.conformance import check_selector

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
SHOWN = re.compile(r"`fgbench (flops [^`]+)`\n\n```\n(.*?)```\n", re.DOTALL)


def test_the_output_it_shows_is_the_real_one():
    command, shown = SHOWN.search(README).groups()
    assert "psm" in shown
    assert CliRunner().invoke(app, command.split()).stdout == shown


def test_ci_runs_the_test_command_it_gives():
    commands = [line for line in README.splitlines() if line.startswith("python3 -m venv")]
    assert len(commands) == 2
    assert commands[1] in (ROOT / ".ci" / "run").read_text().splitlines()


def test_every_example_is_a_command_that_exists():
    lines = re.findall(r"^fgbench ([\w-]+)", README, re.MULTILINE)
    assert set(lines) == set(COMMANDS)


def test_the_selector_of_contributing_md_conforms(tmp_path, monkeypatch):
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    code = re.search(r"```python\n# spread\.py\n(.*?)```", text, re.DOTALL).group(1)
    path = tmp_path / "spread.py"
    path.write_text(code)
    assert selectors.add_file(path) == ["spread"]
    check_selector("spread")


def test_the_model_of_contributing_md_is_counted_selects_and_trains(tmp_path, monkeypatch):
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    path = tmp_path / "centred.py"
    path.write_text(re.search(r"```python\n# centred\.py\n(.*?)```", text, re.DOTALL).group(1))
    assert models.add_file(path) == ["centred"]
    images = torch.randn(2, 3, 64, 64)
    for selector in ("gls", "rollout"):
        model = fgbench.create_model(
            "centred", "vit_tiny_patch16_224", img_size=64, num_classes=3, selector=selector, num_patches=4
        )
        assert model.eval().explain(images).selected.shape == (2, 4)
        assert list(count_model(model.to("meta"), 64).by_label) == ["pass 1", "selector", "fusion"]
    loss, _ = fgbench.create_model("centred", "test_vit", img_size=64, num_classes=3)(images, torch.tensor([0, 2]))
    loss.backward()


def test_the_python_of_the_page_about_reports_runs(monkeypatch):
    text = (ROOT / "docs" / "report.md").read_text(encoding="utf-8")
    monkeypatch.chdir(ROOT)
    names: dict = {}
    exec(re.search(r"## In Python.*?```python\n(.*?)```", text, re.DOTALL).group(1), names)
    assert {"published", "difference"} <= set(names["table1"](names["data"])["from"])
    assert len(names["flops"](names["data"]).query("selector == 'psm' and image_size == 1024")) >= 6


def test_the_report_of_contributing_md_is_made(tmp_path, monkeypatch):
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    path = tmp_path / "slowest.py"
    path.write_text(re.search(r"```python\n# slowest\.py\n(.*?)```", text, re.DOTALL).group(1))
    assert reports.add_file(path) == ["slowest"]
    (made,) = make_reports(["slowest"], Data(throughput=ROWS), lambda problem: pytest.fail(str(problem)))
    (table,) = made.items
    assert (len(table.frame), table.printed["latency ms"][0]) == (10, "1953")
    assert table.frame["latency ms"][0] == pytest.approx(1953, abs=1)
    ((missing,),) = (each.items for each in make_reports(["slowest"], Data(), pytest.fail))
    assert missing.command == "fgbench throughput"


def test_its_python_runs_as_it_is():
    (code,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    smaller = code.replace("448", "64").replace('"glsim",', '"glsim", "test_vit",', 1)
    names: dict = {}
    exec(smaller, names)
    assert names["scores"].shape == (1, 196)
    assert names["result"].logits.shape == (2, 200)
    assert names["row"].latency_s > 0
