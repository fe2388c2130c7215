"""The rows of ``fgbench list``: everything that can be named.

Fgbench's own classes are described by their source, those of others by their trial: neither imports torch here.
"""

from __future__ import annotations

from typing import Any

from fgbench.errors import BrokenPluginError, OnProblem
from fgbench.plugins import outcomes
from fgbench.plugins.facts import first_line
from fgbench.plugins.kinds import kind_of
from fgbench.plugins.names import own_facts
from fgbench_selectors.entries import Registry
from fgbench_selectors.plugins import blame


def selector_rows(on_problem: OnProblem) -> list[dict[str, Any]]:
    """A row per registered selector; a broken one is listed as broken, and reported."""
    from fgbench.plugins.registry import selectors

    rows = []
    selectors.try_out()
    for name, entry in selectors.entries().items():
        row = {"name": name, "reads": "", "scores": "", "from": entry.origin, "description": ""}
        try:
            row |= _described(selectors, name)
        except BrokenPluginError as error:
            on_problem(error)
            row["description"] = f"broken: {error.why}"
        rows.append(row)
    return rows


def model_rows(on_problem: OnProblem) -> list[dict[str, Any]]:
    """A row per model; what is broken or cannot be reproduced says why."""
    from fgbench.plugins.kinds import NOT_REPRODUCIBLE, models

    rows = []
    models.try_out()
    for name, entry in models.entries().items():
        row = {"name": name, "backbone": "", "selects by": "", "from": entry.origin, "description": ""}
        try:
            row |= _described(models, name)
        except BrokenPluginError as error:
            on_problem(error)
            row["description"] = f"broken: {error.why}"
        rows.append(row)
    for name, why in NOT_REPRODUCIBLE.items():
        empty = {"backbone": "–", "selects by": "–", "from": "fgbench"}
        rows.append({"name": name, **empty, "description": f"not reproducible yet: {why}"})
    return sorted(rows, key=lambda row: row["name"])


def backbone_rows() -> list[dict[str, Any]]:
    """A row per timm architecture of the vision-transformer family."""
    from fgbench.plugins.timm_names import backbone_names

    return [{"name": name} for name in backbone_names()]


def dataset_rows(on_problem: OnProblem) -> list[dict[str, Any]]:
    """A row per data set: the counts of the paper's Table 9, and what --data-dir must hold."""
    from fgbench.datasets.build import hub_readers
    from fgbench.plugins.kinds import datasets

    rows = []
    datasets.try_out()
    for name, entry in datasets.entries().items():
        row = {"name": name, "classes": "", "train": "", "test": "", "layout": "", "from": entry.origin}
        try:
            row |= _described(datasets, name)
        except BrokenPluginError as error:
            on_problem(error)
            row["description"] = f"broken: {error.why}"
        rows.append(row)
    empty = {"classes": "", "train": "", "test": "", "layout": "", "from": "timm"}
    rows += [
        {"name": f"{kind}/…", **empty, "description": first_line(read.__doc__)} for kind, read in hub_readers().items()
    ]
    return rows


def engine_rows(on_problem: OnProblem) -> list[dict[str, Any]]:
    """A row per engine: whether it can be used here, and why not. Workers say so, which load torch."""
    from fgbench.plugins.kinds import engines
    from fgbench.sweep.context import why_unusable
    from fgbench.workers.pool import WorkerPool

    rows = []
    engines.try_out()
    with WorkerPool() as host:
        for name, entry in engines.entries().items():
            row = {"name": name, "devices": "", "dtypes": "", "usable here": "", "from": entry.origin}
            try:
                row |= _described(engines, name)
                row["usable here"] = why_unusable(host, name, entry.file) or "yes"
            except BrokenPluginError as error:
                on_problem(error)
                row["description"] = f"broken: {error.why}"
            rows.append(row)
    return rows


def report_rows(on_problem: OnProblem) -> list[dict[str, Any]]:
    """A row per report, in the order in which they are read."""
    from fgbench.plugins.kinds import reports
    from fgbench.plugins.reports import in_reading_order

    rows = []
    reports.try_out()
    entries = reports.entries()
    for name in in_reading_order(entries):
        row = {"name": name, "from": entries[name].origin}
        try:
            row |= _described(reports, name)
        except BrokenPluginError as error:
            on_problem(error)
            row["description"] = f"broken: {error.why}"
        rows.append(row)
    return rows


def _described(registry: Registry, name: str) -> dict[str, Any]:
    """The description of an entry: from its trial where it was tried, so that it is not imported here."""
    entry = registry.entry(name)
    tried = (outcomes() or {}).get((registry.group, name))
    if tried is not None and not entry.is_own:
        if tried.why is not None:
            raise BrokenPluginError(name, entry.origin, tried.why)
        return dict(tried.facts)
    if source := own_facts(registry, name):
        return kind_of(registry.group).facts(source.described())
    loaded = registry.load(name)
    with blame(name, entry.origin):
        return kind_of(registry.group).facts(loaded)


def rows_of(kind: str, on_problem: OnProblem) -> list[dict[str, Any]]:
    """A row for everything of a kind: selectors, models, datasets, engines, reports or backbones."""
    if kind == "backbones":
        return backbone_rows()
    rows = {
        "selectors": selector_rows,
        "models": model_rows,
        "datasets": dataset_rows,
        "engines": engine_rows,
        "reports": report_rows,
    }
    return rows[kind](on_problem)
