"""Engines, precisions and modes side by side: what is compared, what is marked, and agreement with float32."""

from __future__ import annotations

import pytest
from helpers.throughput_rows import CPU, in_terminal, row, timed, tried

from fgbench_reports.choose.configurations import configurations
from fgbench_reports.data import Data
from fgbench_reports.measured.agreement import share
from fgbench_reports.measured.engines import comparisons, engine_tables, fastest
from fgbench_reports.measured.throughput import throughput_tables
from fgbench_reports.plots.engines import Engines
from fgbench_reports.price import price_table
from fgbench_reports.relative import ratio_interval
from fgbench_reports.report import Missing

AGREES = {
    "pictures": 64,
    "largest_logit_difference": 7e-7,
    "relative_logit_difference": 1e-7,
    "equal_top1_percent": 100.0,
    "equal_selected_percent": 99.5,
    "equal_boxes_percent": None,
}


def point(engine="torch", dtype="float32", img_s=100.0, **fields) -> dict:
    return row(engine=engine, dtype=dtype, img_s=img_s, device="cpu", **{"environment": CPU, **fields})


def only(rows):
    (comparison,) = comparisons(timed(rows))
    return comparison


def marked(rows) -> list[tuple[str, str] | None]:
    return [fastest(ways) for ways in only(rows).points.values()]


def test_one_way_is_not_compared():
    assert engine_tables([point(), point(batch=8)]).narrow == []
    (gap,) = Engines().items(Data(throughput=[point()]))
    assert isinstance(gap, Missing)


def test_engines_precisions_and_modes_have_a_column_each():
    rows = [point(), point(compiled=True, img_s=150.0), point("onnxruntime", img_s=140.0), point(dtype="bfloat16")]
    assert list(only(rows).headings.values()) == [
        "torch eager float32",
        "torch compiled float32",
        "onnxruntime float32",
        "torch eager bfloat16",
    ]
    (table,) = engine_tables(rows).wide
    assert list(table.frame["torch compiled float32"]) == [150.0]
    assert table.marks == {(0, "torch compiled float32"): "best"}
    assert "150*" in in_terminal(engine_tables(rows).narrow)


def test_every_way_has_its_ratio_to_eager_torch_in_float32():
    rows = [point("onnxruntime", img_s=140.0), point(img_s=100.0), point(dtype="bfloat16", img_s=50.0)]
    tables = engine_tables([*rows, point("openvino", img_s=120.0, status="contended", reason="busy")])
    (table,) = tables.wide
    base = "torch eager float32"
    found = {name: table.frame[name][0] for name in table.frame if "×" in name}
    assert found == pytest.approx(
        {
            f"onnxruntime float32 × {base}": 100 / 140,
            f"torch eager bfloat16 × {base}": 2.0,
            f"openvino float32 × {base}": 100 / 120,
        }
    )
    low, high = ratio_interval((1 / 140, 0.998 / 140, 1.002 / 140), (0.01, 0.00998, 0.01002))
    assert (100 / 140 - low, high - 100 / 140) == pytest.approx((0.002, 0.002), rel=0.05)
    assert table.printed[f"onnxruntime float32 × {base}"][0] == "0.714 ±0.002"
    assert table.printed[f"openvino float32 × {base}"][0].endswith("?")
    shown = in_terminal(tables.narrow, tables.notes)
    assert f"× {base} side by side" in shown
    assert "0.714 ±0.002" in shown
    assert f"× {base}: latency over that of {base} at the same size and batch" in shown


def test_without_eager_torch_the_first_way_is_the_base_of_ratios():
    rows = [point("onnxruntime", img_s=140.0), point("openvino", img_s=70.0), point("openvino", batch=8)]
    (table,) = engine_tables(rows).wide
    assert list(table.frame["openvino × onnxruntime"]) == [2.0, None]
    assert table.printed["openvino × onnxruntime"][1] == "–"


def test_a_ratio_without_an_interval_is_told_and_a_failure_has_none():
    bare = {"latency_ci95_low_s": None, "latency_ci95_high_s": None}
    (table,) = engine_tables([point(), point("onnxruntime", img_s=200.0, **bare)]).wide
    assert list(table.printed["onnxruntime × torch eager"]) == ["0.500"]
    assert any("Without ±: one of the two has no interval." in note for note in table.notes)
    failed = tried("error", "no such operator", engine="onnxruntime", device="cpu", environment=CPU)
    (table,) = engine_tables([point(), failed]).wide
    assert not any("×" in name for name in table.frame)
    assert not any("×" in note for note in table.notes)


def test_the_precision_is_left_out_of_headings_where_all_share_it():
    comparison = only([point(), point("onnxruntime")])
    assert list(comparison.headings.values()) == ["torch eager", "onnxruntime"]
    assert "float32" in comparison.title


