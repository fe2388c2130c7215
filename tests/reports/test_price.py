"""What a million images cost."""

from __future__ import annotations

import math

import pytest
from helpers.saved_rows import accuracy
from helpers.throughput_rows import GPU, H200, HOST, HOSTILE, ROWS, points, row, tried
from hypothesis import given, settings
from hypothesis import strategies as st

from fgbench_reports.data import Data
from fgbench_reports.price import (
    Price,
    cost_per_million,
    hours_per_million,
    kwh_per_million,
    price_notes,
    price_table,
)
from fgbench_reports.report import BEST, SECOND, Missing, Table, report_breach
from fgbench_reports.tables.render import render

positive = st.floats(1e-3, 1e6)


def table_of(data: Data) -> Table:
    (table,) = Price().items(data)
    return table


def test_a_million_images_at_a_thousand_a_second_take_a_thousand_seconds():
    assert hours_per_million(1000.0) == pytest.approx(1000 / 3600)
    assert cost_per_million(1000.0, 3.6) == pytest.approx(1.0)
    assert kwh_per_million(3.6) == pytest.approx(1.0)
    assert kwh_per_million(None) is None


@given(img_s=positive, price=positive, energy_j=positive)
def test_units_agree_with_seconds_and_joules(img_s, price, energy_j):
    seconds = math.fsum([1 / img_s]) * 1e6
    assert hours_per_million(img_s) * 3600 == pytest.approx(seconds)
    assert cost_per_million(img_s, price) == pytest.approx(price * seconds / 3600)
    assert kwh_per_million(energy_j) * 1000 * 3600 == pytest.approx(energy_j * 1e6)  # kWh → J


def test_the_table_has_the_best_batch_of_every_model_and_size():
    frame = price_table(Data(throughput=H200))
    assert [(line["model"], line["image size"], line["batch"]) for line in frame.to_dict("records")] == [
        ("glsim", 224, 64),
        ("glsim", 1024, 1),
        ("transfg", 224, 1),
        ("resnet101", 224, 1),
    ]
    assert list(frame["top-1 % cub"]) == [90.93, None, 90.49, 82.71]
    first, *others = frame["kWh per 1M"]
    assert first == pytest.approx(0.412 / 3.6)
    assert others == [None] * 3


def test_columns_are_there_for_what_is_known():
    plain = [row(img_s=100.0)]
    assert "cost per 1M" not in price_table(Data(throughput=plain))
    assert "kWh per 1M" not in price_table(Data(throughput=plain))
    priced = price_table(Data(throughput=plain, gpu_hour_price=2.5))
    assert list(priced["cost per 1M"]) == [pytest.approx(1e4 / 3600 * 2.5)]
    assert "backbone" not in priced
    assert "backbone" in price_table(Data(throughput=[*plain, row(backbone="vit_tiny_patch16_224")]))


def test_accuracies_stand_in_the_column_of_their_data_set():
    runs = [
        accuracy(dataset="dogs", top1=85.0, num_classes=120, images=8580),
        accuracy("vit", dataset="birds", selector=None),
    ]
    frame = price_table(Data(throughput=[row()], accuracy=runs))
    assert {name: list(frame[name]) for name in frame if name.startswith("top-1")} == {
        "top-1 % dogs": [85.0],
        "top-1 % birds": [None],
    }
    table = table_of(Data(throughput=[row()]))
    assert list(table.printed["top-1 % cub"]) == ["90.93†"]
    assert any(note.startswith("† published") for note in table.notes)
    assert not any("†" in note for note in table_of(Data(throughput=[row()], accuracy=runs)).notes)


def test_the_lowest_of_a_mode_are_marked():
    rows = [row("a", img_s=10.0), row("b", img_s=30.0), row("c", img_s=20.0), row("d", img_s=30.0)]
    slow = [row(model, img_s=speed, dtype="amp") for model, speed in (("a", 5.0), ("b", 7.0))]
    table = table_of(Data(throughput=[*rows, *slow], gpu_hour_price=1.0))
    assert {place: mark for place, mark in table.marks.items() if place[1] == "cost per 1M"} == {
        (1, "cost per 1M"): BEST,
        (3, "cost per 1M"): BEST,
        (2, "cost per 1M"): SECOND,
        (5, "cost per 1M"): BEST,
        (4, "cost per 1M"): SECOND,
    }
    assert table_of(Data(throughput=rows[:1])).marks == {}  # best of one is no distinction


