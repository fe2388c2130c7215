"""How a choice is shown."""

from __future__ import annotations

import json

import pytest
from helpers.choices import GRID, chosen, limits, measured
from helpers.growth import assert_work_grows_with
from helpers.throughput_rows import CPU, HOSTILE, ROWS, VIT, row
from hypothesis import given, settings
from hypothesis import strategies as st

from fgbench_reports.choose.choice_table import (
    choice_frame,
    choice_notes,
    choice_rows,
    choice_tables,
    limits_frame,
    misses_frame,
)
from fgbench_reports.choose.limits import Limits
from fgbench_reports.tables.render import render


@given(rows=st.lists(measured(), max_size=8), limits=limits, price=st.none() | st.just(2.5))
@settings(deadline=None, max_examples=40)
def test_any_choice_can_be_shown_in_any_format(rows, limits, price):
    if price is None:
        limits = Limits(max_latency_s=limits.max_latency_s, gpu=limits.gpu)
    choice = chosen(rows, limits, price=price)
    tables = choice_tables(choice)
    json.loads(render(tables, "json"))
    for table in tables.wide:
        assert all(cell.isprintable() for cell in table.printed.to_numpy().ravel())
    for style in ("csv", "markdown", "latex"):
        render(tables, style)
    assert render(tables, "table", to_file=True).strip()


def test_rows_for_programs_say_the_verdict():
    rows = choice_rows(chosen([*GRID, row(batch=3, img_s=150.0)], Limits(max_latency_s=0.02), price=2.5))
    assert len(rows) == len(GRID) + 1
    for one in rows:
        assert one["satisfies"] == (one["ruled_out_by"] == [])
        assert one["cost_per_million"] == pytest.approx(1e6 / one["throughput_img_s"] / 3600 * 2.5)
        assert one["satisfies"] or not one["pareto"]
        assert one["satisfies"] == (one["latency_ci95_high_s"] <= 0.02)
        assert one["verdict"] == ("keeps" if one["satisfies"] else "uncertain" if one["uncertain_about"] else "misses")
        assert one["latency_low_s"] <= one["latency_s"] <= one["latency_high_s"]
        assert one["throughput_low_img_s"] == pytest.approx(one["batch_size"] / one["latency_high_s"])
        assert one["cost_per_million_high"] == pytest.approx(1e6 / one["throughput_low_img_s"] / 3600 * 2.5)
    assert [one["batch_size"] for one in rows if one["verdict"] == "uncertain"] == [16, 3]  # both at 20 ms ± 0.2 %
    first = rows[0]
    assert (first["model"], first["dataset"], first["accuracy_source"]) == ("vit", "cub", "published")
    assert (first["device_name"], first["mode"]) == ("NVIDIA H200", "NVIDIA H200 · float32 · eager")
    assert (first["top1_percent"], first["kwh_per_million"]) == (90.11, None)
    assert (first["accuracy_runs"], first["accuracy_images"]) == (3, 5794)
    assert first["top1_low_percent"] < 90.11 < first["top1_high_percent"]


def test_every_line_names_its_device_dtype_and_mode():
    rows = [
        row(img_s=10.0),
        row(img_s=20.0, dtype="amp"),
        row(device="cpu", environment=CPU, img_s=30.0, compiled=True),
    ]
    choice = chosen(rows)
    assert set(choice_frame(choice)["on"]) <= {
        "NVIDIA H200 · float32 · eager",
        "NVIDIA H200 · amp · eager",
        "Intel Xeon 8481C · float32 · compiled",
    }
    assert len(choice.chosen) > 1
    assert any("different environments" in note for note in choice_notes(choice))
    assert not any("different environments" in note for note in choice_notes(chosen(rows[:1])))


def test_figures_that_were_disturbed_are_marked():
    choice = chosen([row(), row("vit", selector=None, img_s=500.0, status="contended", reason="somebody")])
    assert set(choice_frame(choice)["status"]) == {"", "contended"}
    assert any(note.startswith("contended:") for note in choice_notes(choice))
    assert "status" not in choice_frame(chosen([row()]))


def test_hostile_names_come_out_as_text():
    rows = [row(HOSTILE), row("two\nlines", selector="`|`", img_s=500.0)]
    choice = chosen(rows, Limits(max_latency_s=1e-6))
    told = misses_frame(choice).to_numpy().ravel().tolist()
    assert any(HOSTILE in cell for cell in told)
    assert any("two lines" in cell for cell in told)
    assert HOSTILE in render(choice_tables(choice), "table", to_file=True).replace("\n", "")
    assert "'two lines'" in next(note for note in choice_notes(choice) if "no known accuracy" in note)


def test_the_work_for_ten_thousand_configurations_is_ten_times_that_for_a_thousand():
    rows = [row(f"m{number % 50}", batch=1 + number // 50, img_s=1.0 + number % 977) for number in range(10_000)]

    def choose(rows) -> None:
        choice = chosen(rows, Limits(max_latency_s=0.1), price=1.0)
        render(choice_tables(choice), "table", to_file=True)
        assert len(choice.verdicts) == len(rows)

    assert_work_grows_with(rows, choose)


def test_the_table(same_as_snapshot):
    cpu = [{**row(batch=batch, img_s=4.0 + batch, device="cpu"), "environment": CPU} for batch in (1, 2)]
    rows = [
        *GRID,
        row("vit", selector=None, impl=None, backbone=VIT, size=448, batch=8, img_s=190.0, status="unconverged"),
    ]
    limits = Limits(min_accuracy_percent=90.5, max_latency_s=0.1, max_memory_bytes=2 * 10**9)
    choice = chosen([*rows, *cpu], limits, price=2.5)
    same_as_snapshot("choice_table.txt", render(choice_tables(choice), "table", to_file=True))


def test_the_table_where_nothing_fits(same_as_snapshot):
    choice = chosen(ROWS, Limits(min_accuracy_percent=95, max_energy_j=0.3))
    same_as_snapshot("choice_misses.txt", render(choice_tables(choice), "table", to_file=True))
    assert list(limits_frame(choice)["rules out"]) == [str(len(choice.verdicts))] * 2
