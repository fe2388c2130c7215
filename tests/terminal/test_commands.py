"""Commands in a job of a CI, and on a terminal, with hostile names in everything that they read."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from helpers.obeyed import HOSTILE, obeyed
from helpers.saved_rows import accuracy, flops, quality
from helpers.throughput_rows import CPU, row, tried
from PIL import Image
from safetensors.torch import save_file
from typer.testing import CliRunner

from fgbench.cli import app
from fgbench.plugins.reports import reports
from fgbench_reports.tables import render

ODD = "é \x1b]0;t\x07\x9b2J\x7f\n::error::a\r::x ##[b]##vso[c]\u202e\u2028\udcff[/x]"
NAMES = [*HOSTILE, ODD]
STYLES = ("table", "csv", "json", "markdown", "latex")
SELECTOR = """
from fgbench_selectors import Needs, Selector

class Odd(Selector):
    {doc!r}
    name = {name!r}
    needs = Needs(tokens=True)
    score_shape = ("batch", "patches")
    def published(self, features):
        raise ValueError({doc!r})
"""
REPORT = """
import pandas as pd
from fgbench_reports.report import Missing, Report, Table

class Odd(Report):
    {doc!r}
    name = "odd"
    title = {doc!r}
    def items(self, data):
        frame = pd.DataFrame({{"a": [{doc!r}]}}, dtype=object)
        yield Missing(what={doc!r}, command={doc!r}, why={doc!r})
        yield Table(name="odd", title={doc!r}, frame=frame, printed=frame, names=["a"], notes=[{doc!r}])
