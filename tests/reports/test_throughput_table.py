"""Every format of the table of throughput and of the spread of repeats, from fixed rows and from random ones."""

from __future__ import annotations

import csv
import io
import json
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from fgbench.records import STATUSES, ThroughputRow
from fgbench_reports import render
from fgbench_reports.throughput import (
    spread_notes,
    spread_summary,
    spread_table,
    throughput_frame,
    throughput_notes,
    throughput_tables,
)

VIT = "vit_base_patch16_224"
GPU = {
    "device_name": "NVIDIA H200",
    "torch": "2.9.0",
    "cuda": "12.8",
    "driver": "570.86",
    "threads": 16,
    "fgbench": "0.1.0",
    "git_revision": "1a2b3c4d5e6f+",
}
CPU = {
    "device_name": "Intel Xeon 8481C",
    "torch": "2.9.0",
    "cuda": None,
    "threads": 2,
    "missing": {
        "energy_j_per_image": "no energy counter is read on a CPU",
        "peak_memory_allocated_bytes": "torch has no account of a CPU's memory",
    },
}
HOSTILE = "=mine|_a_&[red]<b>*\\x:heart:"


def row(model="glsim", size=224, batch=1, img_s: float | None = 100.0, width=0.002, **fields) -> dict:
    """A point of this throughput, with an interval of this width in both directions."""
    latency = None if img_s is None else batch / img_s
    defaults = {
        "model": model,
        "selector": "gls",
        "impl": "fast",
        "backbone": VIT,
        "image_size": size,
        "batch_size": batch,
        "device": "cuda",
        "dtype": "float32",
        "compiled": False,
        "status": "ok",
        "reason": None,
        "throughput_img_s": img_s,
        "latency_s": latency,
        "latency_ci95_low_s": latency and latency * (1 - width),
        "latency_ci95_high_s": latency and latency * (1 + width),
        "blocks": latency and [latency] * 3,
        "peak_memory_allocated_bytes": None if img_s is None else 400_000_000 + 31_000_000 * batch,
        "peak_memory_reserved_bytes": None,
        "device_memory_bytes": None if img_s is None else 1_234_567_890,
        "energy_j_per_image": None,
        "mfu": None,
        "best": False,
        "environment": GPU,
    }
    return ThroughputRow(**{**defaults, **fields}).as_dict()


def tried(status, reason, **fields) -> dict:
    return row(img_s=None, status=status, reason=reason, **fields)


H200 = [
    row(batch=1, img_s=84.31, energy_j_per_image=3.21, mfu=0.0312),
    row(batch=16, img_s=1012.2, energy_j_per_image=0.481, mfu=0.374),
    row(batch=64, img_s=1208.9, energy_j_per_image=0.412, mfu=0.447, best=True),
    row(
        batch=256,
        img_s=1199.4,
        width=0.011,
        energy_j_per_image=0.415,
        mfu=0.443,
        status="unconverged",
        reason="after 6 s the interval is ±1.1 %, not ±0.3 %",
    ),
    row(size=1024, batch=1, img_s=21.4, best=True),
    row(size=1024, batch=16, img_s=20.9, status="contended", reason="another process used the GPU"),
    tried("oom", "CUDA out of memory. Tried to allocate 27.00 GiB.", size=1024, batch=64),
    tried("oom_inferred", "batch 64 did not fit", size=1024, batch=256),
    row("transfg", batch=1, img_s=0.512, selector="psm", impl="published", best=True),
    tried("timeout", "no result within 60 s", model="transfg", batch=16, selector="psm", impl="published"),
    row("resnet101", batch=1, img_s=3512.4, selector=None, impl=None, backbone="resnet101", best=True),
    tried(
        "crashed",
        "the worker was killed by signal 11",
        model=HOSTILE,
        batch=2,
        selector=None,
        impl=None,
        backbone="resnet101",
    ),
]
HOST = [
    {**row(batch=batch, img_s=img_s, device="cpu", compiled=True, best=batch == 4), "environment": CPU}
    for batch, img_s in ((1, 4.12), (2, 5.03), (4, 5.61), (8, 5.6))
]
ROWS = H200 + HOST
REPEATS = [
    row(batch=1, img_s=84.31, repeat=1),
    row(batch=1, img_s=84.42, repeat=2),
    row(batch=64, img_s=1208.9, repeat=1),
    row(batch=64, img_s=1241.0, repeat=2),
    row(size=448, batch=1, img_s=50.1, repeat=2),
    row(size=448, batch=1, img_s=50.2, repeat=1),
    row(size=448, batch=64, img_s=60.0, repeat=1),
    tried("oom", "CUDA out of memory.", size=448, batch=64, repeat=2),
]


