"""Plug-ins that were written for an earlier version: the examples of CONTRIBUTING.md at 61b3027, unchanged."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path

import pytest
from helpers.dataset_layouts import draw, write
from helpers.throughput_rows import ROWS

from fgbench.datasets.build import datasets
from fgbench.plugins.earlier_names import EARLIER_NAMES, name_now
from fgbench.plugins.registry import selectors
from fgbench.plugins.reports import make_reports, reports
from fgbench.results.decoding import decode
from fgbench.results.records import ThroughputRow
from fgbench_reports.data import Data
from fgbench_selectors.conformance import check_selector

EARLIER = Path(__file__).parent / "earlier"
ROOT = Path(__file__).parents[2]
MODULES = {
    "fgbench.accuracy.datasets.dataset": "fgbench.datasets.dataset",
    "fgbench.accuracy.datasets.files": "fgbench.datasets.files",
    "fgbench.accuracy.datasets.reader": "fgbench.datasets.reader",
    "fgbench.accuracy.recipe": "fgbench.results.recipe",
    "fgbench.records": "fgbench.results.records",
    "fgbench.store": "fgbench.results.store",
    "fgbench_reports.numbers": "fgbench_reports.tables.numbers",
    "fgbench_reports.figures.style": "fgbench_reports.plots.style",
    "fgbench_reports.paper.table1": "fgbench_reports.paper.selector_costs",
    "fgbench_reports.paper.table3": "fgbench_reports.paper.literature",
}


def python(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    return done.stdout.strip() or done.stderr


@pytest.mark.parametrize("name", MODULES)
def test_a_module_is_the_same_under_both_names(name):
    earlier, now = importlib.import_module(name), importlib.import_module(MODULES[name])
    assert earlier is now
    assert now.__spec__.name == now.__name__ == MODULES[name]


@pytest.mark.parametrize("name", MODULES)
def test_the_earlier_name_alone_is_found_in_a_fresh_process(name):
    code = f"import sys, {name} as module; print(module.__name__, 'torch' in sys.modules)"
    needs_torch = ".datasets." in name
    assert python(code) in ([f"{MODULES[name]} True", f"{MODULES[name]} False"][not needs_torch :])


def test_nothing_is_imported_before_it_is_asked_for():
    heavy = "{'torch', 'pandas', 'timm', 'fgbench.datasets', 'fgbench_reports.plots'}"
    assert python(f"import sys, fgbench; print({heavy} & set(sys.modules))") == "set()"


def test_a_module_that_never_was_is_named_in_the_error():
    with pytest.raises(ModuleNotFoundError, match=r"fgbench\.accuracy\.nothing"):
        importlib.import_module("fgbench.accuracy.nothing")
    assert name_now("fgbench.accuracyx") is None
    assert name_now("fgbench.accuracy") is None


def test_no_earlier_name_hides_a_module_that_is_there():
    for name in EARLIER_NAMES:
        path = (ROOT / "reports" if name.startswith("fgbench_reports") else ROOT).joinpath(*name.split("."))
        assert not path.with_suffix(".py").exists()
        assert not list(path.glob("*.py"))


def test_a_selector_of_then_conforms():
    assert selectors.add_file(EARLIER / "spread.py") == ["spread"]
    check_selector("spread")


def test_a_data_set_of_then_is_read(tmp_path):
    assert datasets.add_file(EARLIER / "mushrooms.py") == ["mushrooms"]
    for split in ("train", "test"):
        draw(tmp_path / f"mushrooms/images/{split}.jpg")
        write(tmp_path / f"mushrooms/{split}.txt", [f"images/{split}.jpg 4"])
    found = datasets.load("mushrooms")(tmp_path)
    assert ([*found.train.targets], found.test.missing()) == ([0], [])


def test_a_report_of_then_reads_typed_rows_by_field():
    assert reports.add_file(EARLIER / "slowest.py") == ["slowest"]
    rows = [decode(ThroughputRow, row) for row in ROWS]
    (made,) = make_reports(["slowest"], Data(throughput=rows), lambda problem: pytest.fail(str(problem)))
    (table,) = made.items
    assert (len(table.frame), table.printed["latency_s"][0]) == (10, "1953")


NAMES_OF_MODELS_AND_REPORTS = {
    "fgbench.models.selection": ("best", "take", "patch_boxes", "cut"),
    "fgbench_selectors.windows": ("window_boxes",),
    "fgbench.images": ("read_image", "as_upright"),
    "fgbench.reading": ("read_text", "parse_json"),
    "fgbench_reports.marks": ("column_marks", "best_and_second"),
    "fgbench_reports.naming": ("file_name", "distinct"),
    "fgbench_reports.bounds": ("accuracy_bounds", "latency_bounds"),
    "fgbench_reports.tables": ("made", "of_cells", "as_text", "column_marks"),
}


@pytest.mark.parametrize("module", NAMES_OF_MODELS_AND_REPORTS)
def test_what_models_and_reports_of_then_import_is_there(module):
    found = importlib.import_module(module)
    assert all(callable(getattr(found, name)) for name in NAMES_OF_MODELS_AND_REPORTS[module])


def test_a_row_is_joined_with_mappings_as_a_dictionary():
    row = decode(ThroughputRow, ROWS[0])
    assert type(row.copy()) is type(row | {"x": 1}) is type({"x": 1} | row) is dict
    assert (row | {"model": "mine"})["model"] == "mine"
    assert ({"model": "mine", "x": 1} | row) == {"x": 1, **row}
