"""Prices of an hour by kinds of devices: what a name fits, what is cheapest, and what has no price."""

from __future__ import annotations

import pandas as pd
import pytest
from helpers.choices import chosen
from helpers.throughput_rows import CPU, GPU, H200, row

from fgbench.errors import FgbenchError
from fgbench.quantities import hour_prices
from fgbench_reports.choose.limits import Limits
from fgbench_reports.data import Data
from fgbench_reports.hour_price import hour_price, prices_in_words
from fgbench_reports.price import price_notes, price_table


def on(name, **more):
    return row("vit", environment={**GPU, "device_name": name}, **more)


def cpu(**more):
    return row("vit", device="cpu", environment={**CPU, "device_name": "AMD EPYC"}, **more)


def record(row):
    """A row as reports read it."""
    return Data(throughput=[row]).throughput[0]


@pytest.mark.parametrize(
    ("name", "price"),
    [
        ("NVIDIA H100 80GB HBM3", 3.9),
        ("NVIDIA H100 PCIe", 3.0),  # the longest that fits
        ("NVIDIA A100-SXM4-80GB", 1.8),
        ("NVIDIA A10", 0.6),  # which A100 does not hold as a word
        ("Tesla V100-SXM2", None),
        ("NVIDIA GH100", None),
    ],
)
def test_a_kind_is_a_word_of_the_name(name, price):
    prices = {"H100": 3.9, "H100 PCIe": 3.0, "a100": 1.8, "A10": 0.6, "CPU": 0.1}
    assert hour_price(prices, record(on(name))) == price
    assert hour_price(prices, record(cpu())) == 0.1
    assert hour_price(2.5, record(on(name))) == 2.5
    assert hour_price(None, record(on(name))) is None


def test_the_price_of_each_device_is_taken_and_the_cheapest_named():
    rows = [on("NVIDIA H100", img_s=1000.0), on("NVIDIA A100", img_s=600.0), on("Tesla V100", img_s=300.0)]
    data = Data(throughput=rows, gpu_hour_price={"H100": 3.9, "A100": 1.8, "L4": 0.5})
    costs = price_table(data)["cost per 1M"].tolist()
    assert costs[:2] == [pytest.approx(1e6 / 1000 / 3600 * 3.9), pytest.approx(1e6 / 600 / 3600 * 1.8)]
    assert pd.isna(costs[2])
    notes = " ".join(price_notes(data))
    assert "Cost: the hours at 3.9 per hour of H100, 1.8 of A100, 0.5 of L4." in notes
    assert "No price was given for Tesla V100: no cost is known there." in notes
    assert "Nothing was measured on a device called L4." in notes
    assert "The cheapest: vit gls fast at 224, batch 1, float32" in notes
    assert "on NVIDIA A100, 0.83" in notes


def test_with_one_price_nothing_is_named_cheapest():
    data = Data(throughput=[on("NVIDIA H100")], gpu_hour_price=2.5)
    assert not any("cheapest" in note for note in price_notes(data))


def test_choose_puts_the_cheapest_first_and_keeps_a_slower_device_that_is_cheaper():
    rows = [on("NVIDIA H100", img_s=1000.0), on("NVIDIA A100", img_s=600.0)]
    choice = chosen(rows, price={"H100": 3.9, "A100": 1.8})
    assert [verdict.configuration.row.environment["device_name"] for verdict in choice.chosen] == [
        "NVIDIA A100",
        "NVIDIA H100",
    ]
    assert "cost per image" in choice.objectives
    assert [verdict.configuration.img_s for verdict in chosen(rows, price=2.0).verdicts] == [1000.0, 600.0]


def test_a_limit_of_cost_is_that_of_the_device_and_a_device_without_a_price_may_miss_it():
    rows = [on("NVIDIA H100", img_s=1000.0), on("NVIDIA A100", img_s=600.0), on("Tesla V100", img_s=5000.0)]
    choice = chosen(rows, Limits(max_cost=1.0), price={"H100": 3.9, "A100": 1.8})
    assert [verdict.configuration.row.environment["device_name"] for verdict in choice.chosen] == ["NVIDIA A100"]
    assert not [one for one in choice.satisfying if one.configuration.row.environment["device_name"] == "Tesla V100"]


@pytest.mark.parametrize(
    ("text", "prices"),
    [
        ("2.5", 2.5),
        ("H100=3.90,A100=1.80", {"H100": 3.9, "A100": 1.8}),
        (" H100 PCIe = 3 , CPU=.4", {"H100 PCIe": 3.0, "CPU": 0.4}),
    ],
)
def test_prices_are_read(text, prices):
    assert hour_prices(text, "--gpu-hour-price") == prices
    assert prices_in_words(prices).startswith("at ")


@pytest.mark.parametrize(
    "text", ["", "abc", "H100=", "=3", "H100=3,2", "H100=3,h100=4", "H100=-1", "H100=nan", "-2", "H100=3,"]
)
def test_what_is_no_price_is_refused(text):
    with pytest.raises(FgbenchError, match="--gpu-hour-price"):
        hour_prices(text, "--gpu-hour-price")


def test_the_device_of_the_fixture_is_found_by_its_name():
    assert hour_price({"H200": 2.0}, record(H200[0])) == 2.0