def test_what_noise_does_not_tell_apart_has_no_mark():
    rows = [row("a", img_s=10.0), row("b", img_s=30.0, width=0.4), row("c", img_s=25.0)]
    assert table_of(Data(throughput=rows)).marks == {}, "it may be the second that is the lowest"
    near = [row("a", img_s=10.0), row("b", img_s=30.0), row("c", img_s=10.01)]
    assert table_of(Data(throughput=near)).marks == {(1, "hours per 1M"): BEST}
    bare = {"latency_ci95_low_s": None, "latency_ci95_high_s": None}
    assert table_of(Data(throughput=[row("a"), row("b", img_s=300.0, **bare)])).marks == {}


def test_what_hours_and_prices_are_of_is_said():
    gpu, cpu = Data(throughput=H200, gpu_hour_price=2.5), Data(throughput=HOST)
    assert "Cost: the hours at 2.5 per hour of one device, whichever it is." in price_notes(gpu)
    assert any("--gpu-hour-price" in note for note in price_notes(cpu))
    assert not any("CPU" in note for note in price_notes(gpu))
    assert any("hours of one process with its threads" in note for note in price_notes(cpu))
    assert not any("different devices" in note for note in price_notes(gpu))
    assert any("different devices" in note for note in price_notes(Data(throughput=ROWS)))


def test_nothing_measured_is_missing_with_the_command_that_measures_it():
    for rows in ([], [tried("oom", "too much")]):
        (missing,) = Price().items(Data(throughput=rows))
        assert isinstance(missing, Missing)
        assert missing.command == "fgbench throughput"


def test_versions_of_torch_never_share_a_mode():
    rows = [row(), row(environment={**GPU, "torch": "2.8.0"})]
    told = [note for note in price_notes(Data(throughput=rows)) if note.startswith("Measured on NVIDIA H200, torch")]
    assert ["2.9.0" in told[0], "2.8.0" in told[1], len(told)] == [True, True, 2]
    assert len(set(price_table(Data(throughput=rows))["mode"])) == 2


@given(rows=st.lists(points(), max_size=5), price=st.none() | positive)
@settings(deadline=None, max_examples=50)
def test_any_rows_make_a_table_whose_cells_are_text(rows, price):
    data = Data(throughput=rows, gpu_hour_price=price)
    for item in Price().items(data):
        if isinstance(item, Missing):
            continue
        assert item.printed.shape == item.frame.shape
        assert list(item.printed.columns) == list(item.frame.columns)
        assert len(set(item.frame.columns)) == len(item.frame.columns)
        assert all(cell.isprintable() for cell in item.printed.to_numpy().ravel())
        assert set(item.names) <= set(item.frame)
        assert set(item.marks) <= {(line, name) for line in range(len(item.frame)) for name in item.frame}
        render(item, "markdown")
        render(item, "latex")


def test_names_come_out_as_text():
    printed = table_of(Data(throughput=[row(HOSTILE)])).printed
    assert list(printed["model"]) == [HOSTILE]
    assert HOSTILE not in render(Table.from_text("price", "", printed, names=()), "markdown")  # it is escaped there


def test_it_is_a_report():
    assert report_breach(Price) is None


def test_the_table(same_as_snapshot):
    table = table_of(Data(throughput=ROWS, gpu_hour_price=2.5))
    notes = "".join(f"\n{note}" for note in table.notes)
    same_as_snapshot(
        "price_table.md",
        render(Table.from_text("price", "", table.printed, names=table.names), "markdown") + notes + "\n",
    )


def test_the_public_function_and_the_report_have_the_same_lines():
    data = Data(throughput=ROWS, gpu_hour_price=2.5)
    assert price_table(data).equals(table_of(data).frame)
