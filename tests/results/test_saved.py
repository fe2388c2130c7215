"""Saved rows from stores and files: each once, with correct types, or refused in one line."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from helpers.growth import assert_work_grows_with
from helpers.saved_rows import (
    COUNTED,
    COUNTS,
    JUDGED,
    KEPT,
    MEAN,
    RUNS,
    TIMED,
    TRAINED,
    accuracy,
    fill,
    flops,
    quality,
    read,
    saved,
    write,
)
from helpers.throughput_rows import GPU, points, row, tried
from hypothesis import given, settings
from hypothesis import strategies as st

from fgbench.cli.saved import read_data
from fgbench.errors import FgbenchError
from fgbench.results.store import Store
from fgbench_reports.data import KINDS, Data
from fgbench_reports.tables import render

GALLERY = Path(__file__).parents[2] / "reports" / "gallery"


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("FGBENCH_STORE", raising=False)
    return tmp_path


def without_zeros(timed: dict) -> dict:
    """Nothing that Python's CSV reads is a text with a zero in it."""
    return {name: value.replace("\0", " ") if isinstance(value, str) else value for name, value in timed.items()}


def contents(data: Data) -> dict:
    return {kind: list(data.of_kind(kind)) for kind in KINDS}


def without_time(environment):
    return {name: value for name, value in environment.items() if name != "time"}


def test_a_store_comes_back_by_kind():
    data = read(store=fill(Path("mine.db")))
    assert [dict(row)["batch_size"] for row in data.throughput] == [1, 64, 256, 4, 2]
    for found, wanted in zip(data.throughput, TIMED, strict=True):
        assert {**found, "environment": without_time(found["environment"])} == {"repeat": None, **wanted}
    assert list(data.accuracy) == RUNS
    assert [{**row, "environment": None} for row in data.selection_quality] == [
        {**row, "environment": None} for row in JUDGED
    ]
    assert [row["environment"] for row in data.selection_quality] == [TRAINED, TRAINED]
    assert [without_time(row["environment"]) for row in data.flops] == [COUNTED] * 3
    assert [row["selector"] for row in data.flops] == [None, "gls", "psm"]
    assert data.sources == ("mine.db",)
    assert data.gpu_hour_price is None


@pytest.mark.parametrize("suffix", ["json", "csv"])
def test_a_store_and_exports_of_it_are_the_store(suffix):
    store = fill(Path("mine.db"))
    alone = read(store=store)
    exports = [
        saved([dict(row) for row in alone.throughput], f"throughput.{suffix}"),
        saved([*(dict(row) for row in alone.accuracy), MEAN, *JUDGED], f"accuracy.{suffix}"),
        saved(COUNTS, f"flops.{suffix}"),
    ]
    assert contents(read(*exports, store=store)) == contents(alone)
    assert contents(read(*exports, *exports, store, store=store)) == contents(alone)
    # In whichever order: what tells its environment stands for what does not.
    around = [row["environment"] for row in read(*exports, store).flops]
    assert around == [row["environment"] for row in alone.flops]


@given(rows=st.lists(points().map(without_zeros), max_size=4))
@settings(deadline=None, max_examples=25)
def test_json_and_csv_of_any_rows_are_the_same_rows(rows, tmp_path_factory):
    folder = tmp_path_factory.mktemp("any")
    heard = []
    data = read(write(folder, rows, "json"), on_problem=heard.append)
    again = read(write(folder, rows, "csv"), on_problem=heard.append) if rows else data
    assert contents(again) == contents(data)
    assert len(heard) == (not rows)
    assert len(data.throughput) <= len(rows)
    wanted = [{"repeat": None, **row, "reason": row["reason"] or None, "best": None} for row in rows]
    wanted = [{**row, "environment": {}} for row in wanted]
    for found in data.throughput:
        assert {**found, "best": None, "environment": {}} in wanted


def test_the_same_figures_of_other_devices_are_other_rows():
    rows = [row(), row(environment={**GPU, "torch": "2.8.0"}), row(environment={**GPU, "time": "now"}), row()]
    assert [each["environment"]["torch"] for each in read(saved(rows)).throughput] == ["2.9.0", "2.8.0"]


