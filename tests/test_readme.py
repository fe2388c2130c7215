"""What the README promises."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from fgbench.cli import app
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
    lines = re.findall(r"^fgbench (\w+)", README, re.MULTILINE)
    assert set(lines) == {"flops", "throughput", "accuracy", "report", "choose", "visualize", "list"}


def test_the_selector_of_contributing_md_conforms(tmp_path, monkeypatch):
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    code = re.search(r"```python\n# spread\.py\n(.*?)```", text, re.DOTALL).group(1)
    path = tmp_path / "spread.py"
    path.write_text(code)
    monkeypatch.setattr(selectors, "_from_files", {})
    assert selectors.add_file(path) == ["spread"]
    check_selector("spread")


@pytest.mark.parametrize(
    "name",
    [
        "README.md",
        "CONTRIBUTING.md",
        "CHANGELOG.md",
        "docs/counting.md",
        "docs/cost.md",
        "docs/accuracy.md",
        "docs/report.md",
        "docs/visualize.md",
        "reports/gallery/README.md",
    ],
)
def test_links_lead_somewhere(name):
    page = ROOT / name
    for target in re.findall(r"\]\((?!http)([^)#]+)\)", page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists(), target
