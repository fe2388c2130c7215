"""``fgbench accuracy`` as it is typed, in this process."""

from __future__ import annotations

import csv
import io
import json

import pytest
import torch
from typer.testing import CliRunner

from fgbench.cli import app
from fgbench.errors import CannotMeasureError
from fgbench.plugins.registry import selectors
from fgbench.results.files import rows_of_store
from fgbench.results.proportions import wilson
from fgbench.results.records import AccuracyRow, PredictionsRow, QualityRow, saved_fields
from fgbench.results.store import Store

pytestmark = pytest.mark.slow
DATA = ["--dataset-options", "classes=4", "train_images=32", "test_images=24", "side=48"]
TINY = [*DATA, "--sizes", "32", "--epochs", "2", "--threads", "1", "--device", "cpu"]


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.delenv("FGBENCH_STORE", raising=False)
    monkeypatch.chdir(tmp_path)
    return lambda *words: CliRunner().invoke(app, ["accuracy", *words])


def rows_of(result) -> list[dict]:
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout)


def mean_has_no_interval(row) -> bool:
    return row["run"] is row["top1_ci95_low_percent"] is row["top1_ci95_high_percent"] is None


def test_rows_of_several_seeds_and_their_mean(run, tmp_path):
    result = run("--model", "vit", "glsim", "--seeds", "1", "10", *TINY, "--format", "json")
    rows = rows_of(result)
    assert [(row["model"], row["selector"], row["seed"], row["seeds"]) for row in rows] == [
        *(("vit", None, seed, None) for seed in (1, 10)),
        *(("glsim", "gls", seed, None) for seed in (1, 10)),
        ("vit", None, None, [1, 10]),
        ("glsim", "gls", None, [1, 10]),
    ]
    assert all(list(row) == [*saved_fields(AccuracyRow), "kind", "schema_version"] for row in rows)
    for row in rows[:4]:
        assert 0 <= row["top1_percent"] <= 100
        assert (row["images"], row["epochs"], row["dataset"], row["image_size"]) == (24, 2, "synthetic", 32)
        assert (tmp_path / row["checkpoint"]).is_file()
        assert row["environment"]["torch"] == torch.__version__
        assert row["seconds"] > 0
        assert row["top1_std_percent"] is None
    mean = rows[4]
    tops = [row["top1_percent"] for row in rows[:2]]
    assert mean["top1_percent"] == pytest.approx(sum(tops) / 2)
    assert mean["top1_std_percent"] == pytest.approx(abs(tops[0] - tops[1]) / 2**0.5)
    assert rows[0]["top5_percent"] is None  # four classes
    lines = [line for line in result.stderr.splitlines() if ": epoch " in line]
    assert len(lines) == 8
    assert not list(tmp_path.glob("**/state.safetensors"))
    kept = {row.run: row for row in rows_of_store(tmp_path / "fgbench.db") if isinstance(row, PredictionsRow)}
    assert len(kept) == 4
    for row in rows[:4]:
        predicted, targets = kept[row["run"]].classes()
        assert 100 * (predicted == targets).mean() == pytest.approx(row["top1_percent"])
        ends = wilson(int((predicted == targets).sum()), 24)
        assert (row["top1_ci95_low_percent"], row["top1_ci95_high_percent"]) == pytest.approx(ends)
    assert len({row.test_set for row in kept.values()}) == 1
    assert mean_has_no_interval(rows[4])

    again = run("--model", "vit", "glsim", "--seeds", "1", "10", *TINY, "--format", "csv")
    assert "4 of 4 runs were in fgbench.db already" in again.stderr
    assert "epoch" not in again.stderr
    (first, *_) = csv.DictReader(io.StringIO(again.stdout))
    assert float(first["top1_percent"]) == rows[0]["top1_percent"]
    with Store(tmp_path / "fgbench.db", read_only=True) as store:
        curve = list(store.rows("accuracy_epoch"))
    assert [row["epoch"] for row in curve] == [1, 2] * 4
    assert curve[1]["top1_percent"] == rows[0]["top1_percent"]


