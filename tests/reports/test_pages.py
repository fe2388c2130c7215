"""Pages with blocks: their markers, and what fgbench's own blocks hold."""

from __future__ import annotations

import json
import re
from pathlib import Path

import matplotlib as mpl
import pytest

from fgbench.cli.saved import read_data
from fgbench_reports.blocks import BLOCKS, Rows, places
from fgbench_reports.data import Data
from fgbench_reports.pages import as_text, block_names, filled
from fgbench_reports.regression.rule_tables import cases, read_self_test, simulated_markdown

ROOT = Path(__file__).parents[2]
GALLERY = ROOT / "reports" / "gallery"
PAGE = "before\n<!-- begin a -->\nold\n<!-- end a -->\nafter <!-- begin b --> stays\n"


def gallery(room: str) -> Rows:
    return Rows(data=read_data(None, sorted((GALLERY / room).glob("*.json")), pytest.fail))


@pytest.fixture(scope="module")
def selections() -> Rows:
    return gallery("selection")


def test_blocks_of_a_page_are_replaced_and_nothing_else():
    once = filled(PAGE, {"a": "new\n"})
    assert once == "before\n<!-- begin a -->\n\nnew\n\n<!-- end a -->\nafter <!-- begin b --> stays\n"
    assert filled(once, {"a": "new\n"}) == once
    with pytest.raises(ValueError, match="'c'"):
        filled(PAGE, {"c": ""})


def test_a_backslash_in_a_block_stays():
    assert r"\1 \g<0> \\" in filled(PAGE, {"a": r"\1 \g<0> \\"})


def test_every_block_of_a_name_is_filled():
    assert filled(PAGE + PAGE, {"a": "new"}).count("new") == 2
    assert block_names(PAGE + PAGE) == ["a"]


@pytest.mark.parametrize(
    ("page", "why"),
    [
        ("no block\n", "it has no block"),
        ("<!-- begin a -->\n", "no line '<!-- end a -->'"),
        ("<!-- end a -->\n", "no block is open"),
        ("<!-- begin a -->\n<!-- begin b -->\n<!-- end b -->\n", "the block 'a' is open"),
        ("<!-- begin a -->\n<!-- end b -->\n", "the block 'a' is open"),
    ],
)
def test_markers_out_of_place_are_refused(page, why):
    with pytest.raises(ValueError, match=re.escape(why)):
        block_names(page)


def test_a_row_takes_a_line():
    rows = {"schema_version": 1, "flops": [{"macs": 1}, {"macs": 2}], "throughput": []}
    text = as_text(rows)
    assert json.loads(text) == rows
    assert '{"macs": 1},\n{"macs": 2}' in text


@pytest.mark.parametrize(("page", "room"), [("README.md", "studies"), ("docs/accuracy.md", "accuracy")])
def test_pages_about_accuracy_show_the_saved_rows(page, room):
    text = (ROOT / page).read_text(encoding="utf-8")
    rows = gallery(room)
    assert filled(text, {name: BLOCKS[name].make(rows).text for name in block_names(text)}) == text


def test_the_page_about_cost_shows_the_saved_rows(selections):
    text = (ROOT / "docs" / "cost.md").read_text(encoding="utf-8")
    contents = {name: BLOCKS[name].make(selections) for name in block_names(text)}
    advice = "run: fgbench report --fill docs/cost.md --rows reports/gallery/selection/*.json"
    assert filled(text, {name: content.text for name, content in contents.items()}) == text, advice
    drawn = {name: svg for content in contents.values() for name, svg in content.figures.items()}
    folder = ROOT / "docs" / "figures"
    assert set(drawn) == {path.name for path in folder.glob("*.svg") if path.name.startswith(("cpu", "cuda"))}
    for name, svg in drawn.items():
        shown = (folder / name).read_text(encoding="utf-8")
        if f"Matplotlib v{mpl.__version__}," in shown:  # another version draws other paths
            assert svg == shown, advice


def test_the_page_about_regressions_has_the_block_of_the_simulation():
    assert block_names((ROOT / "docs" / "regress.md").read_text(encoding="utf-8")) == ["regress-simulation"]


def test_every_block_is_in_a_page():
    pages = ["README.md", "docs/accuracy.md", "docs/cost.md", "docs/regress.md"]
    assert {name for page in pages for name in block_names((ROOT / page).read_text(encoding="utf-8"))} == set(BLOCKS)


def test_rows_of_one_place_stand_together(selections):
    found = places(selections.data)
    assert list(found) == ["cpu"]
    assert (len(found["cpu"].selections), len(found["cpu"].backends)) == (
        len(selections.data.selection),
        len(selections.data.backend),
    )
    assert found["cpu"].rates.copy_bytes_s > 1e9


def test_a_second_batch_size_is_a_place_of_its_own(selections):
    larger = [{**row, "batch_size": 8} for row in selections.data.selection]
    data = Data(selection=[*selections.data.selection, *larger], backend=selections.data.backend)
    assert list(places(data)) == ["cpu", "cpu-2"]
    assert "batch 8" in BLOCKS["selector-machines"].make(Rows(data=data)).text


