"""Commands on a real Ray cluster of three one-processor nodes, beside the same commands without it."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from fgbench.cluster.code import copy_code
from fgbench.results.store import Store

SWEEP = ["throughput", "--model", "vit", "glsim", "--backbones", "test_vit", "--num-classes", "10", "--device", "cpu"]
SWEEP += ["--threads", "1", "--max-time", "0.05s"]
GRID = ["--sizes", "64", "96", "128", "--batch-sizes", "1", "2", "3", "4"]  # 24 points in six groups
MARK = "FGBENCH_CLUSTER_TEST"  # as conftest.py sets it
DATA = ["--dataset-options", "classes=4", "train_images=16", "test_images=8", "--sizes", "64", "--epochs", "2"]
DATA += ["--threads", "1", "--device", "cpu", "--backbones", "test_vit"]
SAME = ("top1_percent", "top5_percent", "images", "lr", "best_top1_percent", "best_epoch")


def fgbench(*words: str, cwd: Path, expect: int | None = 0, **options) -> subprocess.CompletedProcess[str]:
    run = subprocess.run(
        [sys.executable, "-m", "fgbench", *words],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
        **options,
    )
    assert expect is None or run.returncode == expect, run.stderr[-3000:]
    return run


def rows(store: Path, kind: str) -> dict[str, dict]:
    with Store(store, read_only=True) as opened:
        keys = [key for (key,) in opened._db.execute("SELECT key FROM points WHERE kind = ?", (kind,))]
        assert len(keys) == len(set(keys)), "every point once"
        return {key: opened.get(kind, key) for key in keys}


def of_fgbench() -> list[psutil.Process]:
    """Processes of these tests that measure or train, on whatever node; other tests have others beside them."""
    found = []
    for process in psutil.process_iter(["cmdline"]):
        words = " ".join(process.info["cmdline"] or ())
        with contextlib.suppress(psutil.Error):
            if "fgbench.workers" in words and process.environ().get(MARK) == os.environ[MARK]:
                found.append(process)
    return found


def no_process_is_left(before: list[psutil.Process]) -> None:
    until = time.monotonic() + 90
    while left := [process for process in of_fgbench() if process not in before]:
        assert time.monotonic() < until, left
        time.sleep(0.5)


@pytest.fixture(scope="module")
def swept_here(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("here")
    fgbench(*SWEEP, *GRID, "--store", "rows.db", cwd=folder)
    return folder / "rows.db"


def test_a_sweep_has_the_keys_of_one_without_ray_and_one_group_a_node(cluster, swept_here, tmp_path):
    run = fgbench(*SWEEP, *GRID, "--store", "rows.db", "--on", cluster.address, "--format", "json", cwd=tmp_path)
    there, here = rows(tmp_path / "rows.db", "throughput"), rows(swept_here, "throughput")
    assert there.keys() == here.keys()
    assert len(json.loads(run.stdout)) == len(there) == 24
    assert all(row["latency_s"] for row in there.values())
    nodes = {row["environment"]["node"] for row in there.values()}
    assert len(nodes) == 3
    assert all("node" not in row["environment"] for row in here.values())
    groups: dict[str, list[tuple[str, int]]] = {}
    for row in sorted(there.values(), key=lambda row: row["environment"]["time"]):
        groups.setdefault(row["environment"]["node"], []).append((row["model"], row["image_size"]))
    for visits in groups.values():  # the points of a group lie together: one group at a time
        changes = [visits[0], *(after for before, after in itertools.pairwise(visits) if before != after)]
        assert len(changes) == len(set(visits))
    again = fgbench(*SWEEP, *GRID, "--store", "rows.db", "--on", cluster.address, cwd=tmp_path)
    assert "24 of 24 points were in rows.db already" in again.stderr


def test_a_study_is_bit_equal_to_one_without_ray(cluster, tmp_path):
    study = ["study", "table5", *DATA, "--seeds", "1", "2", "3"]
    fgbench(*study, "--store", "here.db", "--checkpoints", "ck-here", cwd=tmp_path)
    fgbench(*study, "--store", "there.db", "--checkpoints", "ck-there", "--on", cluster.address, cwd=tmp_path)
    here, there = (rows(tmp_path / name, "accuracy") for name in ("here.db", "there.db"))
    assert len(here) == 12
    assert {key: [row.get(name) for name in SAME] for key, row in here.items()} == {
        key: [row.get(name) for name in SAME] for key, row in there.items()
    }
    for kind in ("predictions", "study", "accuracy_epoch"):
        ours, theirs = rows(tmp_path / "here.db", kind), rows(tmp_path / "there.db", kind)
        assert ours.keys() == theirs.keys()
    assert all(row["train_loss"] == theirs[key]["train_loss"] for key, row in rows(tmp_path / "here.db", kind).items())
    assert len({row["environment"]["node"] for row in there.values()}) == 3


def test_accuracy_searches_and_trains_there_and_is_shown_here(cluster, tmp_path):
    words = ["accuracy", "--model", "vit", "--lr", "0.01", "0.001", *DATA, "--seeds", "1", "2", "--store", "a.db"]
    words[words.index("--backbones")] = "--backbone"
    run = fgbench(*words, "--on", cluster.address, "--format", "json", cwd=tmp_path)
    shown = json.loads(run.stdout)
    assert len(rows(tmp_path / "a.db", "accuracy_search")) == 2
    assert len(rows(tmp_path / "a.db", "accuracy")) == 2
    here = fgbench(*words, "--format", "json", cwd=tmp_path)
    assert "2 of 2 runs were in a.db already" in here.stderr
    assert [row["top1_percent"] for row in json.loads(here.stdout)] == [row["top1_percent"] for row in shown]


def test_two_processes_by_ray_train_have_the_metrics_of_accelerate_launch(cluster, tmp_path):
    words = ["accuracy", "--model", "glsim", *DATA, "--seeds", "1"]
    words[words.index("--backbones")] = "--backbone"
    fgbench(*words, "--store", "there.db", "--on", cluster.address, "--gpus-per-run", "2", cwd=tmp_path)
    launch = ["-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2", "--num_machines", "1"]
    launch += ["--mixed_precision", "no", "--dynamo_backend", "no", "--main_process_port", "0", "-m", "fgbench"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    subprocess.run(
        [sys.executable, *launch, *words, "--store", "here.db"],
        cwd=tmp_path,
        env=environment,
        check=True,
        capture_output=True,
        timeout=600,
    )
    here, there = (rows(tmp_path / name, "accuracy") for name in ("here.db", "there.db"))
    assert [[row.get(name) for name in SAME] for row in here.values()] == [
        [row.get(name) for name in SAME] for row in there.values()
    ]
    assert {row["environment"]["processes"] for row in (*here.values(), *there.values())} == {2}
    losses = [
        [row["train_loss"] for row in rows(tmp_path / name, "accuracy_epoch").values()]
        for name in ("here.db", "there.db")
    ]
    assert losses[0] == losses[1]
    refused = fgbench(*words, "--on", cluster.address, "--gpus-per-run", "9", cwd=tmp_path, expect=3)
    assert "the cluster has 3 places, and a run was to take 9" in refused.stderr


def test_selectors_are_measured_there(cluster, tmp_path):
    words = ["selection", "--selector", "psm", "maws", "--sizes", "64", "--device", "cpu", "--threads", "1"]
    words += ["--max-time", "0.05s", "--batch-size", "1", "--format", "json"]
    there = fgbench(*words, "--store", "there.db", "--on", cluster.address, cwd=tmp_path)
    here = fgbench(*words, "--store", "here.db", cwd=tmp_path)
    assert rows(tmp_path / "there.db", "selection").keys() == rows(tmp_path / "here.db", "selection").keys()
    assert [row["selector"] for row in json.loads(there.stdout)] == [row["selector"] for row in json.loads(here.stdout)]


def test_plug_ins_and_files_of_models_travel(cluster, tmp_path):
    (tmp_path / "net.py").write_text(
        "import torch\n"
        "def small():\n"
        "    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 64 * 64, 10))\n"
    )
    words = ["throughput", "--model", "net.py:small", "--sizes", "64", "--batch-sizes", "1", "--device", "cpu"]
    words += ["--threads", "1", "--max-time", "0.05s"]
    fgbench(*words, "--store", "there.db", "--on", cluster.address, cwd=tmp_path)
    fgbench(*words, "--store", "here.db", cwd=tmp_path)
    assert rows(tmp_path / "there.db", "throughput").keys() == rows(tmp_path / "here.db", "throughput").keys()


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["--accelerators", "H100"], 3, "no node has an accelerator 'H100'; the cluster has CPU"),
        (["--nodes", "nobody"], 2, "no node is called, or labelled, 'nobody'; the cluster has "),
        (["--plugin", "nofile.py"], 2, "nofile.py"),
    ],
)
def test_what_a_cluster_does_not_have_is_one_line(cluster, tmp_path, words, code, says):
    base = [word for word in SWEEP if word not in ("--device", "cpu")]
    run = fgbench(*base, *GRID, *words, "--on", cluster.address, cwd=tmp_path, expect=code)
    assert says in run.stderr
    assert run.stderr.count("\n") == 1


def test_nodes_are_taken_by_their_labels(cluster, tmp_path):
    words = [*SWEEP, "--sizes", "64", "--batch-sizes", "1", "--nodes", "rack=7", "--store", "a.db"]
    fgbench(*words, "--on", cluster.address, cwd=tmp_path)
    assert len({row["environment"]["node"] for row in rows(tmp_path / "a.db", "throughput").values()}) == 1


@pytest.mark.thorough  # a node more, beside those of another process of tests, is much for a small machine
def test_a_node_with_other_code_is_refused_unless_it_is_sent_this_one(cluster, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    copy_code(other)
    (other / "fgbench" / "measure" / "new.py").write_text("# a line that is not here\n")
    words = [*SWEEP, "--sizes", "64", "--batch-sizes", "1", "--nodes", "code=other", "--store", "a.db"]
    with cluster.node_with(other):
        refused = fgbench(*words, "--on", cluster.address, cwd=tmp_path, expect=2)
        assert re.fullmatch(
            r"fgbench: node \S+ has fgbench \S+, code \w{16}, and this is fgbench \S+, code \w{16}; "
            r"install the same there, or add --ship-code\n",
            refused.stderr,
        )
        fgbench(*words, "--on", cluster.address, "--ship-code", cwd=tmp_path)
    fgbench(*words[:-4], "--store", "here.db", cwd=tmp_path)
    assert rows(tmp_path / "a.db", "throughput").keys() == rows(tmp_path / "here.db", "throughput").keys()


def kill_a_node(cluster, run) -> None:
    cluster.kill_a_node()


def kill_a_worker(cluster, run) -> None:
    workers = []
    for process in of_fgbench():
        with contextlib.suppress(psutil.Error, AttributeError):  # it has just ended
            if "fgbench.workers" in " ".join(process.parent().cmdline()):
                workers.append(process)
    if workers:
        random.choice(workers).kill()


def kill_the_driver(cluster, run) -> None:
    run.send_signal(signal.SIGKILL)


@pytest.mark.parametrize("times", [1, pytest.param(10, marks=pytest.mark.thorough)])
@pytest.mark.parametrize("kill", [kill_a_node, kill_a_worker, kill_the_driver])
def test_kills_lose_nothing_and_leave_nothing(cluster, swept_here, tmp_path, kill, times):
    """At random moments of sweeps with one store; in the end every point is there once, and no process is left."""
    before, rng = of_fgbench(), random.Random(times)
    words = [sys.executable, "-m", "fgbench", *SWEEP, *GRID, "--store", "rows.db", "--on", cluster.address]
    kills = 0
    while kills < times:
        cluster.settle()
        again = ["--again"] if kills else []  # so that there is something to kill
        run = subprocess.Popen([*words, *again], cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        _wait_for_workers(before, run)
        time.sleep(rng.uniform(0.0, 4.0))
        kill(cluster, run)
        kills += 1
        run.wait(600)
        no_process_is_left(before)
    cluster.settle()
    fgbench(*words[3:], "--retry", cwd=tmp_path)
    with Store(tmp_path / "rows.db", read_only=True) as store:
        there = {key: store.get("throughput", key) for (key,) in store._db.execute("SELECT DISTINCT key FROM points")}
    assert there.keys() == rows(swept_here, "throughput").keys()
    assert all(row["latency_s"] for row in there.values())
    no_process_is_left(before)


def _wait_for_workers(before, run) -> None:
    until = time.monotonic() + 240
    while run.poll() is None and not [process for process in of_fgbench() if process not in before]:
        assert time.monotonic() < until
        time.sleep(0.2)


def test_ctrl_c_ends_what_is_under_way_everywhere_and_keeps_what_is_finished(cluster, tmp_path):
    before = of_fgbench()
    words = [sys.executable, "-m", "fgbench", *SWEEP, *GRID, "--store", "rows.db", "--on", cluster.address]
    words[words.index("0.05s")] = "3s"
    run = subprocess.Popen(words, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    for line in run.stderr:  # of the first finished point
        if "img/s" in line:
            break
    run.send_signal(signal.SIGINT)
    _, errors = run.communicate(timeout=200)
    assert run.returncode == 130, errors
    assert "interrupted; " in errors
    assert "Traceback" not in errors
    assert 1 <= len(rows(tmp_path / "rows.db", "throughput")) < 24
    no_process_is_left(before)


def test_local_listens_on_loopback_alone(tmp_path):
    """A Ray of its own: every port that its processes listen on, while it measures, is of this machine alone."""
    words = [sys.executable, "-m", "fgbench", *SWEEP, "--sizes", "64", "--batch-sizes", "1", "--on", "local"]
    words[words.index("0.05s")] = "5s"
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_ENABLE")}
    errors = tmp_path / "errors.txt"
    with errors.open("w") as told:
        run = subprocess.Popen(words, cwd=tmp_path, env=environment, stdout=subprocess.DEVNULL, stderr=told)
    heard: set[str] = set()
    began = time.monotonic()
    while run.poll() is None and time.monotonic() - began < 500:
        heard |= _listening(run.pid)
        time.sleep(0.3)
    assert run.returncode == 0, errors.read_text()[-2000:]
    assert heard
    assert {address.removeprefix("::ffff:") for address in heard} <= {"127.0.0.1", "::1"}


def _listening(pid: int) -> set[str]:
    """Addresses that a process and its descendants listen on."""
    found: set[str] = set()
    try:
        family = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    except psutil.Error:
        return found
    for process in family:
        try:
            found |= {c.laddr.ip for c in process.net_connections("inet") if c.status == psutil.CONN_LISTEN}
        except psutil.Error:
            continue
    return found