FROM_A_FILE = """
import torch

def net():
    model = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 8, 8), torch.nn.Flatten(), torch.nn.Linear(64, 4))
    model[0].load_state_dict(torch.load("begun.pt"))
    return model
"""


def test_a_run_of_a_function_is_known_by_the_weights_that_it_reads_from_a_file(run, tmp_path):
    (tmp_path / "net.py").write_text(FROM_A_FILE)
    words = ["--model", "net.py:net", "--seeds", "1", "10", *TINY, "--epochs", "1", "--format", "json"]
    codes = []
    for seed, known in ((0, 0), (0, 2), (5, 0)):
        torch.manual_seed(seed)
        torch.save(torch.nn.Conv2d(3, 4, 8, 8).state_dict(), tmp_path / "begun.pt")
        result = run(*words)
        codes.append({row["environment"]["foreign_code"] for row in rows_of(result)})
        assert ("2 of 2 runs were in fgbench.db already" in result.stderr) is bool(known)
    assert codes[0] == codes[1] != codes[2]
    assert all(len(code) == 1 for code in codes)
    report = CliRunner().invoke(app, ["report", "accuracy_vs_cost", "--format", "csv"])
    assert "left out: 2 rows of net.py:net that other code of this name gave" in report.stderr
    assert len(report.stdout.splitlines()) == 2, report.stdout


def test_a_seed_and_a_rate_that_are_given_twice_are_one(run, tmp_path):
    words = ["--seeds", "1", "01", "10", "--lr", "1e-3", "0.001", "--format", "json"]
    rows = rows_of(run("--model", "vit", *TINY, *words))
    assert [(row["seed"], row["seeds"]) for row in rows] == [(1, None), (10, None), (None, [1, 10])]
    with Store(tmp_path / "fgbench.db", read_only=True) as store:
        assert not list(store.rows("accuracy_search"))


def test_the_learning_rate_is_searched_where_several_are_given(run, tmp_path):
    words = ["--model", "vit", *TINY, "--lr", "1e-3", "1e-6", "--search-epochs", "1", "--format", "json"]
    (row,) = rows_of(run(*words))
    with Store(tmp_path / "fgbench.db", read_only=True) as store:
        searched = list(store.rows("accuracy_search"))
    assert [each["lr"] for each in searched] == [1e-3, 1e-6]
    assert {each["images"] for each in searched} == {8}  # a fifth of each class, rounded
    best = max(searched, key=lambda each: (each["validation_top1_percent"], -each["lr"]))
    assert row["lr"] == best["lr"]
    assert len(list(tmp_path.glob("fgbench-checkpoints/*"))) == 1  # those of the search are gone


def test_a_rate_that_another_process_tries_is_waited_for_and_not_left_out_of_the_search(run, tmp_path, monkeypatch):
    claimed, released = [], []

    def claim(store, kind, key):
        claimed.append(key)
        return len(claimed) != 1  # the first rate is being tried elsewhere

    monkeypatch.setattr(Store, "claim", claim)
    monkeypatch.setattr(Store, "release", lambda store, kind, key: released.append(key))
    words = ["--model", "vit", *TINY, "--lr", "1e-3", "1e-4", "--search-epochs", "1", "--format", "json"]
    result = run(*words)
    assert rows_of(result) == []
    assert "another process is searching its learning rate; start again when it is done" in result.stderr
    assert released == claimed[1:]
    (row,) = rows_of(run(*words))
    with Store(tmp_path / "fgbench.db", read_only=True) as store:
        assert {each["lr"] for each in store.rows("accuracy_search")} == {1e-3, 1e-4}
    assert row["lr"] in (1e-3, 1e-4)