def test_kernels_have_no_batch_size_and_are_shown_once(selections):
    larger = [{**row, "batch_size": 8} for row in selections.data.selection]
    data = Data(selection=[*selections.data.selection, *larger], backend=selections.data.backend)
    assert [len(place.backends) for place in places(data).values()] == [len(selections.data.backend), 0]
    shown = BLOCKS["selector-kernels"].make(Rows(data=data))
    assert shown.text == BLOCKS["selector-kernels"].make(selections).text
    assert set(shown.figures) == {"cpu_crossover.svg"}
    assert set(BLOCKS["selector-time"].make(Rows(data=data)).figures) == {"cpu_time.svg", "cpu-2_time.svg"}


def test_kernels_whose_environment_has_no_selections_are_shown(selections):
    newer = [{**row, "environment": {**row.environment, "torch": "9.9"}} for row in selections.data.backend]
    data = Data(selection=selections.data.selection, backend=newer)
    assert [(len(place.selections) > 0, len(place.backends)) for place in places(data).values()] == [
        (True, 0),
        (False, len(newer)),
    ]
    block = BLOCKS["selector-kernels"]
    shown = block.make(Rows(data=data))
    assert set(shown.figures) == {"cpu-2_crossover.svg"}
    assert re.search(r"^\*\*.*2 threads · float32\*\*$", shown.text, re.MULTILINE), "kernels have no batch"
    assert set(BLOCKS["selector-roofline"].make(Rows(data=data)).figures) == {"cpu_roofline.svg"}
    assert "torch 9.9" in BLOCKS["selector-machines"].make(Rows(data=data)).text
    alone = block.make(Rows(data=Data(backend=newer)))
    assert block.needs == ("backend",)
    assert set(alone.figures) == {"cpu_crossover.svg"}


@pytest.mark.parametrize(
    ("roof", "shown"),
    [
        ({"product_flop_s": None, "copy_bytes_s": 1.2e10}, "– in products of large matrices, 12.0 GB/s in copies"),
        ({"product_flop_s": 1.5e11}, "150 Gflop/s in products of large matrices, – in copies"),
        (None, "– in products of large matrices, – in copies"),
    ],
)
def test_a_rate_that_is_missing_is_no_rate_of_zero(selections, roof, shown):
    rows = [{**row, "environment": {**row.environment, "roof": roof}} for row in selections.data.selection]
    data = Data(selection=rows)
    assert shown in BLOCKS["selector-machines"].make(Rows(data=data)).text
    assert set(BLOCKS["selector-roofline"].make(Rows(data=data)).figures) == {"cpu_roofline.svg"}


def test_a_device_without_rows_is_named(selections):
    assert "GPU: no run is kept yet." in BLOCKS["selector-machines"].make(selections).text
    gpu = [{**row, "device": "cuda"} for row in selections.data.selection]
    data = Data(selection=gpu, backend=())
    assert "GPU: no run" not in BLOCKS["selector-machines"].make(Rows(data=data)).text


def test_figures_that_are_missing_are_explained():
    row = {
        **{"selector": "sacm", "impl": "fast", "image_size": 224, "num_tokens": 197, "batch_size": 1, "device": "cpu"},
        **{"dtype": "float32", "status": "oom", "reason": "MemoryError: too much", "backends": {}, "latency_s": None},
        **{"latency_ci95_low_s": None, "latency_ci95_high_s": None, "blocks": [], "added_memory_bytes": None},
        **{"macs": 1, "flops": 2, "bytes": 3, "environment": {"device_name": "a processor"}},
    }
    data = Data(selection=[row, {**row, "status": "unconverged", "reason": "a single run", "blocks": [0.1]}])
    text = BLOCKS["selector-costs"].make(Rows(data=data)).text
    assert "oom: MemoryError: too much (sacm fast at 224)" in text
    assert "unconverged: a single run (sacm fast at 224)" in text


@pytest.mark.thorough
def test_the_simulation_is_the_same_every_time_and_has_every_case():
    self_test = read_self_test((GALLERY / "regress" / "self-test-cpu.json").read_text(encoding="utf-8"))
    text = simulated_markdown([self_test], scale=0.002)
    assert simulated_markdown([self_test], scale=0.002) == text
    assert all(text.count(f"| {name} |") == 2 for name in cases())
    page = (ROOT / "docs" / "regress.md").read_text(encoding="utf-8")
    measured = text[text.index("Measured, a machine") :].strip()
    assert measured in page
    assert "Measured" not in simulated_markdown([], scale=0.002)


def test_a_self_test_is_told_from_other_files():
    row = {"check": "time", "point": "vit", "verdict": "same"}
    assert read_self_test(json.dumps([row])) == {"machine": None, "rows": [row]}
    assert read_self_test(json.dumps({"machine": "mine", "rows": [row]})) == {"machine": "mine", "rows": [row]}
    for text in ("", "[]", "{}", "[1]", '[{"convention": "full"}]', "kind,macs\n"):
        assert read_self_test(text) is None
