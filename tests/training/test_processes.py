"""Real processes: killed at any moment, interrupted, and two of them that share one run.

One run, and one launch of two, are started as they are typed; the others are forked with torch loaded.
"""

from __future__ import annotations

import json
import os
import random
import signal
import socket
import subprocess
import sys
import time

import pytest
import safetensors.torch
import torch
from PIL import Image

from fgbench.training.loading import training_batches

pytestmark = pytest.mark.slow
KILLS, EPOCHS = 3, 8
DATA = ["--dataset-options", "classes=4", "train_images=128", "test_images=30", "side=48", "--sizes", "32"]
RUN = [*DATA, "--batch-size", "8", "--threads", "1", "--device", "cpu", "--format", "json"]
CAL = ["--model", "cal", "--backbone", "resnet18", "--epochs", "1", *(w.replace("128", "64") for w in RUN)]
VIT = ["--model", "vit", "--backbone", "test_vit", "--epochs", str(EPOCHS), *RUN]
# What "--cpu --num_processes 2" starts is one process; "--multi_gpu" starts torch's own launcher, without a GPU too.
LAUNCH = [sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2"]
LAUNCH += ["--num_machines", "1", "--mixed_precision", "no", "--dynamo_backend", "no"]


def free_port() -> str:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return str(free.getsockname()[1])


def place(folder) -> dict:
    folder.mkdir(exist_ok=True)
    return {"cwd": folder, "env": {**os.environ, "OMP_NUM_THREADS": "1", "FGBENCH_STORE": str(folder / "fgbench.db")}}


def start_anew(folder, *words, launcher=(sys.executable,)):
    """All as it is typed: what the other tests fork is loaded here."""
    command = [*launcher, "-m", "fgbench", "accuracy", *words]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **place(folder))


@pytest.fixture
def start(warm):
    return lambda folder, *words: warm.start("accuracy", *words, **place(folder))