def in_terminal(tables, notes=()) -> str:
    return render.to_terminal(tables, notes, to_file=True)


def table_of(rows) -> str:
    return in_terminal(throughput_tables(rows))


def test_the_terminal_table(same_as_snapshot):
    same_as_snapshot("throughput_table.txt", in_terminal(throughput_tables(ROWS), throughput_notes(ROWS)))


def test_the_markdown_table(same_as_snapshot):
    same_as_snapshot("throughput_table.md", render.to_markdown(throughput_frame(ROWS)))


def test_the_latex_table(same_as_snapshot):
    same_as_snapshot("throughput_table.tex", render.to_latex(throughput_frame(ROWS)))


def test_the_csv_table(same_as_snapshot):
    same_as_snapshot("throughput_table.csv", render.to_csv(ROWS[:2]))


def test_the_spread_of_repeats(same_as_snapshot):
    same_as_snapshot("throughput_spread.txt", in_terminal([spread_table(REPEATS)], spread_notes(REPEATS)))


def test_no_rows_make_no_table():
    assert table_of([]) == "\n"
    assert throughput_frame([]).empty
    assert throughput_notes([]) == []


def test_rows_that_all_failed_have_no_figure_and_no_best():
    failed = [tried(status, None, batch=batch) for batch, status in enumerate(STATUSES[1:], 1)]
    printed = table_of(failed)
    assert "*" not in printed
    assert "0.0" not in printed
    assert "no reason was given" in throughput_notes(failed)[1]
    assert set(throughput_frame(failed)["img/s"]) == {"–"}


def test_columns_that_no_row_fills_are_left_out():
    assert "J/img" not in table_of(HOST)
    assert "MFU %" not in throughput_frame(HOST)
    assert "status" not in table_of(HOST)
    assert {"J/img", "MFU %"} <= set(throughput_frame(H200))


def test_usual_lines_fit_80_columns():
    usual = [{**point, "model": "m" * 20} for point in H200]
    assert max(map(len, table_of(usual).splitlines())) <= 80


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"torch": "2.8.0"}, "torch 2.8.0"),
        ({"threads": 4}, "threads 4"),
        ({"driver": None}, "driver unknown"),
        ({"device_name": "NVIDIA L4"}, "NVIDIA L4"),
        ({"channels_last": True}, "channels last"),
        ({"memory_limit_bytes": 8_000_000_000}, "at most 8.00 GB"),
    ],
)
def test_environments_and_modes_are_never_mixed(changed, told):
    rows = [row(best=True), row(img_s=90.0, best=True, environment={**GPU, **changed})]
    first, second = map(in_terminal, ([table] for table in throughput_tables(rows)))
    assert told not in first
    assert told in " ".join(second.split("\n\n")[0].split())
    differing = next(iter(changed)).replace("_", " ")
    assert differing in throughput_frame(rows) or len(set(throughput_frame(rows)["mode"])) == 2
    assert list(throughput_frame(rows)["best"]) == ["yes", "yes"]


def test_several_environments_are_told():
    notes = throughput_notes([row(), row(environment={**GPU, "torch": "2.8.0"})])
    assert "There are 2 environments, in tables of their own; they differ in torch." in notes


def test_modes_stand_in_tables_of_their_own():
    rows = [row(dtype="float32"), row(dtype="bfloat16"), row(dtype="bfloat16", compiled=True)]
    assert table_of(rows).count("img/s") == 3


def test_a_point_that_died_early_stays_with_those_measured():
    rows = [row(batch=1), tried("crashed", "killed", batch=2, environment={"device_name": "NVIDIA H200"})]
    assert table_of(rows).count("img/s") == 1
    assert not any("environments" in note for note in throughput_notes(rows))


