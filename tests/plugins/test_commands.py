"""Faulty plug-ins in every command: each fault is named, and the other work is done."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

import pytest
from helpers.hostile import AT_IMPORT, KINDS, plugin
from PIL import Image

TIMEOUT_S = 900
FLOPS = ("flops", "--sizes", "224", "--format", "json")
VIT = "vit_tiny_patch16_224"
# What a method does → what is said of it.
RUNNING = {
    "raises": ("raise KeyError('x')", "KeyError: 'x'"),
    "interrupts": ("raise KeyboardInterrupt", "KeyboardInterrupt"),
    "leaves": ("raise SystemExit(0)", "it calls sys.exit(0)"),
    "stops": ("raise StopIteration", "StopIteration"),
    "own": ("raise type('Own', (BaseException,), {})('mine')", "Own: mine"),
    "odd": ("return 'odd'", ""),
    "recurses": ("return self.METHOD(arg)", "RecursionError"),
    "copies": ("import os; os.fork() or os.abort(); raise KeyError('of the first')", "KeyError: 'of the first'"),
}


def selectors_that(cases=RUNNING) -> str:
    return "from fgbench_selectors import Needs, Selector\n" + "".join(
        f"class {name.title()}(Selector):\n"
        "    needs, score_shape = Needs(tokens=True), ('batch', 'patches')\n"
        f"    def published(self, arg):\n        {code.replace('METHOD', 'published')}\n"
        for name, (code, _) in cases.items()
    )


def models_that(cases=RUNNING) -> str:
    return "from fgbench.models.vit import ViT\n" + "".join(
        f"class {name.title()}(ViT):\n    def flow(self, arg):\n        {code.replace('METHOD', 'flow')}\n"
        for name, (code, _) in cases.items()
    )


def check_named(result, cases=RUNNING, file: str = "odd.py") -> None:
    for name, (_, said) in cases.items():
        found = [line for line in result.stderr.splitlines() if f"plug-in {name!r} from" in line and file in line]
        assert len(found) == 1, (name, result.stderr)
        assert said in found[0]


@pytest.fixture
def folder(tmp_path) -> Path:
    for kind in KINDS:
        (tmp_path / f"my_{kind}.py").write_text(plugin(kind, "Mine"))
    Image.new("RGB", (64, 64)).save(tmp_path / "picture.png")
    return tmp_path


@pytest.fixture
def run(folder, warm):
    return lambda *words: warm.run(*map(str, words), cwd=folder, env={**os.environ, "FGBENCH_STORE": "kept.db"})


def test_a_selector_that_breaks_while_it_is_counted(run, folder):
    (folder / "odd.py").write_text(selectors_that())
    result = run(*FLOPS, "--backbones", VIT, "--plugin", "odd.py", "my_selectors.py")
    assert result.returncode == 2
    check_named(result)
    assert {"mine", "psm"} <= {row["selector"] for row in json.loads(result.stdout)}


def test_a_model_that_breaks_while_it_is_counted(run, folder):
    (folder / "odd.py").write_text(models_that() + "class Unread(ViT):\n    accepts = 5\n")
    names = [*RUNNING, "unread", "mine", "vit"]
    result = run(*FLOPS, "--backbones", VIT, "--models", *names, "--plugin", "odd.py", "my_models.py")
    assert result.returncode == 2
    check_named(result, {name: said for name, said in RUNNING.items() if name != "odd"} | {"unread": ("", "'accepts'")})
    assert {row["model"] for row in json.loads(result.stdout)} == {None, "mine", "vit", "odd"}


LOOKING = {name: RUNNING[name] for name in ("raises", "interrupts", "own")}
LOOK = ("visualize", "picture.png", "--backbone", VIT, "--size", "96", "--format", "json", "--plugin", "odd.py")


def test_a_selector_that_breaks_while_it_looks(run, folder):
    (folder / "odd.py").write_text(selectors_that(LOOKING))
    result = run(*LOOK, "my_selectors.py", "--selectors", *LOOKING, "mine")
    assert result.returncode == 2
    check_named(result, LOOKING)
    assert [row["selector"] for row in json.loads(result.stdout) if row["scores"] is not None] == ["mine"]


def test_a_model_that_breaks_while_it_looks(run, folder):
    odd = models_that(LOOKING).replace("def flow", "def explain")
    (folder / "odd.py").write_text(
        odd.replace("fgbench.models.vit import ViT", "fgbench.models.glsim import GLSim as ViT")
    )
    result = run(*LOOK, "--models", *LOOKING, "glsim")
    assert result.returncode == 2
    check_named(result, LOOKING)
    assert {row["model"] for row in json.loads(result.stdout)} == {"glsim"}


def test_models_data_sets_and_selectors_of_files_are_trained(run, folder):
    words = ("--sizes", "32", "--epochs", "1", "--threads", "1", "--device", "cpu", "--format", "json")
    plugins = ("--plugin", "my_models.py", "my_datasets.py", "my_selectors.py")
    result = run("accuracy", "--model", "mine", "--dataset", "mine", *words, *plugins)
    (row,) = json.loads(result.stdout)
    assert (result.returncode, row["model"], row["images"]) == (0, "mine", 4)
    again = run("accuracy", "--model", "mine", "--dataset", "mine", *words, *plugins)
    assert "1 of 1 runs were in kept.db already" in again.stderr
    (folder / "my_models.py").write_text(f"{plugin('models', 'Mine')}\n# another model now\n")
    changed = run("accuracy", "--model", "mine", "--dataset", "mine", *words, *plugins)
    assert changed.returncode == 0
    assert "already" not in changed.stderr


DATASETS = {
    "raises": ("raise KeyError('x')", "KeyError: 'x'"),
    "interrupts": ("raise KeyboardInterrupt", "KeyboardInterrupt"),
    "nothing": ("return None", "its reader returned NoneType, not a DataSet"),
    "unsplit": ("return replace(synthetic(None, classes=4), train=[1])", "a split that is a list"),
    "named": ("return replace(synthetic(None, classes=4), class_names=[1, 2])", "Error"),
    "targets": ("return replace(synthetic(None, classes=4), train=Odd('targets'))", "targets must be whole numbers"),
    "lost": ("return replace(synthetic(None, classes=4), train=Odd('missing'))", "KeyboardInterrupt"),
    "unread": ("return replace(synthetic(None, classes=4, train_images=8), train=Odd('open'))", "Own: no picture"),
}


@pytest.mark.parametrize("case", DATASETS)
def test_a_data_set_that_breaks_is_named(case, run, folder):
    code, said = DATASETS[case]
    (folder / "odd.py").write_text(
        "from dataclasses import replace\nfrom pathlib import Path\n"
        "from fgbench.datasets.dataset import DataSet, Split\n"
        "from fgbench.datasets.synthetic.dataset import synthetic\n"
        "class Own(BaseException): pass\n"
        "class Odd(Split):\n"
        "    def __init__(self, how):\n"
        "        self.how = how\n"
        "        self.targets = ['a', 'b'] if how == 'targets' else [0, 1, 2, 3] * 2\n"
        "    def name(self, index): return str(index)\n"
        "    def missing(self):\n"
        "        if self.how == 'missing': raise KeyboardInterrupt\n"
        "        return []\n"
        "    def open(self, index): raise Own('no picture')\n"
        f"def odd(data_dir: Path) -> DataSet:\n    {code}\n"
    )
    words = ("--sizes", "32", "--epochs", "1", "--threads", "1", "--device", "cpu", "--model", "vit")
    result = run("accuracy", "--dataset", "odd", *words, "--plugin", "odd.py")
    assert result.returncode == 2
    (line,) = [line for line in result.stderr.splitlines() if line.startswith("fgbench: plug-in 'odd' from ")]
    assert said in line


@pytest.mark.parametrize("words", [("list", "models"), FLOPS, ("report", "kinds"), ("throughput",)])
def test_an_interrupt_of_the_user_while_foreign_code_is_tried(words, folder, warm):
    (folder / "endless.py").write_text("import pathlib, time\npathlib.Path('tried').touch()\ntime.sleep(9999)\n")
    process = warm.start(*words, "--plugin", "endless.py", cwd=folder)
    while not (folder / "tried").exists():
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=TIMEOUT_S)
    assert (process.returncode, out) == (130, "")
    assert "interrupted" in err


def test_an_interrupt_of_the_user_while_a_report_of_others_is_made(folder, warm):
    (folder / "rows.json").write_text("[]")
    waits = "import pathlib, time; pathlib.Path('made').touch(); time.sleep(9999)\n        frame"
    (folder / "endless.py").write_text(plugin("reports", "Endless").replace("        frame", f"        {waits}", 1))
    process = warm.start("report", "endless", "--rows", "rows.json", "--plugin", "endless.py", cwd=folder)
    while not (folder / "made").exists():
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=TIMEOUT_S)
    told = "fgbench: there are no rows in 'rows.json'\nfgbench: interrupted\n"
    assert (process.returncode, out, err) == (130, "", told)


def test_an_interrupt_of_the_user_that_foreign_code_swallows(folder, warm):
    swallows = "import os, signal\n        try: os.kill(os.getpid(), signal.SIGINT)\n        except BaseException: pass"
    cases = {"swallows": (f"{swallows}\n        return arg.read_tokens()[:, 1:, 0]", "")}
    (folder / "odd.py").write_text(selectors_that(cases))
    result = warm.run(*FLOPS, "--backbones", VIT, "--selectors", "swallows", "--plugin", "odd.py", cwd=folder)
    assert result.returncode == 130


@pytest.fixture
def crashing(folder) -> Path:
    """Beside the others, a distribution whose selectors, models, data sets and reports end every process."""
    info = folder / "site" / "zebra-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: zebra\nVersion: 1.0\n")
    names = ("segfaults", "ends_the_process")
    for name in names:
        (info.parent / f"zebra_{name}.py").write_text(AT_IMPORT[name][0])
    lines = [f"[fgbench.{kind}]\n" + "".join(f"{name} = zebra_{name}:Bad\n" for name in names) for kind in KINDS]
    (info / "entry_points.txt").write_text("".join(lines))
    return info.parent


BROKEN = "segfaults ends_the_process"
SHORT = "--threads 1 --device cpu --format json"


@pytest.mark.parametrize(
    ("command", "done"),
    [
        pytest.param(
            f"flops --sizes 224 --backbones {VIT} --format json", '"selector": "psm"', marks=pytest.mark.thorough
        ),
        (f"flops --sizes 224 --backbones {VIT} --models {BROKEN} vit --format json", '"model": "vit"'),
        ("report --rows rows.json --output out", ""),
        pytest.param(
            f"visualize picture.png --backbone {VIT} --size 96 --format json",
            '"selector": "psm"',
            marks=pytest.mark.thorough,
        ),
        (
            f"visualize picture.png --model {BROKEN} vit --backbone {VIT} --size 96 --selectors gls --format json",
            '"selector": "gls"',
        ),
        (
            f"throughput --model {BROKEN} vit --backbones {VIT} --sizes 32 --batch-sizes 1 --max-time 0.1s {SHORT}",
            '"model": "vit"',
        ),
        (
            f"accuracy --model {BROKEN} vit --sizes 32 --epochs 1 "
            f"--dataset-options classes=4 train_images=8 test_images=8 {SHORT}",
            '"model": "vit"',
        ),
    ],
)
def test_a_distribution_that_ends_every_process_ends_no_command(command, done, crashing, folder, warm):
    (folder / "rows.json").write_text("[]")
    beside = os.pathsep.join(filter(None, [str(crashing), os.environ.get("PYTHONPATH")]))
    env = {**os.environ, "PYTHONPATH": beside, "FGBENCH_STORE": "kept.db"}
    result = warm.run(*command.split(), cwd=folder, env=env)
    assert result.returncode == 2, result.stderr
    assert done in result.stdout
    for name in BROKEN.split():
        (line,) = [line for line in result.stderr.splitlines() if f"plug-in {name!r} from zebra is broken" in line]
        assert AT_IMPORT[name][1] in line
    if command.startswith("report"):
        assert (folder / "out" / "tables" / "table1.csv").is_file()
