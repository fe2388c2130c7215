"""``fgbench selection``: real workers on small sizes, formats, interrupts, bad input."""

from __future__ import annotations

import json
import math
import re
import signal
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from fgbench.cli import app
from fgbench.cli.saved import read_data

pytestmark = pytest.mark.usefixtures("borrowed")
SMALL = ["selection", "--sizes", "32", "--device", "cpu", "--threads", "1", "--max-time", "0.05s"]
PLUGIN = '''
import torch

from fgbench_selectors import Features, Needs, Selector


class Mean(Selector):
    """The mean of the tokens."""

    name = "mean"
    needs = Needs(tokens=True)
    score_shape = ("batch", "patches")

    def published(self, features: Features) -> torch.Tensor:
        return features.read_tokens()[:, features.num_prefix_tokens :].mean(dim=-1)
'''


# A row of selections in a table of Markdown, which folds no word: selector and implementation.
SELECTION = re.compile(r"^\| +32 \| +5 \| (\S+) +\| (\S*) +\|", re.MULTILINE)
ALL = [("(backbone)", ""), ("attention", "published"), ("attention", "fast")]
MARKDOWN = ("--format", "markdown")


def fgbench(*words: str, **variables: str):
    return CliRunner().invoke(app, list(words), env=variables)


@pytest.mark.slow
def test_rows_of_real_workers_are_kept_and_read_by_reports(tmp_path):
    store = str(tmp_path / "s.db")
    words = [*SMALL, "--selectors", "attention", "--kernels", "--tokens", "5", "--store", store]
    first = fgbench(*words, "--format", "json")
    assert first.exit_code == 0, first.stderr
    rows = json.loads(first.stdout)
    selections = [row for row in rows if "maps" not in row]
    assert [(row["selector"], row["impl"]) for row in selections] == [
        (None, None),
        ("attention", "published"),
        ("attention", "fast"),
    ]
    assert all(row["latency_s"] > 0 for row in selections)
    assert {row["environment"]["max_time_s"] for row in rows} == {0.05}
    assert {row["backend"] for row in rows if "maps" in row} == {"kernel", "dense", "blocks"}
    assert all(math.isfinite(rate) for rate in rows[0]["environment"]["roof"].values())
    second = fgbench(*words, "--format", "json")
    assert json.loads(second.stdout) == rows
    assert list(rows[0])[-3:] == ["environment", "kind", "schema_version"]
    saved = tmp_path / "rows.json"
    saved.write_text(second.stdout)
    assert read_data(None, [saved], pytest.fail).selection == read_data(tmp_path / "s.db", [], pytest.fail).selection
    assert "5 of 5 points were in" in second.stderr
    assert SELECTION.findall(fgbench(*words, *MARKDOWN).stdout) == ALL
    _, kernels = fgbench(*words).stdout.split("\nKernels of v·A: milliseconds of every back end\n")
    assert re.findall(r"^ +(12|96) +5 +(300|2\.40 k) ", kernels, re.MULTILINE) == [("12", "300"), ("96", "2.40 k")]
    report = fgbench("report", "selections", "--store", store, *MARKDOWN)
    assert SELECTION.findall(report.stdout) == ALL
    page = tmp_path / "page.md"
    page.write_text("<!-- begin selector-kernels -->\n<!-- end selector-kernels -->\n")
    filled = fgbench("report", "--fill", str(page), "--store", store)
    assert filled.exit_code == 0, filled.stderr
    heading, _, *lines = [line.split("|")[1:-1] for line in page.read_text().splitlines() if line.startswith("|")]
    assert [cell.strip() for cell in heading[:6]] == ["B·H", "N", "elements", "kernel ms", "dense ms", "blocks ms"]
    assert [[cell.strip() for cell in line[:3]] for line in lines] == [["12", "5", "300"], ["96", "5", "2.40 k"]]
    assert all(float(cell) > 0 for line in lines for cell in line[3:6])
    assert [path.name for path in (tmp_path / "figures").iterdir()] == ["cpu_crossover.svg"]


@pytest.mark.slow
def test_other_settings_are_measured_anew_and_what_is_not_ok_is_tried_again(tmp_path):
    words = [*SMALL, "--selectors", "attention", "--store", str(tmp_path / "s.db"), "--format", "json"]
    rows = json.loads(fgbench(*words).stdout)
    assert (rows[0]["status"], rows[0]["reason"][:12]) == ("unconverged", "a single run"), "ViT-B/16 in 0.05 s"
    again = json.loads(fgbench(*words, "--retry").stdout)
    for before, after in zip(rows, again, strict=True):
        assert (after["blocks"] == before["blocks"]) is (before["status"] == "ok")
    other = fgbench(*words, ATEN_CPU_CAPABILITY="default")
    assert "points were in" not in other.stderr
    assert json.loads(other.stdout)[0]["environment"]["settings"]["ATEN_CPU_CAPABILITY"] == "default"


@pytest.mark.slow
def test_a_selector_of_a_file_stands_beside_the_others(tmp_path):
    file = tmp_path / "mean.py"
    file.write_text(PLUGIN)
    words = [*SMALL, "--selectors", "mean", "--plugin", str(file), "--store", str(tmp_path / "s.db"), "-f", "csv"]
    result = fgbench(*words)
    assert result.exit_code == 0, result.stderr
    header, *lines = result.stdout.splitlines()
    assert header.startswith("selector,impl,image_size")
    assert [line.split(",")[0] for line in lines] == ["", "mean", "mean"]


@pytest.mark.slow
def test_an_interrupted_run_keeps_its_finished_points_and_goes_on(tmp_path):
    words = [*SMALL, "--selectors", "attention", "--store", str(tmp_path / "s.db"), *MARKDOWN]
    command = [sys.executable, "-m", "fgbench", *words]
    with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        for line in process.stderr:
            if line.startswith("attention published"):
                process.send_signal(signal.SIGINT)
                break
        shown, said = process.communicate(timeout=600)
    assert process.returncode == 130
    assert SELECTION.findall(shown) == ALL[:2]
    assert "interrupted; 2 of 3 points are in" in said
    assert "Traceback" not in said
    assert "2 of 3 points were in" in fgbench(*words).stderr


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["--selectors", "pms"], "did you mean psm"),
        (["--tokens", "5"], "give --kernels as well"),
        (["--kernels", "--retry", "--format", "csv"], "CSV holds one kind of rows"),
        (["--dtype", "amp"], "unknown dtype 'amp'"),
        (["--kernels", "--output", "rows.csv"], "CSV holds one kind of rows"),
        (["--batch-size", "0"], "must be at least 1"),
        (["--sizes", "big"], "image size must be a whole number"),
        (["--plugin", "nowhere.py"], "nowhere.py"),
    ],
)
def test_bad_input_is_refused_in_a_line(words, why, tmp_path):
    result = fgbench("selection", *words, "--store", str(tmp_path / "s.db"))
    assert result.exit_code == 2, result.stderr
    (line,) = result.stderr.splitlines()
    assert why in line
