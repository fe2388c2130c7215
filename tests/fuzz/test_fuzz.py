"""Thousands of random wrong inputs, one per seed: each gives one line and an exit code, and no traceback.

FGBENCH_FUZZ=rows:17 pytest tests/fuzz      one case alone, where its files stay
"""

from __future__ import annotations

import io
import os
import random
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
import pytest
import torch
from click.testing import CliRunner
from fuzz.binaries import checkpoints, pictures
from fuzz.case import COMMAND, Case, Draw, Generate, asked, command_line, identity, run, wrong
from fuzz.command_lines import LEFT_OUT, generate, options_of
from fuzz.saved import compared, rows
from fuzz.surroundings import data_sets, environments, plug_ins
from fuzz.values import remove_paths
from helpers.saved_rows import COUNTS, JUDGED, RUNS, TIMED, fill
from PIL import Image

from fgbench.models.build import create_model
from fgbench.models.checkpoints.load import save_checkpoint
from fgbench_reports.tables import render

KINDS: dict[str, tuple[Generate, int]] = {
    "command_lines": (generate, 1000),
    "rows": (rows, 700),
    "compared": (compared, 250),
    "checkpoints": (checkpoints, 200),
    "pictures": (pictures, 150),
    "plug_ins": (plug_ins, 250),
    "data_sets": (data_sets, 100),
    "environments": (environments, 200),
}
CHUNK = 50
BENCHMARKS = '{"machine_info": {"cpu": {"brand_raw": "x"}, "python_version": "3.12.1"}, "commit_info": {"id": "a"}, \
"datetime": "2026-01-01", "version": "5.3.1", "benchmarks": [%s]}'
BENCHMARK = '{"fullname": "tests/a.py::test_%d", "name": "test_%d", "group": null, "params": {"a": 1}, \
"stats": {"median": %f, "iqr": 0.001, "rounds": 9, "min": 0.5, "data": [1.0, 1.1]}}'


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """Of torch: models this small take longer on two."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def files(one_thread, tmp_path_factory) -> Mapping[str, bytes]:
    """Real files of every kind, which are changed."""
    root = tmp_path_factory.mktemp("real")
    real = [*TIMED, *RUNS, *JUDGED, *COUNTS]
    (root / "rows.json").write_text(render.to_json(real))
    (root / "rows.csv").write_text(render.to_csv(TIMED), newline="")
    fill(root / "rows.db")
    for name, slower in (("old", 1.0), ("new", 1.3)):
        some = ", ".join(BENCHMARK % (at, at, slower * (1 + at)) for at in range(3))
        (root / f"{name}.json").write_text(BENCHMARKS % some)
    torch.manual_seed(1)
    model = create_model("vit", "test_vit", img_size=32, num_classes=3)
    save_checkpoint(model, root / "weights.safetensors")
    torch.save(model.state_dict(), root / "weights.pth")
    for suffix in ("png", "jpg", "gif", "bmp", "webp", "tiff"):
        Image.linear_gradient("L").resize((24, 20)).convert("RGB").save(root / f"picture.{suffix}")
    counted = ["regress", "--update", "--baseline", str(root / "baseline.json"), "--backbones", "test_vit"]
    made = CliRunner().invoke(
        COMMAND, [*counted, "--sizes", "32", "--selectors", "gls", "--models", "vit", "--impl", "fast"]
    )
    assert made.exit_code == 0, made.stderr
    return {path.name: path.read_bytes() for path in root.iterdir()}


def failure(kind: str, number: int, files: Mapping[str, bytes], folder: Path) -> str | None:
    """What is wrong with a case, and how to repeat it."""
    folder.mkdir()
    os.chdir(folder)
    case = KINDS[kind][0](Draw(kind, number), files)
    case = Case(
        words=case.words, environment={"FGBENCH_STORE": "fgbench.db", **case.environment}, undecided=case.undecided
    )
    found = wrong(case, run(case))
    os.chdir(folder.parent)
    if found is None:
        remove_paths(folder)
        if asked() is None:
            shutil.rmtree(folder)
        return None
    repeat = f"FGBENCH_FUZZ={identity(kind, number)} pytest tests/fuzz"
    return f"{repeat}\n{command_line(case, str(folder))}\n{found}"


def chunks() -> list[Any]:
    """Cases by kind; the second half of each kind is asked by ``nox -s thorough``."""
    if (one := asked()) is not None:
        return [(one[0], range(one[1], one[1] + 1))]
    return [
        pytest.param(
            kind,
            range(first, min(first + CHUNK, count)),
            marks=pytest.mark.thorough if first > count / 2 else (),
        )
        for kind, (_, count) in KINDS.items()
        for first in range(0, count, CHUNK)
    ]


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "numbers"), chunks(), ids=lambda value: str(value).replace("range", ""))
def test_bad_input_is_a_clear_line_and_never_a_traceback(kind, numbers, files, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)
    found = [what for number in numbers if (what := failure(kind, number, files, tmp_path / str(number)))]
    assert not found, "\n\n".join([f"{len(found)} of {len(numbers)} cases:", *found])


def test_there_are_enough_inputs_and_each_is_the_same_every_time(files, tmp_path, monkeypatch):
    assert sum(count for _, count in KINDS.values()) >= 2000
    for kind, (make, _) in KINDS.items():
        made = []
        for attempt in range(2):
            folder = tmp_path / f"{kind}{attempt}"
            folder.mkdir()
            monkeypatch.chdir(folder)
            case = make(Draw(kind, 0), files)
            remove_paths(folder)
            there = {
                str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()
            }
            made.append((case, there))
        assert made[0] == made[1]


def test_every_option_of_every_command_is_drawn(tmp_path, files, monkeypatch):
    """A new option is among them by itself."""
    monkeypatch.chdir(tmp_path)
    drawn: dict[str, set[str]] = {name: set() for name in COMMAND.commands}
    for number in range(KINDS["command_lines"][1]):
        folder = tmp_path / str(number)
        folder.mkdir()
        monkeypatch.chdir(folder)
        words = generate(Draw("command_lines", number), files).words
        drawn[words[0]].update(word.partition("=")[0] for word in words)
        remove_paths(folder)
    for name, command in COMMAND.commands.items():
        for option in options_of(name):
            assert drawn[name].intersection(option.opts), f"{name} {option.opts}"
        assert len(options_of(name)) >= len(command.params) - len(LEFT_OUT) - 1


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ("raise RuntimeError('forgotten')", "a traceback"),
        ("click.echo('fgbench: internal error: x', err=True)", "an internal error"),
        ("raise SystemExit(7)", "exit code 7"),
        ("raise SystemExit(3)", "exit code 3"),
        ("raise SystemExit(2)", "no line says why"),
        ("click.echo('fgbench: \\x9b31m', err=True)", "would obey"),
        ("click.echo('::error::' + words[-1])", "would obey"),
        ("click.echo('fgbench: ' + 'x' * 9000, err=True)", "a line of 9009 letters"),
        ("click.echo('[1,')", "no JSON"),
    ],
)
def test_the_fuzzer_finds_what_is_wrong(body, says):
    """A stand-in for the commands that does wrong where one of many inputs is met."""

    @click.command(context_settings={"ignore_unknown_options": True})
    @click.argument("words", nargs=-1)
    def stand_in(words: tuple[str, ...]) -> None:
        if "NaN" in words:
            exec(body, {"click": click, "words": words})

    found = []
    for number in range(300):
        words = [random.Random(number).choice(["1", "NaN", "x"]), "-f", "json"]
        found.append(wrong(Case(words=words), run(Case(words=words), stand_in)))
    hits = [what for what in found if what is not None]
    assert 0 < len(hits) < 300
    assert all(what.startswith(says) or says in what for what in hits)
    assert io.StringIO(command_line(Case(words=["choose", "a b"]), "/tmp")).read() == "cd /tmp && fgbench choose 'a b'"
