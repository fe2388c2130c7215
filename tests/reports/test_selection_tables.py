"""Tables and figures of selections by themselves, from rows that are made up."""

from __future__ import annotations

from dataclasses import replace

import pandas as pd
import pytest

from fgbench.results.records import BackendRow, SelectionRow, Status
from fgbench_reports import selector_cost_figures
from fgbench_reports.selector_cost import (
    DeviceRates,
    PlaceRows,
    backend_lines,
    crossover,
    ratio_lines,
    ratios,
    selection_lines,
)
from fgbench_reports.selector_cost_figures import draw_crossover, draw_roofline, draw_time
from fgbench_reports.tables.table import Table

FIGURES = {"time": draw_time, "roofline": draw_roofline, "crossover": draw_crossover}


def row(
    selector: str | None, impl: str | None, latency_s: float | None, *, flops: int, moved: int, **fields
) -> SelectionRow:
    spread = {"latency_ci95_low_s": None, "latency_ci95_high_s": None, "blocks": []}
    if latency_s is not None:
        blocks = [latency_s] * 8
        spread = {"latency_ci95_low_s": 0.9 * latency_s, "latency_ci95_high_s": 1.1 * latency_s, "blocks": blocks}
    where = {"image_size": 224, "num_tokens": 197, "batch_size": 1, "device": "cpu", "dtype": "float32"}
    work = {"macs": flops // 2, "flops": flops, "bytes": moved, "added_memory_bytes": 10**6, "backends": {}}
    what = {"selector": selector, "impl": impl, "status": Status.OK, "reason": None, "latency_s": latency_s}
    return SelectionRow(**{**what, **where, **spread, **work, **fields})


def backend(
    name: str, tokens: int, latency_s: float | None, *, chosen: bool = False, status: Status = Status.OK
) -> BackendRow:
    return BackendRow(
        backend=name,
        maps=12,
        num_tokens=tokens,
        device="cpu",
        dtype="float32",
        chosen=chosen,
        status=status,
        reason=None,
        latency_s=latency_s,
        latency_ci95_low_s=None,
        latency_ci95_high_s=None,
        blocks=[],
    )


SELECTIONS = [
    row(None, None, 0.1, flops=10**9, moved=10**8),
    row("psm", "published", 0.02, flops=10**8, moved=10**7),
    row("psm", "fast", 0.01, flops=10**7, moved=10**6, backends={"left": ["dense"]}),
    row(
        "sacm",
        "published",
        0.004,
        flops=10**5,
        moved=10**7,
        blocks=[0.004],
        reason="a single run",
        status=Status.UNCONVERGED,
    ),
    row("sacm", "fast", None, flops=10**7, moved=10**6, status=Status.OOM, reason="MemoryError: too much"),
    row("gls", "published", 0.001, flops=10**6, moved=10**6),
    row("gls", "fast", 0.002, flops=10**5, moved=10**5),
]
BACKENDS = [
    backend("dense", 100, 0.001, chosen=True),
    backend("blocks", 100, 0.002),
    backend("dense", 500, 0.9, chosen=True),
    backend("blocks", 500, 0.1, status=Status.CONTENDED),
    backend("dense", 1000, 0.3),
    backend("blocks", 1000, 0.2, chosen=True),
    backend("kernel", 1000, None),
]
PLACE = PlaceRows(
    environment={"device_name": "a processor", "threads": 2, "torch": "2.x", "git_revision": "abc"},
    rates=DeviceRates(product_flop_s=1e11, copy_bytes_s=1e10),
    selections=SELECTIONS,
    backends=BACKENDS,
)


def printed(lines) -> pd.DataFrame:
    return Table.from_cells("x", "", lines, names=()).printed


def test_a_selection_stands_beside_its_backbone():
    frame = printed(selection_lines(SELECTIONS)).set_index(["selector", "impl"])
    assert dict(frame.loc[("(backbone)", "")])["% FLOPs"] == "100.00"
    psm = dict(frame.loc[("psm", "fast")])
    assert (psm["% FLOPs"], psm["% time"], psm["FLOPs/byte"], psm["v·A by"]) == ("1.0000", "10.000", "10.0", "dense")
    assert (psm["ms"], psm["±%"], psm["status"]) == ("10.00", "10", "")
    assert dict(frame.loc[("sacm", "published")])["status"] == "unconverged"
    assert dict(frame.loc[("sacm", "fast")])["ms"] == "–"


def test_measures_that_rank_alike_are_told_from_those_that_do_not():
    frame = printed(ratio_lines(SELECTIONS)).set_index("selector")
    assert frame.loc["psm"]["fewer, less, faster"] == "fast in all"
    assert frame.loc["gls"]["fewer, less, faster"] == "FLOPs fast, bytes fast, time published"
    assert frame.loc["sacm"]["fewer, less, faster"] == "–"
    assert ratios(SELECTIONS[3:5])["time"] is None


def test_the_crossover_is_read_from_the_rows():
    (line,) = crossover(BACKENDS)
    assert line == "B·H = 12: the dense map wins last at 120 k elements, blocks win first at 12.0 M."
    assert list(printed(backend_lines(BACKENDS))["fastest"]) == ["dense", "blocks", "blocks"]
    assert list(printed(backend_lines(BACKENDS))["chosen"]) == ["dense", "dense", "blocks"]
    assert list(printed(backend_lines(BACKENDS))["contended"]) == ["", "blocks", ""]
    assert crossover([backend("blocks", 9, 0.1)]) == ["B·H = 12: the dense map never wins, blocks never win."]


@pytest.fixture
def drawn(monkeypatch) -> dict:
    """The figures before they are written."""
    found: list = []
    monkeypatch.setattr(selector_cost_figures, "_svg", lambda figure: found.append(figure) or "")
    for draw in FIGURES.values():
        draw(PLACE)
    return dict(zip(FIGURES, found, strict=True))


def labels(figure) -> list[str]:
    return [text.get_text() for text in figure.axes[0].get_legend().get_texts()]


def test_a_figure_says_what_it_leaves_out_and_what_lies_above_the_roof(drawn):
    told = {name: figure.get_supxlabel().replace("\n", " ") for name, figure in drawn.items()}
    lost = "Not drawn: 1 point (sacm fast at 224): no time, status oom."
    assert lost in told["time"]
    assert lost in told["roofline"]
    assert "Not drawn: 1 point (kernel at N = 1000, B·H = 12): no time, status ok." in told["crossover"]
    assert "Above the roof" not in told["roofline"]
    slow = replace(PLACE.rates, copy_bytes_s=1e8)
    over = [row.selector for row in SELECTIONS if row.latency_s and row.bytes / row.latency_s > 1e8]
    assert over == [None, "psm", "sacm", "gls"]
    assert selector_cost_figures._above(SELECTIONS, slow)[0].startswith("Above the roof: 4 points (backbone at 224,")


def test_in_figures_of_selections_marks_mean_what_they_mean_elsewhere(drawn):
    by_label = {line.get_label(): line for line in drawn["time"].axes[0].lines}
    assert by_label["psm, published"].get_fillstyle() == "left"
    assert by_label["psm, fast"].get_fillstyle() == "full"
    assert (by_label["psm, fast"].get_marker(), by_label["gls, fast"].get_marker()) == ("o", "D")
    assert "unconverged" in labels(drawn["time"])
    assert {"chosen: a black edge", "contended", "no interval is known"} <= set(labels(drawn["crossover"]))
    backends = [line for line in drawn["crossover"].axes[0].lines if line.get_marker() in ("o", "s", "D")]
    assert "white" not in {line.get_markerfacecolor() for line in backends}


def test_times_of_selections_have_bars(drawn):
    bars = [piece for some in drawn["time"].axes[0].collections for piece in some.get_segments()]
    assert sorted(float(high[1]) / float(low[1]) for low, high in bars) == pytest.approx([1.1 / 0.9] * 6)


def test_figures_are_the_same_every_time():
    for draw in FIGURES.values():
        once = draw(PLACE)
        assert draw(PLACE) == once
        assert "<dc:date>" not in once