def test_a_run_that_another_process_finished_meanwhile_is_not_trained_again(run, tmp_path, monkeypatch):
    words = ["--model", "vit", *TINY, "--format", "json"]
    (row,) = rows_of(run(*words))
    looked = []

    def get(store, kind, key):
        looked.append(kind)
        return None if looked == ["accuracy"] else kept(store, kind, key)

    kept = Store.get
    monkeypatch.setattr(Store, "get", get)
    result = run(*words)
    (again,) = rows_of(result)
    assert ": epoch " not in result.stderr
    assert again["top1_percent"] == row["top1_percent"]


def test_a_rate_that_diverges_loses_the_search_and_a_run_that_diverges_stops_no_other(run, tmp_path):
    words = [*TINY, "--optimizer", "momentum", "--warmup-steps", "0", "--format", "json"]
    (row,) = rows_of(run("--model", "vit", *words, "--lr", "1e30", "1e-3", "--search-epochs", "3"))
    assert row["lr"] == 1e-3
    with Store(tmp_path / "fgbench.db", read_only=True) as store:
        high, low = store.rows("accuracy_search")
    assert (high["validation_top1_percent"], low["reason"]) == (None, None)
    assert "not finite" in high["reason"]
    result = run("--model", "glsim", "--lr", "1e30", *words)
    assert result.exit_code == 3
    assert "fgbench: glsim at 32, seed 0: " in result.stderr
    assert "lower --lr" in result.stderr
    assert result.stdout == "[]\n"


def test_a_store_that_fails_is_no_result_of_the_search_and_ends_the_runs(run, tmp_path, monkeypatch):
    def add(store, kind, key, row, environment, *, again=False):
        if kind == "accuracy_epoch":
            raise CannotMeasureError("cannot use the store 'fgbench.db': the disk is full")
        return kept(store, kind, key, row, environment, again=again)

    kept = Store.add
    monkeypatch.setattr(Store, "add", add)
    result = run("--model", "vit", "glsim", *TINY, "--lr", "1e-3", "1e-4")
    assert result.exit_code == 3
    assert result.stderr.count("the disk is full") == 1
    with Store(tmp_path / "fgbench.db", read_only=True) as store:
        assert not list(store.rows("accuracy_search"))


def test_a_checkpoint_is_tested_to_the_same_accuracy(run):
    (row,) = rows_of(run("--model", "glsim", *TINY, "--format", "json"))
    words = ["--model", "glsim", *DATA, "--sizes", "32", "--device", "cpu", "--test-only"]
    words += ["--checkpoint", row["checkpoint"], "--format", "json"]
    (tested,) = rows_of(run(*words))
    assert tested["top1_percent"] == row["top1_percent"]
    assert (tested["seed"], tested["lr"], tested["epochs"], tested["train_images"]) == (None, None, None, None)
    (mirrored,) = rows_of(run(*words, "--flip", "--details"))
    assert mirrored["flip"] is True
    assert sum(each["images"] for each in mirrored["classes"]) == 24
    wrong = sum(each["images"] for each in mirrored["confusions"])
    assert wrong == round(24 * (1 - mirrored["top1_percent"] / 100))
    other = [*words[:3], "classes=5", *words[4:]]
    refused = run(*other)
    assert refused.exit_code == 2
    assert "was trained for 4 classes; data set 'synthetic' has 5" in refused.stderr
    lacking = run(*[word if word != "glsim" else "dcal" for word in words])
    assert lacking.exit_code == 2
    assert "random ones would be tested" in lacking.stderr


def test_training_can_begin_from_a_checkpoint(run):
    (row,) = rows_of(run("--model", "vit", *TINY, "--format", "json"))
    words = ["--model", "vit", *TINY, "--checkpoint", row["checkpoint"], "--lr", "1e-9", "--warmup-steps", "0"]
    (fine,) = rows_of(run(*words, "--format", "json", "--optimizer", "momentum"))
    assert fine["checkpoint"] != row["checkpoint"]
    assert fine["top1_percent"] == row["top1_percent"]  # a rate of nearly nothing leaves it where it began