def test_a_count_is_the_same_whoever_made_it_but_not_with_other_classes():
    one = {**flops(), "environment": {**COUNTED, "fgbench": "0.2.0"}}
    other = {**flops(), "environment": {**COUNTED, "num_classes": 10}}
    assert len(read(saved([one, {**flops(), "environment": COUNTED}, other, flops()])).flops) == 2


def test_one_batch_of_a_model_is_the_best_in_each_mode():
    rows = [row(batch=batch, img_s=speed, best=batch == 4) for batch, speed in ((1, 10.0), (2, 30.0), (4, 20.0))]
    newer = [{**each, "environment": {**GPU, "torch": "2.8.0"}} for each in rows[:1]]
    best = [each for each in read(saved(rows + newer)).throughput if each["best"]]
    assert {(each["batch_size"], each["environment"]["torch"]) for each in best} == {(2, "2.9.0"), (1, "2.8.0")}


def test_kept_files_of_the_gallery_are_read():
    data = read(GALLERY / "accuracy" / "cpu.json", GALLERY / "selection" / "cpu.json")
    kept = json.loads((GALLERY / "accuracy" / "cpu.json").read_text())
    assert len(data.throughput) == len(kept["throughput"])
    assert len(data.selection_quality) == len(kept["quality"])
    assert {row["seeds"] for row in data.accuracy} == {None}
    for kind in ("throughput", "accuracy", "flops"):
        runs = [each for each in kept[kind] if not each.get("seeds")]
        wanted = [each.get("environment") or kept["environment"] for each in runs]
        assert [row["environment"] for row in data.of_kind(kind)] == wanted
    selection = json.loads((GALLERY / "selection" / "cpu.json").read_text())
    assert (len(data.selection), len(data.backend)) == (len(selection["selections"]), len(selection["backends"]))
    assert {row["environment"]["roof"]["copy_bytes_s"] for row in data.selection} == {selection["roof"]["copy_bytes_s"]}


def test_rows_keep_their_own_environment_in_a_file_that_has_one():
    rows = [row(), {**row(batch=2), "environment": None}]
    Path("kept.json").write_text(json.dumps({**KEPT, "throughput": rows}))
    assert [each["environment"]["device_name"] for each in read("kept.json").throughput] == ["NVIDIA H200", "TPU"]


def test_means_over_seeds_are_left_out_and_said_where_there_is_nothing_else():
    heard = []
    assert list(read(saved([*RUNS, MEAN])).accuracy) == RUNS
    assert read(saved([MEAN]), on_problem=heard.append).accuracy == []
    assert "means over seeds" in str(heard[0])


def test_a_file_without_rows_is_said():
    heard = []
    assert contents(read(saved([]), on_problem=heard.append)) == contents(Data())
    assert [str(problem) for problem in heard] == ["there are no rows in 'rows.json'"]
    assert heard[0].exit_code == 0


def test_the_default_store_need_not_be_there(monkeypatch):
    assert read().sources == ()
    monkeypatch.setenv("FGBENCH_STORE", "later.db")
    assert read().sources == read(store=Path("later.db")).sources == ()
    fill(Path("later.db"))
    assert read().sources == ("later.db",)
    with pytest.raises(FgbenchError, match="there is no such file; name one with --store"):
        read(store=Path("other.db"))
    assert [path.name for path in Path.cwd().iterdir()] == ["later.db"]


def test_rows_of_an_older_version_get_what_is_new():
    old = {name: value for name, value in RUNS[0].items() if name not in ("flip", "unreadable_images", "top5_percent")}
    (found,) = read(saved([old])).accuracy
    assert (found["flip"], found["unreadable_images"], found["top5_percent"]) == (False, 0, None)
    (timed,) = read(saved([{name: value for name, value in row().items() if name not in ("mfu", "best")}])).throughput
    assert (timed["mfu"], timed["best"], timed["repeat"]) == (None, True, None)


@pytest.mark.parametrize("name", ["rows.json", "rows.csv"])
def test_fields_that_are_not_known_are_kept(name):
    (found,) = read(saved([{**row(), "colour": "blue"}], name)).throughput
    assert found["colour"] == "blue"


