"""Tests that need whole processes: other distributions, interrupts, closed pipes.

Where the start is not what is tested, they are forked with torch loaded.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
TIMEOUT_S = 900


def fgbench(*words: str, **options) -> subprocess.CompletedProcess[str]:
    """As it is typed, with all that it loads."""
    command = [sys.executable, "-m", "fgbench", *words]
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
    return subprocess.run(command, **streams, text=True, timeout=TIMEOUT_S, check=False)


def beside(installed: Path) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(installed)}


@pytest.fixture(scope="module")
def third_party(tmp_path_factory) -> Path:
    """A tiny distribution with one good and one broken selector, installed into a folder of its own."""
    project = tmp_path_factory.mktemp("project")
    installed = tmp_path_factory.mktemp("installed")
    (project / "tiny_selector.py").write_text(
        "from fgbench_selectors import Needs, Selector\n\n\n"
        "class Energy(Selector):\n"
        '    """Squared length of every patch token."""\n\n'
        "    needs = Needs(tokens=True)\n"
        '    score_shape = ("batch", "patches")\n\n'
        "    def published(self, features):\n"
        "        return features.read_tokens()[:, features.num_prefix_tokens :].square().sum(dim=-1)\n"
    )
    (project / "tiny_report.py").write_text(
        "import pandas as pd\n\n"
        "from fgbench_reports.report import Report\n"
        "from fgbench_reports.tables import made\n\n\n"
        "class Kinds(Report):\n"
        '    """How many rows there are of each kind."""\n\n'
        "    def items(self, data):\n"
        '        frame = pd.DataFrame({"kind": ["flops"], "rows": [len(data.flops)]})\n'
        '        yield made("kinds", "Rows by kind", frame, {"rows": str})\n'
    )
    (project / "tiny_engine.py").write_text(
        "import torch\n\n"
        "from fgbench.measure.engine import Batch, Engine\n\n\n"
        "class Traced(Engine):\n"
        '    """A traced graph of torch."""\n\n'
        "    def load(self, subject):\n"
        '        network = subject.build("cpu")\n'
        '        run = lambda images: {"logits": network(images).detach().numpy()}\n'
        "        return lambda size: Batch(lambda: network(*subject.inputs(size)), outputs=run)\n"
    )
    (project / "pyproject.toml").write_text(
        '[build-system]\nrequires = ["hatchling"]\nbuild-backend = "hatchling.build"\n\n'
        '[project]\nname = "tiny-selector"\nversion = "1.0"\ndependencies = ["fgbench"]\n\n'
        '[project.entry-points."fgbench.selectors"]\n'
        'energy = "tiny_selector:Energy"\nlost = "tiny_selector_that_is_not_there:Lost"\n\n'
        '[project.entry-points."fgbench.reports"]\nkinds = "tiny_report:Kinds"\nlost = "tiny_report:Lost"\n\n'
        '[project.entry-points."fgbench.engines"]\ntraced = "tiny_engine:Traced"\n\n'
        '[tool.hatch.build.targets.wheel]\nonly-include = ["tiny_selector.py", "tiny_report.py", "tiny_engine.py"]\n'
    )
    subprocess.run(
        [
            *(sys.executable, "-m", "uv", "pip", "install", "--quiet", "--offline", "--no-deps"),
            *("--no-build-isolation", "--python", sys.executable, "--target", str(installed), str(project)),
        ],
        check=True,
        timeout=TIMEOUT_S,
    )
    return installed


def test_a_third_party_selector_is_listed_and_a_broken_one_is_named(third_party, warm):
    result = warm.run("list", "--format", "json", env=beside(third_party))
    rows = {row["name"]: row for row in json.loads(result.stdout)}
    assert rows["energy"]["from"] == "tiny-selector"
    assert rows["energy"]["description"] == "Squared length of every patch token"
    assert rows["lost"]["description"].startswith("broken: ModuleNotFoundError")
    assert rows["psm"]["from"] == "fgbench"
    assert result.returncode == 2
    assert len(result.stderr.splitlines()) == 1
    assert "plug-in 'lost' from tiny-selector is broken" in result.stderr


def test_a_third_party_selector_is_counted_beside_the_built_in_ones(third_party, warm):
    words = ["flops", "--sizes", "224", "--backbones", "vit_tiny_patch16_224", "--format", "json"]
    result = warm.run(*words, env=beside(third_party))
    rows = json.loads(result.stdout)
    assert [row["flops"] for row in rows if row["selector"] == "energy"] == [2 * 196 * 192] * 2
    assert {"psm", "rollout", "maws", "sacm", "gls", "attention"} < {row["selector"] for row in rows}
    assert (result.returncode, len(result.stderr.splitlines())) == (2, 1)
    chosen = fgbench(*words, "--selectors", "energy", env=beside(third_party))
    assert (chosen.returncode, chosen.stderr) == (0, "")


def test_a_third_party_selector_passes_the_conformance_test(third_party, warm):
    tests = ROOT / "tests" / "selectors" / "test_conformance.py"
    words = ["-q", "-p", "no:cacheprovider", "--assert=plain", str(tests), "-k", "energy or lost", "-rA"]
    result = warm.run(*words, module="pytest", cwd=ROOT, env=beside(third_party))
    assert "PASSED tests/selectors/test_conformance.py::test_selector_conforms[energy]" in result.stdout
    assert "FAILED tests/selectors/test_conformance.py::test_selector_conforms[lost]" in result.stdout


def test_a_third_party_report_stands_beside_the_others_and_a_broken_one_takes_none_down(third_party, warm, tmp_path):
    (tmp_path / "rows.json").write_text("[]")
    listed = warm.run("list", "reports", "--format", "json", env=beside(third_party))
    rows = {row["name"]: row for row in json.loads(listed.stdout)}
    assert rows["kinds"]["from"] == rows["lost"]["from"] == "tiny-selector"
    assert rows["lost"]["description"].startswith("broken: AttributeError")
    words = ("report", "kinds", "--rows", str(tmp_path / "rows.json"))
    made = warm.run(*words, "--format", "csv", env=beside(third_party))
    assert (made.returncode, made.stdout) == (0, "kind,rows\nflops,0\n")
    assert "there are no rows in" in made.stderr
    all_of_them = warm.run("report", *words[2:], "--output", str(tmp_path / "out"), env=beside(third_party))
    assert all_of_them.returncode == 2
    assert "plug-in 'lost' from tiny-selector is broken" in all_of_them.stderr
    assert (tmp_path / "out" / "tables" / "kinds.csv").is_file()
    assert (tmp_path / "out" / "tables" / "table1.csv").is_file()


def test_a_third_party_engine_is_listed_measured_and_reported(third_party, warm, tmp_path):
    listed = warm.run("list", "engines", "--format", "json", env=beside(third_party))
    row = next(row for row in json.loads(listed.stdout) if row["name"] == "traced")
    assert (row["from"], row["usable here"], row["devices"]) == ("tiny-selector", "yes", "cpu")
    small = (
        "--model",
        "vit",
        "--backbones",
        "test_vit",
        "--sizes",
        "64",
        "--batch-sizes",
        "1",
        "2",
        "--max-time",
        "0.1s",
    )
    sweep = (
        "throughput",
        *small,
        "--engine",
        "torch",
        "traced",
        "--device",
        "cpu",
        "--threads",
        "1",
        "--store",
        "s.db",
    )
    measured = warm.run(*sweep, cwd=tmp_path, env=beside(third_party))
    assert measured.returncode == 0, measured.stderr
    assert "traced" in measured.stdout
    rows = json.loads(warm.run("export", "throughput", "--store", "s.db", cwd=tmp_path, env=beside(third_party)).stdout)
    agreement = {row["engine"]: row["agreement"] for row in rows}
    assert agreement["torch"] is None
    assert agreement["traced"]["equal_top1_percent"] == 100
    words = ("report", "throughput", "engines", "batch", "--store", "s.db", "--output", "out")
    assert warm.run(*words, cwd=tmp_path, env=beside(third_party)).returncode == 0
    tables = [path.read_text(encoding="utf-8") for path in (tmp_path / "out" / "tables").glob("*.csv")]
    assert sum("traced" in table for table in tables) >= 2
    figures = [path.read_text(encoding="utf-8") for path in (tmp_path / "out").rglob("*.svg")]
    assert any("traced" in figure for figure in figures)


def test_an_interrupt_keeps_what_is_finished_and_says_so(warm, tmp_path):
    plugin = tmp_path / "stop.py"
    plugin.write_text(
        "import os, signal\n"
        "from fgbench_selectors import Needs, Selector\n"
        "class Stop(Selector):\n"
        "    needs, score_shape = Needs(tokens=True), ('batch', 'patches')\n"
        "    def published(self, features):\n"
        "        if features.num_patches > 196:\n"
        "            os.kill(os.getpid(), signal.SIGINT)\n"
        "        return features.read_tokens()[:, 1:, 0]\n"
    )
    words = ["--backbones", "vit_tiny_patch16_224", "--sizes", "224", "448", "--format", "json"]
    result = warm.run("flops", *words, "--selectors", "gls", "stop", "--plugin", str(plugin))
    assert result.returncode == 130
    assert {row["image_size"] for row in json.loads(result.stdout)} == {224}
    assert "rows were finished and kept" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize("command", ["list", "flops"])
def test_an_interrupt_outside_of_the_count_says_so(command, warm, tmp_path):
    """While a plug-in file is tried, which never ends."""
    (tmp_path / "endless.py").write_text(
        "import os, pathlib, time\nprint(1)\npathlib.Path('tried').touch()\ntime.sleep(9999)\n"
    )
    process = warm.start(command, "--plugin", "endless.py", cwd=tmp_path)
    while not (tmp_path / "tried").exists():
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=TIMEOUT_S)
    assert (process.returncode, out, err) == (130, "", "fgbench: interrupted\n")


def test_an_interrupt_before_anything_is_imported_says_so():
    code = (
        "import sys, fgbench.__main__\n"
        "class Stop:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name == 'typer': raise KeyboardInterrupt\n"
        "sys.meta_path.insert(0, Stop())\n"
        "fgbench.__main__.main()"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (result.returncode, result.stderr) == (130, "fgbench: interrupted\n")


def test_the_command_is_the_module():
    assert 'fgbench = "fgbench.__main__:main"' in (ROOT / "pyproject.toml").read_text()


CLOSING = (
    "import sys\n"
    "from fgbench_selectors import Needs, Selector\n"
    "class Closing(Selector):\n"
    "    needs, score_shape = Needs(tokens=True), ('batch', 'patches')\n"
    "    def published(self, features):\n"
    "        print('spoken')\n"
    "        sys.stdout.close()\n"
    "        return features.read_tokens()[:, 1:, 0]\n"
)


def test_standard_output_belongs_to_the_result_whatever_a_plug_in_does(warm, tmp_path):
    plugin = tmp_path / "loud.py"
    plugin.write_text("import os\nos.system('echo from a child')\nos.write(1, b'from below\\n')\n" + CLOSING)
    words = ["--backbones", "vit_tiny_patch16_224", "--sizes", "224", "--selectors", "closing", "--format", "json"]
    result = warm.run("flops", *words, "--plugin", str(plugin))
    assert len(json.loads(result.stdout)) == 3
    assert {"spoken", "from a child", "from below"} <= set(result.stderr.splitlines())
    assert result.returncode == 0


def test_what_nobody_foresaw_is_one_line_and_a_traceback_on_request(warm, tmp_path):
    plugin = tmp_path / "sabotage.py"
    plugin.write_text("import torch\ntorch.empty = None\n" + CLOSING)
    words = ["flops", "--backbones", "vit_tiny_patch16_224", "--sizes", "224", "--plugin", str(plugin)]
    result = warm.run(*words)
    assert (result.returncode, result.stdout) == (3, "")
    (line,) = result.stderr.splitlines()
    assert line.startswith("fgbench: internal error: TypeError")
    assert line.endswith("--debug shows where")
    assert "Traceback" in warm.run(*words, "--debug").stderr


@pytest.mark.parametrize("words", [["list", "reports"], ["--help"], ["flops", "--help"]])
def test_a_reader_that_goes_away_is_no_error_worth_a_word(words):
    read, write = os.pipe()
    process = subprocess.Popen(
        [sys.executable, "-m", "fgbench", *words], stdout=write, stderr=subprocess.PIPE, text=True
    )
    os.close(read)
    os.close(write)
    _, complaints = process.communicate(timeout=TIMEOUT_S)
    assert (process.returncode, complaints) == (128 + signal.SIGPIPE, "")


def test_what_a_ci_wants_of_terminals_does_not_reach_the_expected_tables():
    tables = sorted((ROOT / "tests" / "reports").glob("test_*_table*.py"))
    tables = [path for path in tables if "paper" not in path.name and "formats" not in path.name]
    assert len(tables) >= 6
    wishes = {"FORCE_COLOR": "1", "TTY_COMPATIBLE": "1", "COLUMNS": "40"}
    without = "not the_work_for and not any_rows and not any_choice and not figures"  # they expect no text
    result = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *map(str, tables), "-k", without],
        cwd=ROOT,
        env={**os.environ, **wishes},
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    assert result.returncode == 0, result.stdout


def test_a_full_disk_gives_one_line():
    if not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    result = fgbench("list", "reports", "--output", "/dev/full")
    assert result.returncode == 2
    assert result.stderr.splitlines() == ["fgbench: cannot write to '/dev/full'; No space left on device"]
    with Path("/dev/full").open("w") as full:
        result = fgbench("list", "reports", stdout=full)
    assert result.returncode == 2
    assert len(result.stderr.splitlines()) == 1
    assert "cannot write to standard output" in result.stderr
