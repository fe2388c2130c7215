"""Ratios to a baseline: their intervals, their partners, and the columns and fields that hold them."""

from __future__ import annotations

import csv
import io
import json

import numpy as np
import pytest
from helpers.throughput_rows import CPU, GPU, in_terminal, row, timed, tried
from scipy.stats import t

from fgbench.results.records import FlopsRow
from fgbench_reports.data import Data
from fgbench_reports.measured.flops import Flops
from fgbench_reports.measured.model_flops import model_tables
from fgbench_reports.measured.throughput import Throughput, throughput_tables
from fgbench_reports.relative import Baseline, FlopsBaseline, Ratio, ratio_interval
from fgbench_reports.tables.render import render


def vit(**fields) -> dict:
    return row("vit", **{"selector": None, "impl": None, **fields})


def ratios(rows, name="vit") -> list[float | None]:
    records = timed(rows)
    found = map(Baseline(name, records).ratio, records)
    return [None if ratio is None else round(ratio.value, 4) for ratio in found]


@pytest.mark.parametrize(("blocks", "spread"), [(8, 0.01), (12, 0.05), (30, 0.2)])
def test_the_interval_of_a_ratio_holds_the_truth_in_95_of_100_draws(blocks, spread):
    draws, random = 4000, np.random.default_rng(20)

    def drawn(mean, noise):
        values = random.normal(mean, noise * mean, (draws, blocks))
        middle = values.mean(axis=1)
        half = t.ppf(0.975, blocks - 1) * values.std(axis=1, ddof=1) / blocks**0.5
        return list(zip(middle, middle - half, middle + half, strict=True))

    one, other = drawn(3.0, spread), drawn(2.0, spread / 2)
    intervals = [ratio_interval(*pair) for pair in zip(one, other, strict=True)]
    held = np.mean([low <= 1.5 <= high for low, high in intervals])
    assert 0.94 <= held <= 0.975


def test_the_interval_of_two_equal_widths_is_wider_by_the_root_of_two():
    low, high = ratio_interval((2.0, 1.98, 2.02), (1.0, 0.99, 1.01))
    assert (high - low) / 2 == pytest.approx(2 * 0.01 * 2**0.5, rel=0.01)


@pytest.mark.parametrize("other", [(1.0, None, None), (1.0, 0.0, 2.0), (1.0, 0.9, float("inf"))])
def test_without_an_interval_a_ratio_has_none(other):
    assert ratio_interval((2.0, 1.9, 2.1), other) is None
    assert ratio_interval(other, (2.0, 1.9, 2.1)) is None


@pytest.mark.parametrize(
    ("ratio", "text"),
    [
        (Ratio(value=1.4234, low=1.39, high=1.45), "1.42 ±0.03"),
        (Ratio(value=1.4234, low=1.4214, high=1.4254), "1.423 ±0.002"),
        (Ratio(value=1.4234, low=1.4234, high=1.4234), "1.42"),
        (Ratio(value=55.31, low=54.1, high=56.5), "55.3 ±1.2"),
        (Ratio(value=1.4234, low=1.39, high=1.45, disturbed=True), "1.42 ±0.03?"),
        (Ratio(value=1.4234), "1.42"),
    ],
)
def test_ratios_as_they_are_printed(ratio, text):
    assert ratio.text == text


def test_a_row_is_compared_at_its_own_size_batch_and_mode():
    fast, slow = {"img_s": 200.0}, {"img_s": 100.0}
    rows = [vit(**fast), row(**slow), vit(batch=8, img_s=400.0), row(batch=8, **slow), row(size=448, **slow)]
    rows += [row(dtype="bfloat16", **slow), row(engine="onnxruntime", **slow), row(environment=CPU, **slow)]
    assert ratios(rows) == [1.0, 2.0, 1.0, 4.0, None, None, None, None]


def test_two_versions_of_an_engine_are_not_compared():
    def of(version):
        return {"engine": "onnxruntime", "environment": {**GPU, "engine": {"version": version, "provider": "cuda"}}}

    assert ratios([vit(**of("1.32")), row(**of("1.32")), row(**of("1.31"))]) == [1.0, 1.0, None]
    assert len(throughput_tables([row(**of("1.32")), row(**of("1.31"))]).narrow) == 2


def test_repeats_are_compared_with_their_own():
    rows = [vit(img_s=200.0, repeat=1), vit(img_s=100.0, repeat=2), row(repeat=1), row(repeat=2)]
    assert ratios(rows) == [1.0, 1.0, 2.0, 1.0]


def test_of_several_rows_the_one_of_the_same_kind_is_the_baseline():
    rows = [row(img_s=100.0), row(img_s=50.0, impl="published")]
    others = [row("transfg", img_s=25.0, selector="psm"), row("transfg", img_s=25.0, selector="psm", impl="published")]
    assert ratios(rows + others, "glsim") == [1.0, 1.0, 4.0, 2.0]
    selectors = [row(selector="psm", img_s=10.0), row(selector="gls", img_s=50.0), vit(img_s=100.0)]
    assert ratios(selectors, "glsim") == [1.0, 1.0, 0.5]  # the published selector