def test_a_reason_is_told_once_with_the_points_it_befell():
    rows = [tried("oom", f"Tried to allocate {batch}.5 GiB.", size=448, batch=batch) for batch in (64, 128)]
    rows += [tried("crashed", f"signal {number}", batch=number) for number in (9, 11)]
    rows += [tried("error", "no kernel", model=f"model{number}") for number in range(9)]
    told = throughput_notes(rows)[1:5]
    assert told == [
        "oom: glsim at 448, batches 64, 128 – Tried to allocate 64.5 GiB. (figures vary)",
        "crashed: glsim at 224, batch 9 – signal 9",
        "crashed: glsim at 224, batch 11 – signal 11",
        "error: model0 at 224, batch 1; model1 at 224, batch 1; model2 at 224, batch 1; model3 at 224, batch 1; "
        "and 5 more points – no kernel",
    ]


def test_a_reason_tells_contenders_of_one_model_apart():
    rows = [row(impl="fast"), tried("oom", "too large", impl="published"), row(impl="fast", dtype="amp")]
    told = "oom: glsim published (NVIDIA H200 · float32 · eager) at 224, batch 1 – too large"
    assert told in throughput_notes(rows)


def test_many_reasons_and_environments_are_shortened():
    rows = [tried("error", "x" * 999 + str(number), batch=number) for number in range(99)]
    rows += [row(environment={"torch": f"2.{minor}"}) for minor in range(99)]
    notes = throughput_notes(rows)
    assert len(notes) < 25
    assert max(map(len, notes)) < 700


def test_missing_columns_are_explained():
    missing = {"mfu": "not asked for", "energy_j_per_image": "not asked for", "clock_mhz": "no permission"}
    assert "No MFU, J/img: not asked for" in throughput_notes([row(environment={**GPU, "missing": missing})])


def test_the_best_of_sweeps_that_were_put_together_is_one():
    rows = [row(batch=4, img_s=90.0, best=True), row(batch=16, img_s=120.0, best=True), row(batch=64, img_s=110.0)]
    assert list(throughput_frame(rows)["best"]) == ["", "yes", ""]


def test_rows_are_shown_by_size_and_batch():
    rows = [row(size=448, batch=2), row(size=224, batch=16), row(size=224, batch=2)]
    frame = throughput_frame(rows)
    assert list(zip(frame["size"], frame["batch"], strict=True)) == [("224", "2"), ("224", "16"), ("448", "2")]


def test_names_are_text_in_every_format():
    rows = [row(HOSTILE, backbone="a\x1b[31m\nb"), row("[bold]", batch=2), row("__init__", batch=2)]
    rows[1]["environment"] = rows[2]["environment"] = {**GPU, "device_name": "[x]:heart:"}
    printed = in_terminal(throughput_tables(rows), throughput_notes(rows))
    assert HOSTILE in printed
    assert "[x]:heart:" in printed
    assert "\x1b" not in printed
    markdown = render.to_markdown(throughput_frame(rows))
    assert "=mine\\|\\_a\\_&\\[red]\\<b>\\*\\\\x:heart:" in markdown
    assert "\\_\\_init\\_\\_" in markdown
    latex = render.to_latex(throughput_frame(rows))
    assert "mine|\\_a\\_\\&[red]" in latex
    assert "\n{[}x]" in latex  # a [ behind \\ would be an option of the line's end


def test_lists_and_environments_are_json_in_one_cell_of_csv():
    (read, _) = csv.DictReader(io.StringIO(render.to_csv(ROWS[:2])))
    assert json.loads(read["environment"]) == GPU
    assert json.loads(read["blocks"]) == ROWS[0]["blocks"]
    assert float(read["throughput_img_s"]) == 84.31


def test_names_in_csv_are_those_of_the_rows():
    (read,) = csv.DictReader(io.StringIO(render.to_csv([row(HOSTILE)])))
    assert read["model"] == HOSTILE


