"""The paper's tables of rows that fill all of them, for tests."""

from __future__ import annotations

import importlib

from helpers.paper_rows import BACKBONES, MODELS, RUNS, SIZES, TIMED, counted, in_full

from fgbench_reports.data import Data
from fgbench_reports.report import Missing, Table

NAMES = ("table1", "table2", "table3", "table4", "table6", "table7", "table8", "table9", "table10", "ratios")
MODULES = {
    **dict.fromkeys(("table1", "table7", "table8"), "selector_costs"),
    **dict.fromkeys(("table2", "table3"), "literature"),
}
COUNTED = [each for name in BACKBONES for size in SIZES for each in (*counted(name, size), *in_full(name, size))]
FULL = Data(flops=[*COUNTED, *MODELS], accuracy=RUNS, throughput=TIMED)


def module(name: str):
    """The module that has the report of a name."""
    return importlib.import_module(f"fgbench_reports.paper.{MODULES.get(name, name)}")


def report(name: str):
    """The report of a name."""
    return getattr(module(name), name.capitalize())()


def tables(name: str, data: Data) -> list[Table]:
    """The tables of a report."""
    return [item for item in report(name).items(data) if isinstance(item, Table)]


def missing(name: str, data: Data) -> list[Missing]:
    """What a report lacks."""
    return [item for item in report(name).items(data) if isinstance(item, Missing)]


def lines(table: Table, **wanted: str) -> list[dict]:
    """The printed lines of a table that have these cells."""
    return [line for line in table.printed.to_dict("records") if all(line[key] == text for key, text in wanted.items())]
