"""Every format of the table of throughput, from fixed rows and from random ones."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace

import pandas as pd
import pytest
from helpers.growth import assert_work_grows_with
from helpers.throughput_rows import GPU, H200, HOST, HOSTILE, ROWS, VIT, in_terminal, points, row, timed, tried
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from fgbench.results.records import STATUSES
from fgbench_reports.measured.throughput import throughput_notes, throughput_tables
from fgbench_reports.tables import render
from fgbench_reports.tables.terminal import to_rich


def table_of(rows) -> str:
    return in_terminal(throughput_tables(rows).narrow)


def throughput_frame(rows) -> pd.DataFrame:
    """The cells of the table for documents."""
    (table,) = throughput_tables(rows).wide
    return table.printed


def without_notes(rows, style) -> str:
    return render.render([replace(table, notes=()) for table in throughput_tables(rows).wide], style)


def test_the_terminal_table(same_as_snapshot):
    same_as_snapshot("throughput_table.txt", render.render(throughput_tables(ROWS), "table", to_file=True))


def test_the_markdown_table(same_as_snapshot):
    same_as_snapshot("throughput_table.md", without_notes(ROWS, "markdown"))


def test_the_latex_table(same_as_snapshot):
    same_as_snapshot("throughput_table.tex", render.render(throughput_tables(ROWS), "latex"))


def test_the_csv_table(same_as_snapshot):
    same_as_snapshot("throughput_table.csv", render.render(throughput_tables(ROWS[:2]), "csv"))


def test_no_rows_make_no_table():
    assert table_of([]) == "\n"
    assert throughput_frame([]).empty
    assert throughput_notes(timed([])) == []


def test_rows_that_all_failed_have_no_figure_and_no_best():
    failed = [tried(status, None, batch=batch) for batch, status in enumerate(STATUSES[1:], 1)]
    printed = table_of(failed)
    assert "*" not in printed
    assert "0.0" not in printed
    assert "no reason was given" in throughput_notes(timed(failed))[1]
    assert set(throughput_frame(failed)["img/s"]) == {"–"}


def test_columns_that_no_row_fills_are_left_out():
    assert "J/img" not in table_of(HOST)
    assert "MFU %" not in throughput_frame(HOST)
    assert "status" not in table_of(HOST)
    assert {"J/img", "MFU %"} <= set(throughput_frame(H200))


def test_usual_lines_fit_80_columns():
    usual = [{**point, "model": "m" * 16} for point in H200 if point["backbone"] == VIT]
    assert max(map(len, table_of(usual).splitlines())) <= 80


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"torch": "2.8.0"}, "torch 2.8.0"),
        ({"threads": 4}, "threads 4"),
        ({"driver": None}, "driver unknown"),
        ({"device_name": "NVIDIA L4"}, "NVIDIA L4"),
        ({"code": "ffeeddccbbaa9988"}, "code ffeeddccbbaa9988"),
        ({"code": None}, "code of revision 1a2b3c4d5e6f+"),
        ({"code": None, "git_revision": None}, "code unknown"),
        ({"channels_last": True}, "channels last"),
        ({"memory_limit_bytes": 8_000_000_000}, "at most 8.00 GB"),
    ],
)
def test_environments_and_modes_are_never_mixed(changed, told):
    rows = [row(best=True), row(img_s=90.0, best=True, environment={**GPU, **changed})]
    first, second = map(in_terminal, ([table] for table in throughput_tables(rows).narrow))
    assert told not in first
    assert told in " ".join(second.split("\n\n")[0].split())
    differing = next(iter(changed)).replace("_", " ").replace("code", "measured code")
    assert differing in throughput_frame(rows) or len(set(throughput_frame(rows)["mode"])) == 2
    assert list(throughput_frame(rows)["best"]) == ["yes", "yes"]


def test_several_environments_are_told():
    notes = throughput_notes(timed([row(), row(environment={**GPU, "torch": "2.8.0"})]))
    assert "There are 2 environments, in tables of their own; they differ in torch." in notes


def measured(number=0, **changed) -> dict:
    return row(batch=1 + number, environment={**GPU, **changed})


def test_commits_that_leave_the_measured_code_alone_share_a_table():
    rows = [measured(n, git_revision=f"revision{n}", fgbench=f"0.{n // 3}.0") for n in range(5)]
    rows += [{**point, "dtype": "amp"} for point in rows[1:]]
    assert table_of(rows).count("img/s") == 2
    assert "measured code" not in throughput_frame(rows)
    told = (
        "threads 16, code 0f1e2d3c4b5a6978, fgbench 0.0.0, 0.1.0, revisions revision0, revision1, revision2 and 2 more."
    )
    assert throughput_notes(timed(rows))[1:] == [
        f"Measured on NVIDIA H200, torch 2.9.0, CUDA 12.8, driver 570.86, {told}"
    ]


def test_measured_code_that_differs_is_told():
    rows = [measured(), measured(code="ffeeddccbbaa9988", git_revision="ffeeddccbbaa")]
    first, second, third = throughput_notes(timed(rows))[1:]
    assert first == "There are 2 environments, in tables of their own; they differ in measured code."
    assert second.endswith(", code 0f1e2d3c4b5a6978, fgbench 0.1.0, revision 1a2b3c4d5e6f+.")
    assert third.endswith(", code ffeeddccbbaa9988, fgbench 0.1.0, revision ffeeddccbbaa.")


def test_rows_from_before_code_was_told_are_apart_by_their_revision():
    rows = [measured(n, code=None, git_revision=revision) for n, revision in enumerate(("aa", "bb", "aa"))]
    assert table_of(rows).count("img/s") == 2
    assert list(throughput_frame(rows)["measured code"]) == ["of revision aa", "of revision aa", "of revision bb"]
    assert throughput_notes(timed(rows))[2].endswith(", threads 16, code of revision aa, fgbench 0.1.0.")


def test_modes_stand_in_tables_of_their_own():
    rows = [row(dtype="float32"), row(dtype="bfloat16"), row(dtype="bfloat16", compiled=True)]
    assert table_of(rows).count("img/s") == 3


def test_a_point_that_died_early_stays_with_those_measured():
    rows = [row(batch=1), tried("crashed", "killed", batch=2, environment={"device_name": "NVIDIA H200"})]
    assert table_of(rows).count("img/s") == 1
    assert not any("environments" in note for note in throughput_notes(timed(rows)))


def test_a_reason_is_told_once_with_the_points_it_befell():
    rows = [tried("oom", f"Tried to allocate {batch}.5 GiB.", size=448, batch=batch) for batch in (64, 128)]
    rows += [tried("crashed", f"signal {number}", batch=number) for number in (9, 11)]
    rows += [tried("error", "no kernel", model=f"model{number}") for number in range(9)]
    told = throughput_notes(timed(rows))[1:5]
    assert told == [
        "oom: glsim at 448, batches 64, 128 – Tried to allocate 64.5 to 128.5 GiB.",
        "crashed: glsim at 224, batch 9 – signal 9",
        "crashed: glsim at 224, batch 11 – signal 11",
        "error: model0 at 224, batch 1; model1 at 224, batch 1; model2 at 224, batch 1; model3 at 224, batch 1; "
        "and 5 more points – no kernel",
    ]


def test_a_reason_tells_contenders_of_one_model_apart():
    rows = [row(impl="fast"), tried("oom", "too large", impl="published"), row(impl="fast", dtype="amp")]
    told = "oom: glsim published (NVIDIA H200 · float32 · eager) at 224, batch 1 – too large"
    assert told in throughput_notes(timed(rows))


def test_many_reasons_and_environments_are_shortened():
    rows = [tried("error", "x" * 999 + str(number), batch=number) for number in range(99)]
    rows += [row(environment={"torch": f"2.{minor}"}) for minor in range(99)]
    notes = throughput_notes(timed(rows))
    assert len(notes) < 25
    assert max(map(len, notes)) < 700


def test_missing_columns_are_explained():
    missing = {"mfu": "not asked for", "energy_j_per_image": "not asked for", "clock_mhz": "no permission"}
    assert "No MFU, J/img: not asked for" in throughput_notes(timed([row(environment={**GPU, "missing": missing})]))


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
    printed = render.render(throughput_tables(rows), "table", to_file=True)
    assert HOSTILE in printed
    assert "[x]:heart:" in printed
    assert "\x1b" not in printed
    markdown = without_notes(rows, "markdown")
    assert "=mine\\|\\_a\\_&\\[red]\\<b>\\*\\\\x:heart:" in markdown
    assert "\\_\\_init\\_\\_" in markdown
    latex = without_notes(rows, "latex")
    assert "mine\\textbar{}\\_a\\_\\&[red]" in latex
    assert "\n{[}x]" in latex  # a [ behind \\ would be an option of the line's end


def test_latex_prints_what_its_first_encoding_has_other_letters_for():
    """OT1 has ¡ ¿ — where ASCII has < > |; in headings as in cells."""
    rows = [{"<a>": "x|y", "b": "<0.0001"}, {"<a>": "<", "b": "\\|"}]
    latex = render.render_words(rows, "latex")
    assert "\\textless{}a\\textgreater{} & b" in latex
    assert "x\\textbar{}y & \\textless{}0.0001" in latex
    assert "\n\\textless{} & \\textbackslash{}\\textbar{} \\\\" in latex
    assert not set("<>|") & set(latex)


def test_lists_and_environments_are_json_in_one_cell_of_csv():
    (read, _) = csv.DictReader(io.StringIO(render.to_csv(ROWS[:2])))
    assert json.loads(read["environment"]) == GPU
    assert json.loads(read["blocks"]) == ROWS[0]["blocks"]
    assert float(read["throughput_img_s"]) == 84.31


def test_names_in_csv_are_those_of_the_rows():
    (read,) = csv.DictReader(io.StringIO(render.to_csv([row(HOSTILE)])))
    assert read["model"] == HOSTILE


def test_the_work_for_four_thousand_rows_is_ten_times_that_for_four_hundred():
    many = [row(f"model{n // 40}", size=224 * (1 + n // 8 % 5), batch=2 ** (n % 8)) for n in range(4_000)]

    def tables(rows) -> None:
        assert table_of(rows).count("\n") > len(rows)
        assert len(throughput_frame(rows)) == len(rows)

    assert_work_grows_with(many, tables)


def same_place(point) -> tuple:
    told = point["environment"].get("torch"), point["environment"].get("device_name")
    return *(point[name] for name in "model selector impl backbone image_size device dtype compiled".split()), *told


@settings(deadline=None)
@given(st.lists(points(), max_size=12))
def test_any_rows_make_tables(rows):
    printed = table_of(rows)
    assert max(map(len, printed.splitlines())) <= 120
    assert all(isinstance(note, str) for note in throughput_notes(timed(rows)))
    frame = throughput_frame(rows)
    assert len(frame) == len(rows)
    if rows:
        without_notes(rows, "markdown")
        without_notes(rows, "latex")
        flagged = {same_place(point) for point in rows if point["best"] and point["latency_s"]}
        assert list(frame["best"]).count("yes") == len(flagged)


@settings(deadline=None, max_examples=30)
@given(st.lists(points(), min_size=1, max_size=8))
def test_no_figure_is_cut_on_a_narrow_terminal(rows):
    console = Console(file=io.StringIO(), width=80, color_system=None)
    for table in map(to_rich, throughput_tables(rows).narrow):
        console.print(table)
    printed = console.file.getvalue()
    assert "…" not in printed
    for cell in throughput_frame(rows)["latency ms"]:
        assert cell in printed
