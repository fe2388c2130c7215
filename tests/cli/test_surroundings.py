"""Wrong names, folders, streams and environment variables: each gives one line and an exit code."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from fgbench.cli import app
from fgbench.errors import FgbenchError
from fgbench.results import reading
from fgbench.training.launch import is_main_process

LONG, NO_TEXT = "x" * 300, os.fsdecode(b"\xff\xfe")
FLOPS_ROW = {
    **{"convention": "full", "backbone": "vit", "model": None, "selector": None, "impl": None, "image_size": 224},
    **{"num_tokens": 197, "macs": 1, "flops": 1, "percent_of_backbone": 100.0, "params": 5},
}
COUNT = ["--backbones", "vit_tiny_patch16_224", "--sizes", "224", "--selectors", "gls"]
SEE = ["visualize", "a.png", "--backbone", "test_vit", "--size", "160", "--format", "json"]
DRAWN = ["accuracy", "--dataset-options", "classes=2", "train_images=2", "test_images=2", "side=32"]


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(reading, "WRITER_S", 0.05)
    Path("loop").symlink_to("loop")
    os.mkfifo("pipe")
    Path("file").write_text("precious")
    Path("rows.json").write_text(json.dumps([FLOPS_ROW]))
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind("socket")
        yield tmp_path
    assert Path("file").read_text() == "precious"


def run(*words: str):
    return CliRunner().invoke(app, list(words))


def refused(result, *, code: int = 2) -> str:
    """The one line of a command that was refused."""
    assert result.exit_code == code, (result.stderr, result.exception)
    (line,) = result.stderr.splitlines()
    assert line.startswith("fgbench: ")
    assert "internal error" not in line
    return line


NO_FILES = {
    "a name that is too long": LONG,
    "a folder of such a name": f"{LONG}/x",
    "a link to itself": "loop",
    "in a link to itself": "loop/x",
    "in a file": "file/x",
    "a pipe": "pipe",
    "a socket": "socket",
    "a device without end": "/dev/zero",
    "bytes that are no text": NO_TEXT,
    "half a character": "\ud800",
    "a null character": "a\0b",
}
READ = {
    "a baseline": ["regress", "--baseline", "{}"],
    "benchmarks": ["regress", "--pytest-benchmark", "{}", "{}"],
    "rows": ["report", "--rows", "{}"],
    "rows to choose from": ["choose", "--rows", "{}"],
    "a store": ["report", "--store", "{}"],
    "a plug-in": ["flops", *COUNT, "--plugin", "{}"],
    "a report": ["report", "--rows", "rows.json", "--plugin", "{}"],
    "a picture": ["visualize", "{}", *SEE[2:]],
    "a data set": ["accuracy", "--dataset", "folder", "--data-dir", "{}"],
    "a published data set": ["accuracy", "--dataset", "cub", "--data-dir", "{}"],
    "the name of one": ["accuracy", "--dataset", "{}"],
    "an environment": ["regress", "--base-python", "{}"],
}


@pytest.mark.parametrize("what", READ)
@pytest.mark.parametrize("name", NO_FILES)
def test_what_is_read_may_be_anything(what, name, here):
    refused(run(*(word.format(NO_FILES[name]) for word in READ[what])))


WRITTEN = {
    "a table": ["list", "reports", "--format", "csv", "--output", "{}"],
    "a report": ["report", "--rows", "rows.json", "--output", "{}"],
    "pictures": ["visualize", "a.png", "--format", "png", "--output", "{}/"],
    "a new baseline": ["regress", "--update", "--baseline", "{}"],
    "a store": ["accuracy", "--store", "{}"],
    "weights": [*DRAWN, "--checkpoints", "{}"],
}


@pytest.mark.parametrize("what", WRITTEN)
@pytest.mark.parametrize("name", ["a name that is too long", "in a link to itself", "in a file", "a socket"])
def test_what_is_written_may_be_anything(what, name, here):
    refused(run(*(word.format(NO_FILES[name]) for word in WRITTEN[what])))


@pytest.mark.slow
def test_folders_without_permission_are_refused(here):
    """Root may enter every folder, unless it gives that up."""
    powerless: list[str] = []
    if os.geteuid() == 0:
        if shutil.which("setpriv") is None:
            pytest.skip("root has every permission, and setpriv is not there to give them up")
        powerless = ["setpriv", "--bounding-set", "-dac_override,-dac_read_search", "--"]
    for name in ("closed", "locked"):
        Path(name).mkdir()
        Path(name, "rows.json").write_text("[]")
    Path("closed").chmod(0)
    Path("locked").chmod(0o500)  # may be looked into
    try:
        for words in (
            ["report", "--rows", "rows.json", "--output", "closed/report"],
            ["report", "--rows", "rows.json", "--output", "locked"],
            ["report", "--rows", "closed/rows.json"],
            ["visualize", "a.png", "--format", "png", "--output", "closed/x/"],
            ["visualize", "a.png", "--format", "png", "--output", "locked/x/"],
            ["visualize", "a.png", "--output", "closed/x.png"],
            ["list", "reports", "--output", "locked/x.csv"],
            ["choose", "--store", "closed/store.db"],
        ):
            command = [*powerless, sys.executable, "-m", "fgbench", *words]
            ended = subprocess.run(command, capture_output=True, text=True, check=False)
            assert (ended.returncode, ended.stdout) == (2, ""), (words, ended.stderr)
            (line,) = ended.stderr.splitlines()
            assert "ermission" in line, words
    finally:
        for name in ("closed", "locked"):
            Path(name).chmod(0o700)
    assert sorted(path.parent.name for path in here.glob("*ed/*")) == ["closed", "locked"]  # the rows alone


def test_a_folder_that_was_deleted_is_refused_and_help_is_not(tmp_path, monkeypatch):
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    for words in (["list", "reports"], ["flops"], ["regress", "--baseline", "x.json"], ["visualize", "a.png"]):
        assert "the working directory is gone; change to another one" in refused(run(*words))
    assert run("--help").exit_code == run("flops", "--help").exit_code == 0


@pytest.mark.parametrize("shared", [LONG, "loop", "loop/x", "/dev/zero", NO_TEXT, "file/x"])
def test_a_summary_that_is_none_is_no_reason_to_lose_the_verdict(shared, here, monkeypatch):
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", shared)
    for name, median in (("old.json", 1.0), ("new.json", 2.0)):
        benchmark = {"name": "half \ud800", "stats": {"median": median}}
        Path(name).write_text(json.dumps({"benchmarks": [benchmark]}))
    words = ["regress", "--pytest-benchmark", "old.json", "new.json", "--markdown"]
    assert run(*words, "summary.md").exit_code == 1  # it is slower
    assert "half" in Path("summary.md").read_text(encoding="utf-8")
    if shared not in ("/dev/zero", NO_TEXT):
        refused(run(*words, shared))


def test_a_summary_is_added_to_through_a_link(here, monkeypatch):
    Path("shared.md").write_text("before")
    Path("link.md").symlink_to("shared.md")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", "shared.md")
    Path("old.json").write_text(json.dumps({"benchmarks": [{"name": "one", "stats": {"median": 1.0}}]}))
    assert run("regress", "--pytest-benchmark", "old.json", "old.json", "--markdown", "link.md").exit_code == 0
    assert Path("shared.md").read_text(encoding="utf-8").startswith("before\n")
    assert Path("link.md").is_symlink()


ODD_ROWS = {
    "a recipe that is none": ({"recipe": "x"}, "its field 'recipe' must be an object"),
    "the data set of another kind": ({"dataset": {}}, "its field 'dataset' must be text"),
    "epochs of another kind": ({"epochs": "many"}, "its field 'epochs' must be a whole number"),
    "nested deep": ({"x": json.loads("[" * 490 + "]" * 490)}, "nested deeper than 100 levels"),
    "an environment that is nested deep": ({"environment": {"x": json.loads("[" * 200 + "]" * 200)}}, "nested deeper"),
}


@pytest.mark.parametrize("odd", ODD_ROWS)
@pytest.mark.parametrize("command", [["report"], ["choose"], ["regress", "--baseline", "base.json"]])
def test_rows_may_hold_anything(odd, command, here):
    more, words = ODD_ROWS[odd]
    Path("odd.json").write_text(json.dumps([{**FLOPS_ROW, **more}]))
    Path("base.json").write_bytes((Path(__file__).parents[2] / "reports" / "baseline.json").read_bytes())
    assert words in refused(run(*command, "--rows", "odd.json"))


def test_a_baseline_may_be_nested_deep(here):
    known = json.loads((Path(__file__).parents[2] / "reports" / "baseline.json").read_text())
    for depth in (490, 900):
        known["points"][0]["backbone"] = 0
        Path("base.json").write_text(
            json.dumps(known).replace('"backbone": 0', f'"backbone": {"[" * depth}{"]" * depth}')
        )
        refused(run("regress", "--baseline", "base.json"))
    Path("base.json").write_text("[" * 100_000)
    refused(run("regress", "--baseline", "base.json"))


@pytest.mark.parametrize(
    "option",
    ["train_images=999999999999", "test_images=1000001", f"classes={10**9}", f"seed={10**30}", "train_images=nan"],
)
def test_a_data_set_of_any_size_is_answered_at_once(option, here):
    line = refused(run("accuracy", "--dataset-options", option))
    assert option.partition("=")[0] in line


VARIABLES = {
    "WORLD_SIZE": "x",
    "RANK": "-1",
    "LOCAL_RANK": "²",
    "MASTER_PORT": "http",
    "OMPI_COMM_WORLD_RANK": "x",
    "ACCELERATE_USE_CPU": "zzz",
    "ACCELERATE_DEBUG_MODE": "zzz",
    "ACCELERATE_TORCH_DEVICE": "zzz",
}


@pytest.mark.slow
@pytest.mark.parametrize("name", VARIABLES)
def test_a_variable_of_a_launch_that_is_wrong_is_named(name, warm, tmp_path):
    result = warm.run(*DRAWN, "--device", "cpu", cwd=tmp_path, env={**os.environ, name: VARIABLES[name]})
    assert (result.returncode, result.stdout) == (2, "")
    (line,) = result.stderr.splitlines()
    assert name in line
    assert "internal error" not in line


def test_a_rank_below_zero_is_a_whole_number_that_is_too_small(monkeypatch):
    monkeypatch.setenv("RANK", "-1")
    with pytest.raises(FgbenchError, match="RANK must be at least 0, got '-1'"):
        is_main_process()


@pytest.mark.slow
def test_a_library_that_does_not_load_is_named(here):
    words = [sys.executable, "-m", "fgbench", "report", "--rows", "rows.json", "--output", "out"]
    wrong = {**os.environ, "MPLBACKEND": "zzz"}
    ended = subprocess.run(words, env=wrong, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout) == (2, "")
    (line,) = ended.stderr.splitlines()
    assert "does not load (ValueError: " in line
    assert "zzz" in line
    assert line.endswith("is one of its environment variables wrong, or its installation?")


@pytest.mark.parametrize(
    ("variables", "code"),
    [
        ({"_FGBENCH_COMPLETE": "complete_bash"}, 2),
        ({"_FGBENCH_COMPLETE": "complete_bash", "COMP_WORDS": "fgbench fl", "COMP_CWORD": "x"}, 2),
        ({"_FGBENCH_COMPLETE": "complete_bash", "COMP_WORDS": "fgbench '", "COMP_CWORD": "1"}, 0),
        ({"_FGBENCH_COMPLETE": "zzz"}, 2),
        ({"_FGBENCH_COMPLETE": "zzz_bash"}, 2),
        ({"_FGBENCH_COMPLETE": "complete_bash", "COMP_WORDS": "fgbench fl", "COMP_CWORD": "1"}, 0),
    ],
)
def test_variables_of_a_shell_s_completion_may_be_anything(variables, code):
    ended = subprocess.run(
        [sys.executable, "-m", "fgbench"], env={**os.environ, **variables}, capture_output=True, text=True, check=False
    )
    assert ended.returncode == code
    assert "internal error" not in ended.stderr
    assert len(ended.stderr.splitlines()) == (1 if code else 0)
    if variables.get("COMP_WORDS", "").endswith("fl"):
        assert code or ended.stdout == "flops\n"


@pytest.mark.slow
@pytest.mark.parametrize("words", ["--help", "--version", "flops --help", "list reports"])
def test_standard_output_may_be_full(words):
    if not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    command = [sys.executable, "-m", "fgbench", *words.split()]
    with Path("/dev/full").open("w") as full:
        ended = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
        assert ended.returncode == 2
        assert ended.stderr == "fgbench: cannot write to standard output: 'No space left on device'\n"
        both = subprocess.run([*command, "--debug"], stdout=full, stderr=full, check=False)
        assert both.returncode in (1, 2)


@pytest.mark.slow
@pytest.mark.parametrize("closed", ["0", "1", "2", "1 2", "0 1 2"])
def test_streams_may_be_closed_and_no_file_takes_their_place(closed, tmp_path):
    """A file that is opened where a stream was would take in what libraries write to that stream."""
    redirected = " ".join(f"{number}>&-" for number in closed.split())
    plugin = tmp_path / "loud.py"
    plugin.write_text("import os\nfor number in (1, 2):\n    os.write(number, b'loud')\n")
    words = f"{sys.executable} -m fgbench list reports --plugin {plugin} --output {tmp_path}/list.json {redirected}"
    ended = subprocess.run(["sh", "-c", words], capture_output=True, text=True, check=False)
    assert ended.returncode == 2  # for the plug-in, which has no report
    assert {row["from"] for row in json.loads((tmp_path / "list.json").read_text())} == {"fgbench"}
    assert "Traceback" not in ended.stderr


def test_names_in_a_data_set_may_hold_half_a_character():
    from fgbench.datasets.synthetic.dataset import synthetic
    from fgbench.training.config import identify

    made = synthetic(classes=2, train_images=2, test_images=2, side=32)
    named = [["a\ud800", "b"], ["a\udcff", "b"], ["a", "b"]]
    assert len({identify(replace(made, class_names=names))["classes"] for names in named}) == 3