@pytest.mark.parametrize(
    "changed", [{"torch": "2.8.0"}, {"threads": 4}, {"device_name": "another"}, {"training": True}, {"num_classes": 10}]
)
def test_other_machines_versions_and_other_work_are_never_side_by_side(changed):
    assert comparisons(timed([point(), point("onnxruntime", environment={**CPU, **changed})])) == []


def test_parts_of_a_pass_are_left_out():
    assert comparisons(timed([point(), point("onnxruntime", part="selector")])) == []


def test_the_fastest_is_marked_only_where_intervals_say_so():
    assert marked([point(), point("onnxruntime", img_s=101.0)]) == [("onnxruntime", "float32")]
    assert marked([point(), point("onnxruntime", img_s=101.0, width=0.02)]) == [None]
    assert marked([point(img_s=90.0), point("onnxruntime", status="contended", reason="busy")]) == [None]
    failed = tried("error", "no such operator", engine="onnxruntime", device="cpu", environment=CPU)
    assert marked([point(), failed]) == [None]
    assert "error" in in_terminal(engine_tables([point(), failed]).narrow)


def test_int8_competes_only_with_its_agreement_beside_it():
    slow, fast = point(), point("onnxruntime", img_s=140.0)
    assert marked([slow, fast, point("openvino", "int8", img_s=300.0)]) == [("onnxruntime", "float32")]
    agreed = point("openvino", "int8", img_s=300.0, agreement=AGREES)
    assert marked([slow, fast, agreed]) == [("openvino", "int8")]
    agreement = engine_tables([slow, fast, agreed]).wide[1]
    assert list(agreement.frame["openvino int8"]) == [100.0, 99.5, 7e-7]


def test_repeats_count_by_their_middle_and_their_widest_interval():
    rows = [point(repeat=1), point(repeat=2, img_s=120.0), point("onnxruntime", img_s=110.0, repeat=1)]
    assert marked(rows) == [None]


def test_the_worst_agreement_of_all_batches_is_shown():
    worse = {**AGREES, "equal_top1_percent": 98.4375, "largest_logit_difference": 0.5}
    rows = [point(), point(batch=8), point("ort", agreement=AGREES), point("ort", batch=8, agreement=worse)]
    (_, table) = engine_tables(rows).wide
    assert dict(zip(table.printed["agreement"], table.printed["ort"], strict=True)) == {
        "top-1 = %": "98.44",
        "selected = %": "99.5",
        "Δ logits": "5.0e-01",
    }


def test_almost_all_is_not_100_percent():
    assert [share(value) for value in (100.0, 99.9999, 98.4375, 0.0)] == ["100", "<100", "98.44", "0"]


def test_columns_of_agreement_are_there_only_where_rows_have_it():
    plain = throughput_tables([point(), point("onnxruntime")])
    assert not any("Δ" in str(table.frame.columns) for table in plain.narrow)
    agreed = {**AGREES, "calibration": "128 drawn pictures, seed 0"}
    tables = throughput_tables([point(), point("openvino", "int8", agreement=agreed)])
    first, second = tables.narrow
    assert "top-1 = %" not in first.frame
    assert {"top-1 = %", "selected = %", "Δ logits"} <= set(second.frame)
    assert "boxes = %" not in second.frame
    assert "int8 was calibrated with 128 drawn pictures, seed 0." in tables.notes


def test_a_report_has_a_figure_and_both_tables_with_their_environment():
    figure, speed, agreement = Engines().items(Data(throughput=[point(), point("ort", agreement=AGREES)]))
    assert list(speed.frame["ort"]) == [100.0]
    assert any(note.startswith("Measured on Intel Xeon") for note in speed.notes)
    assert any("64 pictures" in note for note in agreement.notes)
    drawing = figure.draw()
    assert [(point.x, point.y) for point in drawing.points] == [(100.0, 0), (100.0, 0)]
    names = [point.text.splitlines()[0] for point in drawing.points]
    assert names == ["glsim, batch 1, torch eager", "glsim, batch 1, ort"]
    assert "glsim, batch 1: torch eager has the most images per second with 100" in figure.alt


def test_a_figure_draws_what_can_be_compared():
    rows = [point(), point("ort"), point(batch=8), point("ort", batch=8, img_s=None, status="oom", reason="none")]
    rows += [point(f"engine{number}") for number in range(8)]
    figure, _ = Engines().items(Data(throughput=rows))
    assert figure.notes == ["Not drawn: engine6 and engine7; the table has all."]
    assert len(figure.draw().points) == 8


def test_no_accuracy_of_floats_is_given_to_int8():
    data = Data(throughput=[point(), point("openvino", "int8")])
    known = {one.row.dtype: one.accuracy is not None for one in configurations(data, dataset="cub")}
    assert known == {"float32": True, "int8": False}


def test_prices_of_engines_stand_apart():
    data = Data(throughput=[point(), point("onnxruntime", img_s=200.0), point("onnxruntime", batch=8, img_s=150.0)])
    table = price_table(data)
    assert list(table["img/s"]) == [100.0, 200.0]
    assert len(set(table["mode"])) == 2
