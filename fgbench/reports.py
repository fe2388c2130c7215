"""The reports by name, through entry points: the built-ins are found the way everybody else's are. No torch."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import nullcontext

from fgbench.errors import BrokenPluginError, FgbenchError, Report
from fgbench_reports import report as contract
from fgbench_reports.data import Data
from fgbench_reports.folder import Made, Rendered, rendered
from fgbench_selectors.entries import OWN_DISTRIBUTION, Registry
from fgbench_selectors.plugins import blame

# The order in which a reader meets them; those of others come last.
ORDER = (
    *("bought", "tradeoff", "memory", "price"),
    *("cost", "work", "selections", "roofline", "batch", "energy", "throughput", "ratios"),
    *("found", "curves"),
    *("table1", "table2", "table3", "table4", "table6", "table7", "table8", "table9", "table10"),
)

reports = Registry("fgbench.reports", "report", contract.report_breach, lambda: contract.Report)


def in_reading_order(names: Iterable[str]) -> list[str]:
    """Names as they stand in a report."""
    return sorted(names, key=lambda name: (ORDER.index(name) if name in ORDER else len(ORDER), name))


def add_report_files(paths: Iterable[str], report: Report) -> None:
    """Load files of reports that were named explicitly; a broken one is reported, the others still work."""
    for path in paths:
        try:
            reports.add_file(path)
        except BrokenPluginError as error:
            report(error)


def make_reports(names: Sequence[str] | None, data: Data, report: Report) -> list[Made]:
    """What the reports of these names, or all, make of the data. Unknown names raise; broken ones are reported."""
    made = []
    for name in names if names is not None else in_reading_order(reports.names()):
        try:
            made.append(_make(name, data))
        except BrokenPluginError as error:
            report(error)
    return made


def _make(name: str, data: Data) -> Made:
    kind = reports.load(name)
    origin = reports.entries()[name].origin
    with nullcontext() if origin == OWN_DISTRIBUTION else blame(name, origin, FgbenchError):
        items = list(kind().items(data))
        if strange := next((item for item in items if not isinstance(item, contract.ITEMS)), None):
            raise TypeError(f"a report is made of Table, Figure and Missing, and it has a {type(strange).__name__}")
    said = first_line(kind.__doc__)
    heading = str(kind.title) or said or name
    return Made(name=name, title=heading, summary="" if heading == said else said, items=items)


def first_line(doc: str | None) -> str:
    """What a report shows, in a sentence."""
    return (doc or "").strip().partition("\n")[0].rstrip(".")


def render_reports(made: Sequence[Made], report: Report) -> list[Rendered]:
    """Draw and write what reports made. A broken one is reported and left out."""
    parts = []
    for each in made:
        origin = reports.entries()[each.name].origin
        try:
            with nullcontext() if origin == OWN_DISTRIBUTION else blame(each.name, origin, FgbenchError):
                parts.append(rendered(each))
        except BrokenPluginError as error:
            report(error)
    return parts