def test_cal_is_trained_with_its_losses_and_tested_by_eight_passes(run):
    words = [*DATA, "--sizes", "64", "--backbone", "fgtest_resnet", "--threads", "1", "--format", "json"]
    (row,) = rows_of(run("--model", "cal", *words, "--epochs", "1"))
    assert row["recipe"]["weight_decay"] == pytest.approx(0.05)  # what the data set says comes before the paper
    eight = run("--model", "cal", *words, "--passes", "8", "--test-only", "--checkpoint", row["checkpoint"])
    (tested,) = rows_of(eight)
    assert tested["images"] == 24
    assert tested["recipe"] == {"passes": 8}


BROKEN = """
from fgbench_selectors import Needs, Selector
class Norm(Selector):
    name = "norm"
    needs, score_shape = Needs(tokens=True), ("batch", "patches")
    def published(self, features):
        return features.read_tokens()[:, features.num_prefix_tokens:].norm(dim=-1)
class Unmade(Norm):
    def __init__(self, **options): raise KeyError("never")
class Raises(Norm):
    def published(self, features): raise KeyError("not today")
"""


@pytest.fixture
def plugin(tmp_path, monkeypatch):
    (tmp_path / "mine.py").write_text(BROKEN)
    return ["--plugin", str(tmp_path / "mine.py")]


def test_a_broken_plug_in_is_named_and_takes_no_other_run_down(run, plugin):
    words = ["--model", "glsim", "--selectors", "unmade", "raises", "norm", *TINY, *plugin, "--format", "json"]
    result = run(*words)
    assert result.exit_code == 2
    assert [row["selector"] for row in json.loads(result.stdout)] == ["norm"]
    for name, why in (("unmade", "KeyError: 'never'"), ("raises", "KeyError: 'not today'")):
        assert len([line for line in result.stderr.splitlines() if f"'{name}'" in line and why in line]) == 1


def test_a_plug_in_is_judged_beside_the_others_that_were_judged_before(run, plugin, tmp_path):
    few = [word.replace("test_images=24", "test_images=8") for word in TINY]
    words = ["--model", "glsim", *few, "--quality", "--format", "json"]

    def judged(*more) -> tuple[int, set[str]]:
        result = run(*words, *more)
        return result.exit_code, {row["selector"] for row in json.loads(result.stdout) if "pointing_percent" in row}

    code, before = judged()
    assert code == 0
    assert judged(*plugin) == (2, before | {"norm"})
    assert judged(*plugin) == (2, before | {"norm"})  # what is broken is said until it is mended
    working = tmp_path / "working.py"
    working.write_text(BROKEN.partition("class Unmade")[0])
    selectors._from_files.clear()
    assert judged("--plugin", str(working)) == (0, before | {"norm"})


def test_what_selectors_find_stands_beside_what_they_cost(run):
    words = ["--model", "glsim", *TINY, "--quality", "--judged", "gls", "attention"]
    rows = rows_of(run(*words, "--format", "json"))
    found = {row["selector"]: row for row in rows if "pointing_percent" in row}
    assert list(found) == ["gls", "attention", "random", "centre"]
    gls = found["gls"]
    assert set(gls) == {*saved_fields(QualityRow), "kind", "schema_version"}
    assert (gls["images"], gls["trained_with"], gls["checkpoint"]) == (24, "gls", rows[0]["checkpoint"])
    assert [gls[name] for name in ("backbone", "begun_from", "epochs")] == [
        rows[0][name] for name in ("backbone", "begun_from", "epochs")
    ]
    assert None not in (gls["backbone"], gls["begun_from"], gls["epochs"])
    assert gls["selector_flops"] > 0
    assert len(gls["insertion_curve"]) == 21
    assert found["random"]["selector_flops"] is None
    again = run(*words)
    assert again.exit_code == 0
    assert "What selectors find · glsim · selects by gls · synthetic · 32 px" in again.stdout
    assert "1 of 1 runs were in fgbench.db already" in again.stderr