def test_numbers_come_in_their_declared_types():
    (found,) = read(saved([row(size=224.0, batch=2.0, img_s=100)])).throughput
    assert [type(found[name]) for name in ("image_size", "batch_size", "throughput_img_s")] == [int, int, float]
    text = render.to_csv([row()]).replace(",224,1,cuda,float32,False,", ",224.0,1,cuda,float32,FALSE,")
    Path("excel.csv").write_text("\ufeff" + text.replace("\n", "\r\n"), encoding="utf-8", newline="")
    (found,) = read("excel.csv").throughput
    assert (found["image_size"], found["compiled"]) == (224, False)
    assert found["environment"] == GPU


def test_the_work_to_read_four_thousand_rows_is_ten_times_that_for_four_hundred():
    one = {**row(), "blocks": [0.01 * number for number in range(30)]}
    many = [
        {**one, "model": f"m{number % 40}", "batch_size": 1 + number, "throughput_img_s": 1.0 + number}
        for number in range(4_000)
    ]
    stripped = [{name: value for name, value in each.items() if name != "environment"} for each in many]
    for count in (400, 4_000):
        saved(many[:count], f"{count}.json")
        with Store(Path(f"{count}.db")) as store:
            store.keep("throughput", {str(number): each for number, each in enumerate(stripped[:count])}, GPU)

    def read_all(rows) -> None:
        for files in ([], [f"{len(rows)}.json"]):
            data = read(*files, store=Path(f"{len(rows)}.db"))
            assert len(data.throughput) == len(rows)
            assert sum(each["best"] for each in data.throughput) == 40

    assert_work_grows_with(many, read_all)


def test_reading_needs_neither_torch_nor_pandas():
    fill(Path("fgbench.db"))
    saved(TIMED, "rows.csv")
    code = (
        "import sys; from pathlib import Path; from fgbench.cli.saved import read_data\n"
        "data = read_data(Path('fgbench.db'), [Path('rows.csv')], print)\n"
        "sys.exit(len(data.throughput) != 5 or not {'torch', 'timm', 'accelerate', 'pandas'}.isdisjoint(sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_failed_point_comes_back_as_it_was():
    (found,) = read(saved([tried("timeout", "no result within 60 s")], "rows.csv")).throughput
    assert (found["status"], found["latency_s"], found["best"]) == ("timeout", None, False)


def test_a_run_of_a_learning_rate_search_survives_csv():
    runs = [accuracy(seed=3, recipe={"top_k": 8, "name": 'a "quoted", one'}), accuracy(seed=None, epochs=None, lr=None)]
    assert list(read(saved(runs, "rows.csv")).accuracy) == list(read(saved(runs)).accuracy) == runs


def test_every_kind_of_line_break_in_a_name_comes_back():
    names = ["a\rb", "a\nb", "a\r\nb", 'a"b', "a,b"]
    path = saved([row(name) for name in names], "rows.csv")
    assert [each["model"] for each in read(path).throughput] == names


def test_a_seed_that_was_trained_or_judged_again_is_left_out_with_a_word(tmp_path):
    runs = [accuracy(seed=1), accuracy(seed=2), accuracy(seed=1, seconds=9.0, top1=90.6)]
    runs.append(accuracy(seed=1, impl="published"))
    judged = [quality(seed=1, insertion_auc=auc, checkpoint=name) for auc, name in ((0.5, "a"), (0.6, "a"), (0.7, "b"))]
    path, told = tmp_path / "runs.json", []
    path.write_text(render.to_json([*runs, *judged]), encoding="utf-8")
    data = read_data(None, [path], lambda notice: told.append(str(notice)))
    assert [(row["seed"], row["top1_percent"]) for row in data.accuracy] == [(2, 90.5), (1, 90.6), (1, 90.5)]
    assert [row["insertion_auc"] for row in data.selection_quality] == [0.6, 0.7]
    assert told == [
        f"left out: 1 row of {kind} repeats a seed of the same training; the last row of each seed counts"
        for kind in ("accuracy", "selection_quality")
    ]
