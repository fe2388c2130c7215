"""The rows of ``fgbench list``: everything that can be named.

Fgbench's own classes are described by their source, those of others by their trial: neither imports torch here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from fgbench.errors import BrokenPluginError, OnProblem
from fgbench.plugins import outcomes
from fgbench.plugins.facts import GROUPS, first_line
from fgbench.plugins.kinds import kind_of
from fgbench.plugins.names import own_facts
from fgbench_selectors.entries import Registry
from fgbench_selectors.plugins import blame


def _registered(registry: Registry, empty: Mapping[str, str], on_problem: OnProblem) -> list[dict[str, Any]]:
    """A row per registered name; what is broken is listed as broken, and reported.

    Args:
        registry: The objects by name.
        empty: The columns behind the name, in their order, as they stand where nothing is known; ``from`` is filled.
        on_problem: Is called with each problem.

    """
    registry.try_out()
    rows = []
    for name, entry in registry.entries().items():
        row = {"name": name, **empty, "from": entry.origin}
        try:
            row |= _described(registry, name)
        except BrokenPluginError as error:
            on_problem(error)
            row["description"] = f"broken: {error.why}"
        rows.append(row)
    return rows


def selector_rows(on_problem: OnProblem) -> list[dict[str, Any]]:
    """A row per registered selector."""
    from fgbench.plugins.registry import selectors

    return _registered(selectors, {"reads": "", "scores": "", "from": "", "description": ""}, on_problem)


def model_rows(on_problem: OnProblem) -> list[dict[str, Any]]:
    """A row per model, grouped by what it selects; what cannot be reproduced stands last, and says why."""
    from fgbench.plugins.kinds import NOT_REPRODUCIBLE, models

    columns = ("selects", "year", "backbone", "passes", "selector", "selects by", "from", "description")
    rows = _registered(models, dict.fromkeys(columns, ""), on_problem)
    order = [*GROUPS, ""]  # nothing is known of a broken plug-in
    rows.sort(key=lambda row: (order.index(row["selects"]), row["name"]))
    for name, why in NOT_REPRODUCIBLE.items():
        row = {"name": name, **dict.fromkeys(columns, "–"), "from": "fgbench"}
        rows.append(row | {"description": f"not reproducible yet: {why}"})
    return rows


def reduction_rows(on_problem: OnProblem) -> list[dict[str, Any]]:
    """A row per reduction of tokens."""
    from fgbench.plugins.kinds import reductions

    empty = {"blocks": "", "keep rate": "", "takes a selector": "", "from": "", "description": ""}
    return _registered(reductions, empty, on_problem)


def backbone_rows(on_problem: OnProblem) -> list[dict[str, Any]]:
    """A row per timm architecture of the vision-transformer family."""
    from fgbench.plugins.timm_names import backbone_names

    return [{"name": name} for name in backbone_names()]


def dataset_rows(on_problem: OnProblem) -> list[dict[str, Any]]:
    """A row per data set: the counts of the paper's Table 9, and what --data-dir must hold."""
    from fgbench.datasets.build import hub_readers
    from fgbench.plugins.kinds import datasets

    empty = {"classes": "", "train": "", "test": "", "layout": "", "from": "timm"}
    rows = _registered(datasets, empty, on_problem)
    rows += [
        {"name": f"{kind}/…", **empty, "description": first_line(read.__doc__)} for kind, read in hub_readers().items()
    ]
    return rows


def engine_rows(on_problem: OnProblem) -> list[dict[str, Any]]:
    """A row per engine: whether it can be used here, and why not. Workers say so, which load torch."""
    from fgbench.plugins.kinds import engines
    from fgbench.sweep.context import why_unusable
    from fgbench.workers.pool import WorkerPool

    rows = _registered(engines, {"devices": "", "dtypes": "", "usable here": "", "from": ""}, on_problem)
    with WorkerPool() as pool:
        for row in rows:
            if not row.get("description", "").startswith("broken: "):
                row["usable here"] = why_unusable(pool, row["name"], engines.entry(row["name"]).file) or "yes"
    return rows


def report_rows(on_problem: OnProblem) -> list[dict[str, Any]]:
    """A row per report, in the order in which they are read."""
    from fgbench.plugins.kinds import reports
    from fgbench.plugins.reports import in_reading_order

    rows = {row["name"]: row for row in _registered(reports, {"from": ""}, on_problem)}
    return [rows[name] for name in in_reading_order(reports.entries())]


def study_rows(on_problem: OnProblem) -> list[dict[str, Any]]:
    """A row per study: what its conditions are, and which options beside those of every study it takes."""
    from fgbench.study.published import STUDIES
    from fgbench.study.request import OF_STUDY

    flags = {**OF_STUDY, "backbones": "--backbones", "image_sizes": "--sizes"}
    return [
        {
            "name": study.name,
            "takes": " ".join(flag for field, flag in flags.items() if field in study.takes),
            "description": first_line(study.conditions.__doc__),
        }
        for study in STUDIES.values()
    ]


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


ROWS: Mapping[str, Callable[[OnProblem], list[dict[str, Any]]]] = {
    "selectors": selector_rows,
    "models": model_rows,
    "reductions": reduction_rows,
    "datasets": dataset_rows,
    "engines": engine_rows,
    "reports": report_rows,
    "studies": study_rows,
    "backbones": backbone_rows,
}


def rows_of(kind: str, on_problem: OnProblem) -> list[dict[str, Any]]:
    """A row for everything of a kind of :data:`ROWS`."""
    return ROWS[kind](on_problem)