def test_steps_are_as_many_as_asked_for_whatever_the_environment_says(run, monkeypatch):
    words = ["--model", "vit", *TINY, "--batch-size", "8", "--format", "json"]
    said = [run(*words).stderr]
    monkeypatch.setenv("ACCELERATE_GRADIENT_ACCUMULATION_STEPS", "4")
    said.append(run(*words, "--again").stderr)
    losses = [[line.split(", ")[1:3] for line in text.splitlines() if ": epoch " in line] for text in said]
    assert len(losses[0]) == 2
    assert losses[0] == losses[1]


def test_a_tracker_is_told_every_epoch(run, tmp_path):
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    rows_of(run("--model", "vit", *TINY, "--tracker", "tensorboard", "--format", "json"))
    events = next((tmp_path / "fgbench-checkpoints").rglob("events.out.tfevents.*"))
    read = accumulator.EventAccumulator(str(events.parent))
    read.Reload()
    assert [event.step for event in read.Scalars("top1_percent")] == [1, 2]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--dataset", "cubs"], "unknown dataset 'cubs'; did you mean cub"),
        (["--dataset", "cub"], "--data-dir"),
        (["--dataset", "cub", "--data-dir", "nowhere"], "nowhere"),
        (["--data-dir", "pictures"], "synthetic is drawn, nothing is read from --data-dir 'pictures'"),
        (["--position-interpolation", "bicubic"], "say which with --checkpoint FILE"),
        (["--dataset-options", "klasses=4"], "has no option 'klasses'"),
        (["--dataset-options", "classes"], "--dataset-options takes KEY=VALUE, got 'classes'; for example classes=20"),
        (["--dataset-options", "classes=few"], "must be a whole number, got 'few'"),
        (["--model", "glsm"], "unknown model 'glsm'"),
        (["--model", "vit", "--model-options", "top_k=2"], "model 'vit' has no option 'top_k'"),
        (
            ["--model-options", "img_size=3"],
            "no option 'img_size'; the command itself has an option for it; it has: aggregator",
        ),
        (["--epochs", "0"], "must be at least 1, got 0"),
        (["--lr", "fast"], "learning rate must be a number, got 'fast'"),
        (["--lr", "nan"], "learning rate must lie between 0 and 1e+38, got 'nan'"),
        (["--seeds", "one"], "seed must be a whole number, got 'one'"),
        (["--augreg", "stronger"], "unknown AugReg level 'stronger'"),
        (["--mixed-precision", "fp8"], "unknown precision 'fp8'"),
        (["--device", "cpu", "--mixed-precision", "fp16"], "a CPU does not train with '--mixed-precision fp16'"),
        (["--test-only"], "--test-only tests a file; say which with --checkpoint"),
        (["--checkpoint", "gone.safetensors"], "'gone.safetensors'"),
        (["--batch-size", "7", "--accumulate", "2"], "cannot be shared equally by 1 processes in 2 parts: 7"),
        (["--tracker", "notebook"], "unknown tracker 'notebook'"),
        (["--optimizer", "sdg"], "'sdg'"),
        (["--optimizer", "fusedlamb", "--device", "cpu"], "timm cannot make the optimizer 'fusedlamb'; AssertionError"),
        (["--backbone", "resnet18"], "'resnet18'"),
        (["--output", "no/such/folder.json"], "cannot write to"),
        (["--checkpoints", __file__ + "/weights"], f"'{__file__}' is no folder; name another with --checkpoints"),
        (["--checkpoints", "x" * 300], "File name too long"),
        (["--quality", "--judged", "glss"], "unknown selector 'glss'; did you mean gls"),
        pytest.param(
            ["--device", "cuda"],
            "no CUDA device is there",
            marks=pytest.mark.skipif(torch.cuda.is_available(), reason="there is one"),
        ),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(run, words, message):
    result = run(*(["--sizes", "32"] if "--dataset" not in words else []), *words)
    assert result.exit_code == 2, result.output
    (line,) = result.stderr.strip().splitlines()
    assert message in line
    assert result.stdout == ""