"""


@pytest.fixture(autouse=True)
def job(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("FGBENCH_STORE", str(tmp_path / "fgbench.db"))


def harmless(*words: object, codes: tuple[int, ...]) -> str:
    """What a command shows: nothing that a terminal or a CI obeys, and the hostile name in visible letters."""
    result = CliRunner().invoke(app, [*map(str, words)])
    assert result.exit_code in codes, result.stderr
    assert "internal error" not in result.stderr
    assert obeyed(result.stdout) == []
    assert obeyed(result.stderr) == []
    assert not result.stderr or result.stderr.endswith("\n")
    return result.stdout + result.stderr


def saved(rows: list[dict]) -> Path:
    Path("rows.json").write_text(json.dumps(rows), encoding="utf-8")
    return Path("rows.json")


def rows_of(name: str) -> list[dict]:
    device = {**CPU, "device_name": name, "torch": name, "git_revision": name, "code": name}
    return [
        row(name, batch=1, img_s=84.0, backbone=name, selector=name, environment=device, device="cpu", best=True),
        row("glsim", batch=1, img_s=90.0, dtype=name, environment=device),
        tried("crashed", name, model=name, batch=2, environment=device),
        accuracy(name, dataset=name, backbone=name, selector=name, recipe={name: name}, checkpoint=name),
        quality(name, model=name, dataset=name),
        flops(name, backbone=name),
        flops(None, backbone=name),
    ]


@pytest.mark.parametrize("style", STYLES)
def test_names_in_saved_rows(style):
    file = saved([row for name in NAMES for row in rows_of(name)])
    harmless("report", "--rows", file, "-f", style, codes=(0,))
    harmless("choose", "--rows", file, "-f", style, "--dataset", ODD, codes=(0,))
    harmless("choose", "--rows", file, "-f", style, "--dataset", ODD, "--max-latency", "1us", codes=(1,))


def test_names_in_a_report_s_files():
    harmless("report", "--rows", saved(rows_of(ODD)), "--output", "out", codes=(0,))
    texts = [path for path in Path("out").rglob("*") if path.suffix in (".html", ".svg", ".md", ".tex")]
    assert len(texts) > 10
    for path in texts:
        letters = set(path.read_text(encoding="utf-8"))
        assert not {letter for letter in letters if not letter.isprintable()} - {"\n"}, path


def benchmark_file(path: str, seconds: float) -> str:
    stats = [
        {"fullname": f"{name}{at}", "stats": {"median": seconds * (1 + at), "iqr": 0, "rounds": 9}}
        for at, name in enumerate(NAMES)
    ]
    machine = {"cpu": {"brand_raw": ODD}, "python_version": ODD, "node": ODD}
    Path(path).write_text(json.dumps({"benchmarks": stats, "machine_info": machine, "commit_info": {"id": ODD}}))
    return path


@pytest.mark.parametrize("style", STYLES)
def test_names_of_benchmarks(style):
    words = ("regress", "--pytest-benchmark", benchmark_file("old.json", 1.0), benchmark_file("new.json", 2.0))
    shown = harmless(*words, "-f", style, codes=(1,))
    assert "x1b" in shown or "u001b" in shown
    for option in ("--junit", "--markdown", "--benchmark-json", "--smaller-is-better", "--bigger-is-better"):
        harmless(*words, option, "/dev/stdout", "--output", "out", codes=(1,))


def test_annotations_are_the_only_commands():
    words = ("regress", "--pytest-benchmark", benchmark_file("old.json", 1.0), benchmark_file("new.json", 2.0))
    result = CliRunner().invoke(app, [*words, "--annotations"])
    commands = [line for line in result.stdout.splitlines() if line.startswith("::")]
    assert len(commands) == len(NAMES)
    assert all(line.startswith("::error title=slower") for line in commands)
    assert obeyed("\n".join(line for line in result.stdout.split("\n") if line not in commands)) == []


@pytest.mark.parametrize("style", STYLES)
def test_keys_of_a_baseline(style):
    text = json.dumps(ODD.replace("\udcff", ""))[1:-1]
    point = {"model": None, "selector": None, "impl": None, "backbone": "test_vit", "image_size": 224}
    figures = {"macs": 1, "flops": 1, "params": 1, "activation_bytes": 1}
    data = {
        "kind": "fgbench regression baseline",
        "schema_version": 1,
        "convention": "full",
        "grid": {"selectors": ["gls", ODD], "models": [], "backbones": ["test_vit"], "sizes": [224]},
        "counted_with": {"torch": ODD, ODD: ODD},
        "points": [{**point, **figures}, {**point, **figures, "selector": ODD, "impl": "fast"}],
        "memory": [],
    }
    Path("baseline.json").write_text(json.dumps(data))
    harmless("regress", "--baseline", "baseline.json", "-f", style, codes=(1, 2))
    for broken in (f'{{"{text}": 1}}', f'{{"kind": "{text}"}}', f'"{text}"', f"[{text}"):
        Path("baseline.json").write_text(broken)
        harmless("regress", "--baseline", "baseline.json", codes=(2,))


@pytest.mark.parametrize("style", STYLES)
def test_docstrings_and_names_of_plug_ins(style):
    doc = ODD.replace("\udcff", "")
    for file, text in {
        "docstring.py": SELECTOR.format(doc=doc, name="odd"),
        "name.py": SELECTOR.format(doc="", name=doc),
        "raises.py": f"raise ValueError({doc!r})",
        "report.py": REPORT.format(doc=doc),
    }.items():
        Path(file).write_text(text, encoding="utf-8")
    assert "odd" in harmless("list", "--plugin", "docstring.py", "-f", style, codes=(0,))
    harmless("list", "--plugin", "name.py", "-f", style, codes=(0, 2))
    assert "broken" in harmless("list", "--plugin", "raises.py", "-f", style, codes=(2,))
    assert "odd" in harmless("list", "reports", "--plugin", "report.py", "-f", style, codes=(0,))
    reports._from_files.clear()
    harmless("report", "odd", "--plugin", "report.py", "--rows", saved(rows_of("x")), "-f", style, codes=(0,))


def test_words_that_are_typed_and_names_of_files_that_are_not_there():
    for name in NAMES:
        word = name.replace("\0", "")
        for words in (
            (word,),
            ("list", word),
            ("flops", "--sizes", word),
            ("flops", "--selectors", word),
            (f"--{word}",),
            ("report", word),
            ("report", "--rows", word),
            ("choose", "--rows", word),
            ("choose", "--max-latency", word),
            ("regress", "--baseline", word),
            ("list", "--plugin", word),
            ("accuracy", "--dataset", word),
            ("accuracy", "--dataset", "folder", "--data-dir", word),
        ):
            harmless(*words, codes=(2,))
    harmless("throughput", "--model", ODD, codes=(2,))  # starts a process of its own


def test_names_of_weights_of_pictures_and_of_classes():
    image = Image.new("RGB", (40, 40))
    weights = {f"{name}.weight": torch.zeros(2) for name in NAMES if "\udcff" not in name}
    save_file(weights, "odd.safetensors", metadata={"\x1b": "\n::error::x"})
    torch.save({name: {"a": torch.zeros(2)} for name in NAMES if "\udcff" not in name}, "sets.pth")
    small = ("--backbone", "test_vit", "--size", "32", "--selectors", "gls")
    image.save("a.png")
    for file in ("odd.safetensors", "sets.pth"):
        harmless("visualize", "a.png", *small, "--checkpoint", file, codes=(2,))
        harmless("visualize", "a.png", *small, "--checkpoint", file, "--weights", ODD, codes=(2,))
    for at, name in enumerate((HOSTILE[0], ODD)):
        picture = Path(name.replace("/", "_") + ".png")
        image.save(picture)
        harmless("visualize", picture, *small, "-f", "json", codes=(0,))
        harmless("visualize", picture, *small, "-f", "svg", "-o", f"{at}.svg", codes=(0,))
        letters = set(Path(f"{at}.svg").read_text(encoding="utf-8"))
        assert not {letter for letter in letters if not letter.isprintable()} - {"\n"}
        for split in ("train", "test"):
            folder = Path("data", split, name.replace("/", "_"))
            folder.mkdir(parents=True)
            for number in range(2):
                image.save(folder / f"{number}.png")
    data = ("accuracy", "--dataset", "folder", "--data-dir", "data", "--model", "vit", "--backbone", "test_vit")
    short = ("--sizes", "32", "--epochs", "1", "--device", "cpu", "--seeds", "1", "--lr", "0.1", "--threads", "1")
    for style in ("table", "csv"):
        harmless(*data, *short, "--details", "-f", style, codes=(0, 2))
    Path("data", "test", ODD.replace("/", "_"), "0.png").write_bytes(b"\x1b no picture")
    assert "1 image cannot be read" in harmless(*data, *short, "--read-all", codes=(0, 2))


@pytest.mark.parametrize("name", ["FGBENCH_STORE", "COLUMNS", "TERM", "LANG", "GITHUB_STEP_SUMMARY"])
def test_values_of_the_environment(name, monkeypatch):
    for value in NAMES:
        monkeypatch.setenv(name, value.replace("\0", "").replace("\x1b", "/\x1b"))
        harmless("report", "table9", codes=(0, 2))
        harmless("choose", codes=(2,))


@pytest.mark.slow
@pytest.mark.parametrize("style", STYLES)
def test_a_real_terminal_is_told_nothing_by_names(style):
    """A pseudo-terminal: colours are the program's own, and nothing else is obeyed."""
    names = (benchmark_file("old.json", 1.0), benchmark_file("new.json", 2.0))
    environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "100"}
    environment.pop("GITHUB_ACTIONS")
    mine, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "fgbench", "regress", "--pytest-benchmark", *names, "-f", style],
        stdout=theirs,
        stderr=theirs,
        stdin=theirs,
        env=environment,
    )
    os.close(theirs)
    pieces = []
    while True:
        try:
            pieces.append(os.read(mine, 65536))
        except OSError:  # the end of a pseudo-terminal
            break
        if not pieces[-1]:
            break
    os.close(mine)
    assert process.wait() == 1
    text = b"".join(pieces).decode().replace("\r\n", "\n")
    assert ("\x1b[" in text) == (style == "table")
    assert obeyed(text, colours=True) == []
    assert "1b" in text


def test_the_same_rows_are_exact_in_a_file():
    harmless("choose", "--rows", saved(rows_of("a\n::error::\x1b")), "-f", "csv", "-o", "out.csv", codes=(0,))
    assert "a\n::error::\x1b" in Path("out.csv").read_text(encoding="utf-8")
    assert render.to_csv([{"a": "\x1b"}]) == "a\n\x1b\n"
