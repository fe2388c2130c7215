"""Rows of parts and of training steps: their own tables and figures, and no place in any other."""

from __future__ import annotations

import pytest
from helpers.figure_rows import figures_of
from helpers.throughput_rows import CPU, in_terminal, row

from fgbench.plugins.reports import make_reports, reports
from fgbench.results.rows import mark_best
from fgbench_reports.choose.configurations import configurations
from fgbench_reports.data import Data, records
from fgbench_reports.measured.throughput import throughput_tables
from fgbench_reports.plots.parts import PARTS, Parts
from fgbench_reports.report import Table

MS = {"pass 1": 10.0, "selector": 2.0, "crop": 1.0, "pass 2": 10.0, "fusion": 0.5, "whole": 23.0, "sum": 23.5}
WAY = {"decode": 4.0, "resize": 3.0, "transfer": 0.5, "model": 12.5, "end to end": 20.0}


def part(name: str, ms: float, environment: dict, **fields) -> dict:
    made = row(batch=1, img_s=1e3 / ms, device="cpu", environment=environment, **fields)
    return {**made, "part": name, "added_memory_bytes": 1_000_000}


def environment(names, **more) -> dict:
    return {**CPU, **more, "seen": {"parts": [name for name in names if name not in ("sum", "end to end")]}}


WHOLE = {**row(batch=1, img_s=1e3 / 23.0, device="cpu"), "environment": CPU}
STAGES = [part(name, ms, environment(MS)) for name, ms in MS.items()]
PICTURES = [part(name, ms, environment(WAY, pictures={"count": 3})) for name, ms in WAY.items()]
# As fast as nothing else: whoever mixes it with forward passes is found out.
STEP = row(batch=1, img_s=1e5, device="cpu", environment={**CPU, "training": True, "flops_per_image": 5e9})
MIXED = [WHOLE, *reversed(STAGES), *PICTURES, STEP]


def test_data_takes_parts_and_training_steps_out_of_throughput():
    data = Data(throughput=MIXED)
    assert [one.part for one in data.throughput] == [None]
    assert not data.throughput[0].is_training
    assert len(data.parts) == len(STAGES) + len(PICTURES)
    assert [one.is_training for one in data.training] == [True]
    assert len(data.of_kind("throughput")) == len(MIXED)


@pytest.mark.parametrize("name", reports.names())
def test_no_other_report_changes_by_them(name):
    (alone,), (mixed,) = (
        make_reports([name], Data(throughput=rows), lambda problem: pytest.fail(str(problem)))
        for rows in ([WHOLE], MIXED)
    )
    if name == "parts":
        return
    if name == "throughput":  # with training steps as a mode of their own
        assert [item.title for item in mixed.items][:1] == [item.title for item in alone.items]
        assert len(mixed.items) == 2
        assert "training step" in mixed.items[1].title
        return
    assert list(map(told, mixed.items)) == list(map(told, alone.items))


def told(item) -> object:
    if isinstance(item, Table):
        return item.title, item.printed.to_csv(), tuple(item.notes)
    return str(getattr(item, "alt", item))


def test_nothing_is_chosen_by_them():
    assert [one.row.part for one in configurations(Data(throughput=MIXED), dataset="")] == [None]


def test_a_part_is_never_the_best():
    fast = {**WHOLE, "part": "selector", "throughput_img_s": 1e6}
    marked = mark_best(records(type(Data(throughput=[WHOLE]).throughput[0]), [fast, WHOLE]))
    assert [one.best for one in marked] == [False, True]


def test_the_table_has_the_sum_beside_the_whole_and_their_difference():
    text = in_terminal(throughput_tables(MIXED).narrow)
    lines = [line.split() for line in text.splitlines()]
    assert ["sum", "23.50", "0.20", "102", "1.00"] in lines
    assert ["whole", "23.00", "0.20", "100", "1.00"] in lines
    assert ["sum", "−", "whole", "+0.500", "–", "+2.17", "–"] in lines
    names = [line[0] for line in lines if line and line[0] in MS]
    assert names == ["selector", "crop", "fusion", "sum", "whole", "sum"]
    assert "The sum of the stages differs from the whole by +2.17 %." in throughput_tables(MIXED).notes


def test_the_speed_of_the_whole_way_stands_in_its_table():
    lines = [line.split() for line in in_terminal(throughput_tables(MIXED).narrow).splitlines()]
    assert ["end", "to", "end", "20.00", "0.20", "100", "50.0", "1.00"] in lines


def test_tables_without_parts_stay_as_they_were():
    assert len(throughput_tables([WHOLE]).narrow) == len(throughput_tables([WHOLE]).wide) == 1
    assert "GFLOP/img" not in in_terminal(throughput_tables([WHOLE]).narrow)
    assert "GFLOP/img" in " ".join(throughput_tables([STEP]).wide[0].frame.columns)


def test_stacked_bars_say_what_takes_most_and_differ_without_colour():
    first, second = sorted(figures_of(Parts, Data(throughput=MIXED)), key=lambda figure: "files" in figure.title)
    assert first.alt.startswith("one stacked bar of milliseconds per image in the stages of a forward pass")
    assert "glsim at 224, batch 1 takes 23.50 ms per image, most of it in pass 1, 42.6 %" in first.alt
    assert "most of it in model, 62.5 %" in second.alt
    drawing = first.draw()
    assert [point.text.splitlines()[1] for point in drawing.points][:2] == [
        "pass 1: 10.00 ms per image, 42.6 %",
        "selector: 2.000 ms per image, 8.51 %",
    ]
    (axes,) = drawing.canvas.axes
    assert [bar.get_width() for bar in axes.patches] == pytest.approx([10, 2, 1, 10, 0.5])
    assert len({bar.get_hatch() for bar in axes.patches}) == 5
    for names in (MS, WAY):
        hatches = [PARTS[name][1] for name in names if name in PARTS]
        assert len(set(hatches)) == len(hatches)


def test_without_parts_the_report_names_the_command():
    (missing,) = Parts().items(Data(throughput=[WHOLE]))
    assert missing.command == "fgbench throughput --by-part"
