"""``fgbench choose``, as it is typed."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
from pathlib import Path

import pytest
from helpers.saved_rows import accuracy, fill
from helpers.throughput_rows import CPU, H200, row, tried
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from fgbench.cli import app
from fgbench.errors import FgbenchError
from fgbench.quantities import (
    ENERGY,
    LATENCY,
    PERCENT,
    RATE,
    quantity,
)
from fgbench_reports.tables import render

SWEEP = [
    row(model, size=size, batch=batch, img_s=speed * rate, selector=selector, energy_j_per_image=100 / speed, width=0.0)
    for model, selector, speed in (("vit", None, 1000.0), ("glsim", "gls", 800.0))
    for size, slower in ((224, 1.0), (448, 0.2), (1024, 0.02))
    for batch, rate in ((1, 0.3 * slower), (16, 0.8 * slower), (64, 1.0 * slower))
]


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("FGBENCH_STORE", raising=False)
    return tmp_path


def saved(rows, name="rows.json") -> str:
    Path(name).write_text(render.to_json(rows), encoding="utf-8")
    return name


def run(*words: str):
    return CliRunner().invoke(app, ["choose", *words])


def chosen(*words: str) -> list[dict]:
    result = run("--format", "json", *words)
    assert (result.exit_code, result.stderr) == (0, "")
    return [each for each in json.loads(result.stdout) if each["pareto"]]


@pytest.mark.parametrize("latency", ["20ms", "20 ms", "0.02s", "20000us", "20000 µs", "2e-2 s", ".02s", "20.0MS"])
@pytest.mark.parametrize("memory", ["1GB", "1 gb", "1000MB"])
def test_limits_are_typed_in_every_habit(latency, memory):
    saved(SWEEP)
    words = ["--rows", "rows.json", "--min-accuracy", "89%", "--max-latency", latency, "--max-memory", memory]
    assert [(each["model"], each["batch_size"], each["image_size"]) for each in chosen(*words)] == [
        ("vit", 16, 224),
        ("vit", 1, 224),
        ("glsim", 1, 224),
        ("vit", 1, 448),
    ]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--max-latency 20", "--max-latency must be a time with its unit, got '20'; for example 20ms or 0.02s"),
        ("--max-latency 0ms", "--max-latency must be above 0"),
        ("--max-latency -5ms", "--max-latency must be a time with its unit, got '-5ms'"),
        ("--max-latency nan", "must be a time with its unit"),
        ("--max-latency 1e999s", "at most 1e+08"),
        ("--max-latency 1e9999s", "must be a time with its unit"),
        ("--max-latency 1e99s", "at most 1e+08"),
        ("--max-memory 0.0001k", "--max-memory must be an amount of memory, got '0.0001k'"),
        ("--max-memory 8", "--max-memory must be an amount of memory, got '8'"),
        ("--max-energy 1MJ", "--max-energy must be an energy, got '1MJ'; for example 0.5J or 500mJ"),
        ("--min-accuracy 101", "--min-accuracy must be above 0 and at most 100, got '101'"),
        ("--min-accuracy 0.9", "--min-accuracy is no share of 1, got '0.9'; in percent: 90"),
        ("--min-accuracy 1", "in percent: 100"),
        ("--min-accuracy 0", "--min-accuracy must be above 0 and at most 100, got '0'"),
        ("--min-accuracy high", "--min-accuracy must be a percentage, got 'high'"),
        ("--min-throughput fast", "--min-throughput must be images per second, got 'fast'"),
        ("--gpu-hour-price 2,50", "--gpu-hour-price must be an amount of money, got '2,50'; for example 2.50"),
        ("--max-cost 5", "--max-cost needs a price; give one with --gpu-hour-price"),
        ("--gpu L4", "nothing was measured on a device called 'L4'; there are: NVIDIA H200"),
        ("--models glsmi", "nothing was measured with model 'glsmi'; there are: glsim, vit"),
        ("--dtype amp", "nothing was measured with dtype 'amp'; there are: float32"),
        ("--engine openvino onnx", "nothing was measured with engine 'openvino'; there are: torch"),
        ("--engine ,", "no engine was given"),
        ("--sizes 448 500", "nothing was measured with image size 500; there are: 224, 448, 1024"),
        ("--batch-sizes 2", "nothing was measured with batch size 2; there are: 1, 16, 64"),
        ("--models ,", "no model was given"),
        ("--dataset bats", "no accuracy is known on data set 'bats'"),
        ("--format yaml", "unknown format 'yaml'"),
        ("--output nowhere/x.json", "there is no folder 'nowhere'"),
        ("--rows nowhere.json", "cannot read rows from 'nowhere.json'; there is no such file"),
        ("--store nowhere.db", "cannot use the store 'nowhere.db'; there is no such file"),
        ("--max-size 3", "No such option"),
    ],
)
def test_bad_input_is_one_line_and_exit_2(words, message):
    saved(SWEEP)
    result = run("--rows", "rows.json", *words.split())
    assert (result.exit_code, result.stdout) == (2, "")
    (line,) = result.stderr.splitlines()
    assert message in line
    assert [path.name for path in Path.cwd().iterdir()] == ["rows.json"]


def test_nothing_measured_says_what_to_run():
    result = run()
    assert (result.exit_code, result.stdout) == (2, "")
    told = "there is no measured throughput in 'fgbench.db'; 'fgbench throughput' measures models on this device"
    assert result.stderr == f"fgbench: {told}\n"
    saved([tried("oom", "too much")])
    assert "there is no measured throughput in 'rows.json'" in run("--rows", "rows.json").stderr
    saved([])
    assert len(run("--rows", "rows.json").stderr.splitlines()) == 1


def test_what_nothing_is_has_no_nearest_miss():
    saved([row("vit", selector=None, dtype="amp"), row("glsim")])
    result = run("--rows", "rows.json", "--models", "vit", "--dtype", "float32")
    assert result.exit_code == 1
    assert "nearest miss" not in result.stdout
    assert result.stderr.endswith("keeps the limits; the table says what rules them out\n")


def test_nothing_that_fits_is_exit_1_with_the_nearest_misses():
    saved(SWEEP)
    result = run("--rows", "rows.json", "--max-latency", "1ms")
    assert result.exit_code == 1
    assert "vit at 224, batch 1" in result.stdout
    assert "latency 3.333 ms > 1.000 ms" in result.stdout
    assert result.stderr == "fgbench: none of 18 configurations keeps the limits; the nearest misses are shown\n"
    result = run("--rows", "rows.json", "--max-latency", "1ms", "--format", "json")
    assert result.exit_code == 1
    assert {each["satisfies"] for each in json.loads(result.stdout)} == {False}
    assert "ruled_out_by" in result.stderr


def test_what_is_too_uncertain_to_tell_stands_by_itself():
    ends = {"latency_ci95_low_s": 0.0, "latency_ci95_high_s": 0.0604}
    noisy = row(img_s=1 / 0.0219, status="unconverged", reason="after 10 s the interval is ±138 %", **ends)
    saved([noisy])
    words = ["--rows", "rows.json", "--max-latency", "50ms"]
    result = run(*words)
    assert result.exit_code == 1
    assert "Too uncertain to tell whether they keep the limits" in result.stdout
    assert "latency 21.90 ms, 95 % interval from 0 ms to" in " ".join(result.stdout.split())
    assert "--max-time 60s --again' narrows its interval" in " ".join(result.stdout.split())
    assert "(unconverged)" in result.stdout
    assert "unconverged: the interval of the latency is wider than it should be." in result.stdout
    assert result.stderr == (
        "fgbench: none of 1 configuration keeps the limits for certain, 1 may keep them and may not; the table says "
        "why\n"
    )
    (told,) = json.loads(run(*words, "--format", "json").stdout)
    assert (told["verdict"], told["satisfies"], told["pareto"]) == ("uncertain", False, False)
    assert told["uncertain_about"] == told["ruled_out_by"]
    assert (told["latency_low_s"], told["latency_high_s"], told["throughput_high_img_s"]) == (0.0, 0.0604, None)
    saved([noisy, row("vit", selector=None, img_s=100.0)])
    assert [each["model"] for each in chosen(*words)] == ["vit"]


def test_the_interval_stands_in_the_table():
    saved([row(img_s=50.0, width=0.01), accuracy(top1=91.0)])
    lines = run("--rows", "rows.json", "--max-latency", "1s", "--format", "markdown").stdout.splitlines()
    cells = [cell.strip() for cell in lines[2].strip("|").split("|")]
    names = [cell.strip() for cell in lines[0].strip("|").split("|")]
    found = dict(zip(names, cells, strict=True))
    assert (found["latency ms"], found["ms from–to"]) == ("20.00", "19.80–20.20")
    assert (found["top-1 %"], found["top-1 from–to"]) == ("91.00", "90.24–91.71")


def test_without_limits_it_is_the_front_of_everything():
    saved(SWEEP)
    result = run("--rows", "rows.json")
    assert (result.exit_code, result.stderr) == (0, "")
    assert "What rules" not in result.stdout
    assert "18 configurations; " in result.stdout


def test_a_price_stands_in_place_of_hours():
    saved(SWEEP)
    (cheapest, *_) = chosen("--rows", "rows.json", "--gpu-hour-price", "2.50", "--max-cost", "0.7")
    assert cheapest["cost_per_million"] == pytest.approx(1e6 / 1000 / 3600 * 2.5)
    assert cheapest["kwh_per_million"] == pytest.approx(0.1 / 3.6)
    table = run("--rows", "rows.json", "--gpu-hour-price", "2.50").stdout
    assert "cost" in table.splitlines()[2]
    assert "hours" in run("--rows", "rows.json").stdout.splitlines()[2]


def test_options_narrow_what_is_asked_about():
    saved([*SWEEP, *({**each, "environment": CPU, "device": "cpu", "dtype": "amp"} for each in SWEEP)])
    words = ["--rows", "rows.json", "--sizes", "224,448", "--batch-sizes", "1", "16", "--models", "glsim"]
    found = chosen(*words, "--gpu", "h200", "--dtype", "float32")
    assert {(each["model"], each["device_name"], each["dtype"]) for each in found} == {
        ("glsim", "NVIDIA H200", "float32")
    }
    assert {each["batch_size"] for each in found} == {1, 16}
    assert {each["device_name"] for each in chosen(*words, "--dtype", "amp")} == {CPU["device_name"]}


def test_a_choice_is_among_some_engines_alone():
    saved([row(img_s=100.0), row(img_s=200.0, engine="onnxruntime"), row(img_s=300.0, engine="openvino", dtype="int8")])
    assert {each["engine"] for each in chosen("--rows", "rows.json")} == {"openvino", "onnxruntime"}
    assert {each["engine"] for each in chosen("--rows", "rows.json", "--engine", "torch")} == {"torch"}
    both = chosen("--rows", "rows.json", "--engine", "torch,onnxruntime")
    assert [(each["engine"], each["throughput_img_s"]) for each in both] == [("onnxruntime", 200.0)]
    result = run("--rows", "rows.json", "--engine", "torch", "--min-throughput", "150")
    assert result.exit_code == 1
    assert "--engine: engine torch" in " ".join(result.stdout.split())


def test_rows_come_from_the_store_and_from_files():
    fill(Path("fgbench.db"))
    assert {each["top1_percent"] for each in chosen("--gpu", "H200")} == {90.75}
    saved([row("vit", selector=None, img_s=9000.0)])
    assert chosen("--rows", "rows.json")[0]["model"] == "vit"
    Path("fgbench.db").rename("mine.db")
    assert chosen("--store", "mine.db")[0]["model"] == "glsim"
    assert chosen("--rows", "rows.json", "mine.db")[0]["model"] == "vit"


def test_accuracies_of_several_data_sets_are_never_compared():
    saved([*SWEEP, accuracy(dataset="moths"), accuracy(dataset="cub", top1=88.0)])
    result = run("--rows", "rows.json")
    assert result.exit_code == 2
    assert "there are cub, moths; use --dataset" in result.stderr
    found = {each["model"]: each for each in chosen("--rows", "rows.json", "--dataset", "cub")}
    assert (found["vit"]["top1_percent"], found["vit"]["accuracy_source"]) == (91.86, "published")
    found = {each["model"]: each for each in chosen("--rows", "rows.json", "--dataset", "moths")}
    assert (found["glsim"]["top1_percent"], found["glsim"]["accuracy_source"]) == (90.5, "measured")
    assert found["vit"]["top1_percent"] is None


def test_every_format_goes_to_a_file():
    saved(SWEEP)
    for name, begins in (
        ("a.json", "["),
        ("a.csv", "model,"),
        ("a.md", "| model"),
        ("a.tex", "% needs "),
        ("a.txt", "The"),
    ):
        result = run("--rows", "rows.json", "--max-latency", "50ms", "--output", name)
        assert (result.exit_code, result.stdout) == (0, "")
        assert Path(name).read_text().startswith(begins)
    lines = list(csv.DictReader(io.StringIO(Path("a.csv").read_text())))
    assert len(lines) == len(SWEEP)
    assert json.loads(lines[-1]["ruled_out_by"])
    assert Path("a.tex").read_text().count("\\toprule") == 3


def test_a_bad_row_leaves_the_output_as_it_was():
    Path("old.json").write_text("old")
    saved([{**row(), "latency_s": "fast"}])
    result = run("--rows", "rows.json", "--output", "old.json")
    assert (result.exit_code, Path("old.json").read_text()) == (2, "old")
    assert "row 1 (throughput): its field 'latency_s' must be a number" in result.stderr


@given(value=st.floats(1e-6, 1e6))
def test_any_amount_is_read_in_its_unit(value):
    for unit, seconds in (("s", 1.0), ("ms", 1e-3), ("us", 1e-6), ("ns", 1e-9)):
        assert quantity(f"{value!r}{unit}", "x", LATENCY) == pytest.approx(value * seconds)
    assert quantity(f"{value!r} mJ", "x", ENERGY) == pytest.approx(value / 1000)
    assert quantity(f"{value!r}", "x", ENERGY) == quantity(f"{value!r}J", "x", ENERGY) == value
    assert quantity(f"{value!r} img/s", "x", RATE) == value
    assert quantity("99.5 %", "x", PERCENT) == 99.5


@given(text=st.text(max_size=8))
def test_any_words_are_an_amount_or_one_line(text):
    try:
        found = quantity(text, "--max-latency", LATENCY)
    except FgbenchError as error:
        found, text = 1.0, str(error)
    assert 0 < found <= LATENCY.largest
    assert "\n" not in text.strip()


def process(*words: str, **more) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "fgbench", "choose", *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=600, check=False, **more)


@pytest.mark.slow
def test_processes_end_as_they_should():
    saved([*SWEEP, *H200])
    done = process("--rows", "rows.json", "--max-latency", "50ms")
    assert (done.returncode, done.stderr) == (0, "")
    done = process("--rows", "rows.json", "--max-latency", "1us", "--format", "json")
    assert (done.returncode, len(done.stderr.splitlines())) == (1, 1)
    assert all(each["ruled_out_by"] for each in json.loads(done.stdout))
    done = process()
    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (2, "", 1)
    assert "--max-latency" in process("--help").stdout


@pytest.mark.slow
def test_choosing_does_not_import_torch():
    saved(SWEEP)
    code = (
        "import sys; from fgbench.cli import app\n"
        "app(['choose', '--rows', 'rows.json', '--max-latency', '20ms'], standalone_mode=False)\n"
        "sys.exit(not {'torch', 'timm', 'accelerate', 'pandas'}.isdisjoint(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr
