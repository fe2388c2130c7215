"""The reports by name, through entry points: the built-ins are found the way everybody else's are. No torch."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence

from fgbench.errors import BrokenPluginError, OnProblem
from fgbench.plugins import outcomes
from fgbench.plugins.kinds import reports
from fgbench_reports import report as contract
from fgbench_reports.data import Data
from fgbench_reports.folder import Made, Rendered, rendered

# The order in which a reader meets them; those of others come last.
ORDER = (
    *("accuracy_vs_cost", "tradeoff", "memory", "price"),
    *("cost", "flops", "selections", "roofline", "batch", "energy", "throughput", "ratios"),
    *("selector_quality", "curves"),
    *("table1", "table2", "table3", "table4", "table6", "table7", "table8", "table9", "table10"),
)

MOST_ITEMS = 1000  # of one report


def in_reading_order(names: Iterable[str]) -> list[str]:
    """Names as they stand in a report."""
    return sorted(names, key=lambda name: (ORDER.index(name) if name in ORDER else len(ORDER), name))


def make_reports(names: Sequence[str] | None, data: Data, on_problem: OnProblem, *, drawn: bool = False) -> list[Made]:
    """What the reports of these names, or all, make of the data. Unknown names raise; broken ones are reported.

    Inside of :func:`fgbench.plugins.tried_first` those of others are made in processes of their own, ``drawn`` with
    their figures.
    """
    from fgbench.plugins.reporting import Desk

    made = []
    with Desk(data, drawn=drawn) as desk:
        wanted = in_reading_order(reports.names()) if names is None else names
        for name in dict.fromkeys(reports.entry(name).name for name in wanted):
            entry = reports.entry(name)
            try:
                here = entry.is_own or outcomes() is None or not (entry.value or entry.file)
                made.append(_make(name, data) if here else desk.make(entry))
            except BrokenPluginError as error:
                on_problem(error)
    return made


def _make(name: str, data: Data) -> Made:
    kind = reports.load(name)
    with reports.blame(name):
        items = list(itertools.islice(kind().items(data), MOST_ITEMS + 1))
        if len(items) > MOST_ITEMS:
            raise ValueError(f"it has more than {MOST_ITEMS} tables and figures")
        if why := contract.items_breach(items):
            raise TypeError(why)
        said = first_line(kind.__doc__)
        heading = kind.title or said or name
        return Made(name=name, title=heading, summary="" if heading == said else said, items=items)


def first_line(doc: str | None) -> str:
    """What a report shows, in a sentence."""
    return (doc or "").strip().partition("\n")[0].rstrip(".")


def render_reports(made: Sequence[Made], on_problem: OnProblem) -> list[Rendered]:
    """Draw and write what reports made, unless that was done. A broken one is reported and left out."""
    parts = []
    for each in made:
        try:
            with reports.blame(each.name):
                parts.append(each.rendered or rendered(each))
        except BrokenPluginError as error:
            on_problem(error)
    return parts