def test_ten_thousand_rows_take_seconds():
    many = [row(f"model{n // 40}", size=224 * (1 + n // 8 % 5), batch=2 ** (n % 8)) for n in range(10_000)]
    before = time.process_time()
    assert table_of(many).count("\n") > 10_000
    assert len(throughput_frame(many)) == 10_000
    assert time.process_time() - before < 30  # about five where nothing else runs


def test_the_spread_in_figures():
    assert spread_summary(REPEATS) == {
        "points": 3,
        "points_without_spread": 1,
        "median_percent": pytest.approx(100 * (50.2 / 50.1 - 1)),
        "largest_percent": pytest.approx(100 * (1241.0 / 1208.9 - 1)),
        "within_1_percent": 2,
        "overlapping": 2,
    }


def test_rows_without_repeats_have_no_spread():
    assert spread_summary(H200)["points"] == 0
    assert spread_summary(H200)["median_percent"] is None
    assert spread_notes(H200) == ["No row was measured repeatedly: there is no spread to tell."]
    assert in_terminal([spread_table([])])


def test_repeats_of_several_modes_and_environments_are_points_of_their_own():
    other = [{**point, "dtype": "bfloat16"} for point in REPEATS]
    assert spread_summary(REPEATS + other)["points"] == 6
    assert "bfloat16" in in_terminal([spread_table(REPEATS + other)])
    assert spread_summary([REPEATS[0], {**REPEATS[1], "environment": CPU}])["points"] == 0


def test_many_repeats_fold():
    rows = [row(img_s=80.0 + number / 100, repeat=number) for number in range(1, 60)]
    printed = in_terminal([spread_table(rows)])
    assert max(map(len, printed.splitlines())) <= 120
    assert printed.count("12.4") > 50


positive = st.floats(1e-3, 1e6)
missing_or = st.one_of(st.none(), positive)
sizes, names = (
    st.sampled_from([224, 448, 1024]),
    st.sampled_from(["glsim", "transfg", HOSTILE, "m" * 40, "\n", "日本語"]),
)


@st.composite
def points(draw):
    figures = draw(st.booleans())
    return row(
        draw(st.one_of(names, st.text(max_size=12))),
        size=draw(sizes),
        batch=draw(st.sampled_from([1, 2, 64, 256])),
        img_s=draw(positive) if figures else None,
        width=draw(st.floats(0, 0.9)),
        status=draw(st.sampled_from(STATUSES)),
        reason=draw(st.one_of(st.none(), st.text(max_size=30))),
        selector=draw(st.sampled_from([None, "gls", "psm"])),
        impl=draw(st.sampled_from([None, "published", "fast"])),
        backbone=draw(st.sampled_from([VIT, "resnet101", "vit_small_patch14_reg4_dinov2.lvd142m"])),
        device=draw(st.sampled_from(["cuda", "cpu"])),
        dtype=draw(st.sampled_from(["float32", "bfloat16"])),
        compiled=draw(st.booleans()),
        energy_j_per_image=draw(missing_or),
        mfu=draw(st.one_of(st.none(), st.floats(0, 1.2))),
        best=draw(st.booleans()),
        environment=draw(st.sampled_from([GPU, CPU, {}, {"torch": "2.8.0", "missing": None}])),
        repeat=draw(st.one_of(st.none(), st.integers(1, 3))),
    )


def same_place(point) -> tuple:
    told = point["environment"].get("torch"), point["environment"].get("device_name")
    return *(point[name] for name in "model selector impl backbone image_size device dtype compiled".split()), *told


@settings(deadline=None)
@given(st.lists(points(), max_size=12))
def test_any_rows_make_tables(rows):
    printed = in_terminal([*throughput_tables(rows), spread_table(rows)])
    assert max(map(len, printed.splitlines())) <= 120
    assert all(isinstance(note, str) for note in throughput_notes(rows) + spread_notes(rows))
    frame = throughput_frame(rows)
    assert len(frame) == len(rows)
    if rows:
        render.to_markdown(frame)
        render.to_latex(frame)
        flagged = {same_place(point) for point in rows if point["best"] and point["latency_s"]}
        assert list(frame["best"]).count("yes") == len(flagged)
    found = spread_summary(rows)
    assert found["within_1_percent"] <= found["points"]


@settings(deadline=None, max_examples=30)
@given(st.lists(points(), min_size=1, max_size=8))
def test_no_figure_is_cut_on_a_narrow_terminal(rows):
    console = Console(file=io.StringIO(), width=80, color_system=None)
    for table in throughput_tables(rows):
        console.print(table)
    printed = console.file.getvalue()
    assert "…" not in printed
    for cell in throughput_frame(rows)["latency ms"]:
        assert cell in printed