@pytest.fixture
def start_two(warm):
    """Two processes that are told of each other as torch's launcher tells them."""

    def start_two(folder, *words):
        there = place(folder)
        told = {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": free_port()}
        told |= {"ACCELERATE_MIXED_PRECISION": "no", "ACCELERATE_DYNAMO_BACKEND": "NO", **there.pop("env")}
        ranks = ({"RANK": rank, "LOCAL_RANK": rank} for rank in "01")
        return [warm.start("accuracy", *words, **there, env={**told, **rank}) for rank in ranks]

    return start_two


def finish(*processes) -> tuple[list[dict], str]:
    """Rows, and what was said; of two processes one has rows."""
    texts = [process.communicate(timeout=900) for process in processes]
    out, said = ("".join(each) for each in zip(*texts, strict=True))
    assert {process.returncode for process in processes} == {0}, said
    return json.loads(out), said


def weights(folder):
    return safetensors.torch.load_file(next(folder.glob("fgbench-checkpoints/*/last.safetensors")))


def losses_of(said: str) -> list[float]:
    return [float(line.partition("loss ")[2].partition(",")[0]) for line in said.splitlines() if ": epoch " in line]


def same(one, two) -> bool:
    return one.keys() == two.keys() and all(torch.equal(one[name], two[name]) for name in one)


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """One uninterrupted run of one process."""
    folder = tmp_path_factory.mktemp("alone")
    (row,), said = finish(start_anew(folder, *VIT))
    assert said.count(": epoch ") == EPOCHS
    return folder, row, losses_of(said)


def test_a_run_that_is_killed_again_and_again_ends_where_the_uninterrupted_one_did(alone, start, tmp_path):
    uninterrupted, expected, _ = alone
    epochs: list[str] = []
    for kill in range(KILLS):
        child = start(tmp_path, *VIT)
        for line in child.stderr:  # after an epoch, somewhere in the next one
            if ": epoch " in line:
                epochs.append(line.partition(": epoch ")[2].partition(",")[0])
                break
        time.sleep(random.Random(kill).uniform(0, 0.4))
        child.kill()
        child.communicate(timeout=600)
    (row,), said = finish(start(tmp_path, *VIT))
    after = [line.partition(": epoch ")[2].partition(",")[0] for line in said.splitlines() if ": epoch " in line]
    # A kill costs at most the epoch under way: each begins at most one behind the last that was told.
    assert all(int(later) >= int(earlier) for earlier, later in zip(epochs, [*epochs[1:], *after[:1]], strict=False))
    assert int(epochs[-1]) >= KILLS - 1
    for name in ("top1_percent", "top5_percent", "best_top1_percent", "best_epoch", "images", "lr"):
        assert row[name] == expected[name], name
    assert same(weights(tmp_path), weights(uninterrupted))


def test_ctrl_c_says_where_it_goes_on(start, tmp_path):
    child = start(tmp_path, *VIT, "--epochs", "500")  # it does not end before it hears of the interrupt
    said = ""
    for line in child.stderr:
        said += line
        if ": epoch 2" in line:
            child.send_signal(signal.SIGINT)
            break
    out, rest = child.communicate(timeout=600)
    assert child.returncode == 130, said + rest
    assert out.strip() in ("", "[]")
    assert rest.strip().splitlines()[-1].endswith("of vit at 32, seed 0; start again, and it goes on there"), rest
    assert "Traceback" not in rest


def test_two_processes_test_exactly_what_one_does(alone, start, start_two, tmp_path):
    """30 images in batches of 7: neither processes nor batches have equal shares."""
    uninterrupted, row, _ = alone
    checkpoint = str(uninterrupted / row["checkpoint"])
    more = [*VIT, "--test-only", "--checkpoint", checkpoint, "--test-batch-size", "7", "--details"]
    (one,), _ = finish(start(tmp_path / "one", *more))
    (two,), _ = finish(*start_two(tmp_path / "two", *more))
    assert two["environment"]["processes"] == 2
    for name in ("top1_percent", "top5_percent", "images", "classes", "confusions"):
        assert one[name] == two[name], name
    assert one["images"] == 30
    assert one["top1_percent"] == row["top1_percent"]


def test_two_processes_train_one_model(alone, tmp_path):
    """A model without batch statistics takes the same steps up to rounding."""
    uninterrupted, one, losses = alone
    (two,), said = finish(start_anew(tmp_path, *VIT, launcher=[*LAUNCH, "--main_process_port", free_port()]))
    assert losses_of(said) == pytest.approx(losses, abs=2e-3)  # as many: one process alone speaks
    assert (one["images"], two["images"]) == (30, 30)
    expected, found = weights(uninterrupted), weights(tmp_path)
    assert max(float((found[name] - expected[name]).abs().max()) for name in expected) < 5e-3


def test_two_processes_train_a_model_whose_selector_learns_nothing_from_its_loss(start_two, tmp_path):
    words = ["--model", "glsim", "--selectors", "sacm", "--backbone", "test_vit", "--epochs", "1", *RUN]
    (row,), _ = finish(*start_two(tmp_path, *words))
    assert (row["selector"], row["images"]) == ("sacm", 30)


def test_what_two_processes_could_not_read_is_counted_once_and_together(start_two, tmp_path):
    for split, count in (("train", 200), ("test", 8)):
        for index in range(count):
            path = tmp_path / "data" / split / "ab"[index % 2] / f"{index}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (48, 48), (index, 80 * (index % 2), 90)).save(path)
    paths = sorted((tmp_path / "data" / "train").rglob("*.png"))
    whole = {place: path.read_bytes() for place, path in enumerate(paths)}
    own = [{i for batch in training_batches(200, 8, 1, 1, process=p, processes=2) for i in batch} for p in (0, 1)]
    words = ["--model", "vit", "--backbone", "test_vit", "--dataset", "folder", "--data-dir", str(tmp_path / "data")]
    words += ["--sizes", "32", "--epochs", "1", "--batch-size", "8", "--lr", "1e-3", "--seeds", "1", *RUN[-6:]]
    for place in (min(own[0]), min(own[1])):
        paths[place].write_bytes(whole[place][:60])
    (row,), _ = finish(*start_two(tmp_path / "run", *words))
    assert row["unreadable_train_images"] == 2


def test_two_processes_train_cal_and_agree_on_its_statistics_and_centers(start_two, tmp_path):
    (row,), _ = finish(*start_two(tmp_path, *CAL))
    assert row["images"] == 30
    assert weights(tmp_path)["feature_center"].abs().sum() > 0