def test_what_is_ambiguous_or_lacking_has_no_ratio_and_a_note():
    rows = [vit(backbone="a"), vit(backbone="b"), row(backbone="c"), row(backbone="c", batch=2)]
    tables = throughput_tables(rows, baseline="vit")
    assert ratios(rows)[2:] == [None, None]
    (note,) = [note for note in tables.notes if note.startswith("× vit")]
    assert "several rows of vit could be meant" in note
    assert "vit has no figure at that size" in note


def test_a_failed_baseline_gives_no_ratio_and_a_disturbed_one_is_marked():
    rows = [vit(batch=1, status="contended", reason="x"), row(batch=1)]
    rows += [tried("oom", "no memory", model="vit", batch=2, selector=None, impl=None), row(batch=2)]
    tables = throughput_tables(rows, baseline="vit")
    printed = in_terminal(tables.narrow)
    assert "1.000 ±0.003?" in printed
    assert any("?: one of the two was unconverged or contended" in note for note in tables.notes)
    assert ratios(rows) == [1.0, 1.0, None, None]


def test_json_and_csv_have_the_ratio_only_where_it_is_asked_for():
    rows = [vit(img_s=200.0), row(img_s=100.0)]
    plain = json.loads(render(throughput_tables(rows), "json"))
    assert not {"baseline", "ratio"} & set(plain[0])
    asked = json.loads(render(throughput_tables(rows, baseline="vit"), "json"))
    assert [(each["baseline"], each["ratio"]) for each in asked] == [("vit", 1.0), ("vit", 2.0)]
    assert asked[1]["ratio_ci95_low"] < 2.0 < asked[1]["ratio_ci95_high"]
    assert {**asked[1], **plain[1]} == asked[1]  # all else as it was
    lines = list(csv.DictReader(io.StringIO(render(throughput_tables(rows, baseline="vit"), "csv"))))
    assert lines[1]["ratio"] == "2.0"


def test_the_report_has_the_column_beside_the_latency():
    rows = [vit(img_s=200.0), row(img_s=100.0)]
    (plain,) = Throughput().items(Data(throughput=rows))
    (table,) = Throughput().items(Data(throughput=rows, baseline="timm/vit"))
    assert "× timm/vit" not in plain.frame
    assert list(table.frame.columns)[list(table.frame.columns).index("±%") + 1] == "× timm/vit"
    assert list(table.frame["× timm/vit"]) == [1.0, 2.0]
    assert table.printed["× timm/vit"][1] == "2.000 ±0.006"


def counted(model, flops, **fields) -> FlopsRow:
    defaults = {"convention": "full", "backbone": "b", "selector": None, "impl": None, "image_size": 224}
    defaults |= {"num_tokens": 197, "macs": flops // 2, "percent_of_backbone": 100.0, "params": 1}
    return FlopsRow(model=model, flops=flops, **{**defaults, **fields})


def test_flops_have_exact_ratios_of_whole_models():
    rows = [counted(None, 90), counted("vit", 100), counted("vit", 60, stage="pass 1")]
    rows += [counted("glsim", 250, impl=impl, selector="gls") for impl in ("published", "fast")]
    rows += [counted("glsim", 250, impl="fast", image_size=448), counted("glsim", 30, impl="fast", convention="fvcore")]
    base = FlopsBaseline("vit", rows)
    assert [base.ratio(each) for each in rows] == [None, 1.0, None, 2.5, 2.5, None, None]
    tables = model_tables(rows, baseline="vit")
    wide = tables.wide[0].frame
    assert list(wide["fast × vit"].dropna()) == [1.0, 2.5]
    assert "× vit" in in_terminal(tables.narrow)
    assert base.note in tables.notes
    (_, table, *_) = [*Flops().items(Data(flops=rows, baseline="vit"))]
    assert "fast × vit" in table.frame or "fast × vit" in next(Flops().items(Data(flops=rows, baseline="vit"))).frame
    assert "× vit" not in in_terminal(model_tables(rows).narrow)


def test_rows_of_parts_have_the_ratio_of_their_part():
    environment = {**CPU, "seen": {"parts": ["pass 1"]}}
    rows = [
        {**made, "part": part}
        for made in (vit(environment=environment), row(img_s=50.0, environment=environment))
        for part in (None, "pass 1", "sum")
    ]
    saved = throughput_tables(rows, baseline="vit").rows
    assert [each["ratio"] for each in saved] == [1.0] * 3 + [2.0] * 3


def test_timms_network_of_a_name_that_is_ours_is_another_model():
    rows = [vit(), row("resnet101", img_s=50.0), row("timm/resnet101", img_s=25.0), row("timm/x", img_s=20.0)]
    assert ratios(rows, "resnet101") == [0.5, 1.0, 2.0, 2.5]
    assert ratios(rows, "x")[-1] == 1.0
