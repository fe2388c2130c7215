"""What ``fgbench list`` shows: rows about everything that can be named.

Fgbench's own classes are described by their source, those of others are loaded: torch is imported for them alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fgbench.errors import BrokenPluginError, Report
from fgbench.plugins.names import own_facts
from fgbench_selectors.plugins import blame

if TYPE_CHECKING:
    from collections.abc import Iterable

    from fgbench_selectors import Selector


def selector_rows(report: Report) -> list[dict[str, Any]]:
    """A row per registered selector; a broken one is listed as broken, and reported."""
    from fgbench.registry import selectors

    rows = []
    for name, entry in selectors.entries().items():
        row = {"name": name, "reads": "", "scores": "", "from": entry.origin, "description": ""}
        if facts := own_facts(selectors, name):
            row["reads"] = _reads(**facts.attributes["needs"])
            row["scores"] = f"({', '.join(facts.attributes['score_shape'])})"
            row["description"] = _first_line(facts.doc)
            rows.append(row)
            continue
        try:
            selector: type[Selector] = selectors.load(name)
            with blame(name, entry.origin):
                row["reads"] = _reads(tokens=selector.needs.tokens, blocks=selector.needs.blocks)
                row["scores"] = f"({', '.join(selector.score_shape)})"
                row["description"] = _first_line(selector.__doc__)
        except BrokenPluginError as error:
            report(error)
            row["description"] = f"broken: {error.why}"
        rows.append(row)
    return rows


def model_rows(report: Report) -> list[dict[str, Any]]:
    """A row per model; what is broken or cannot be reproduced says why."""
    from fgbench.plugins.registries import NOT_REPRODUCIBLE, models

    rows = []
    for name, entry in models.entries().items():
        row = {"name": name, "backbone": "", "selects by": "", "from": entry.origin, "description": ""}
        if facts := own_facts(models, name):
            row["backbone"] = facts.attributes["default_backbone"]
            row["selects by"] = _selects_by(facts.attributes["accepts"])
            row["description"] = _first_line(facts.doc)
            rows.append(row)
            continue
        try:
            with blame(name, entry.origin):
                model = models.load(name)
                row["backbone"] = str(model.default_backbone)
                row["selects by"] = _selects_by(model.accepts)
                row["description"] = _first_line(model.__doc__)
        except BrokenPluginError as error:
            report(error)
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


def dataset_rows(report: Report) -> list[dict[str, Any]]:
    """A row per data set: the counts of the paper's Table 9, and what --data-dir must hold."""
    from fgbench.accuracy.datasets.build import datasets
    from fgbench.accuracy.datasets.hub import HUB

    rows = []
    for name, entry in datasets.entries().items():
        row = {"name": name, "classes": "", "train": "", "test": "", "layout": "", "from": entry.origin}
        try:
            reader = datasets.load(name)
            with blame(name, entry.origin):
                if (published := getattr(reader, "published", None)) is not None:
                    row["classes"], row["train"] = published.classes, published.train_images
                    row["test"] = published.test_images
                row["layout"] = str(getattr(reader, "holds", ""))
                row["description"] = _first_line(reader.__doc__)
        except BrokenPluginError as error:
            report(error)
            row["description"] = f"broken: {error.why}"
        rows.append(row)
    empty = {"classes": "", "train": "", "test": "", "layout": "", "from": "timm"}
    rows += [{"name": f"{kind}/…", **empty, "description": _first_line(read.__doc__)} for kind, read in HUB.items()]
    return rows


def report_rows(report: Report) -> list[dict[str, Any]]:
    """A row per report, in the order in which they are read."""
    from fgbench.reports import in_reading_order, reports

    rows = []
    entries = reports.entries()
    for name in in_reading_order(entries):
        row = {"name": name, "from": entries[name].origin}
        try:
            with blame(name, entries[name].origin):
                row["description"] = _first_line(reports.load(name).__doc__)
        except BrokenPluginError as error:
            report(error)
            row["description"] = f"broken: {error.why}"
        rows.append(row)
    return rows


def _first_line(doc: str | None) -> str:
    return (doc or "").strip().partition("\n")[0].rstrip(".").replace("``", "")


def _selects_by(shapes: Iterable[Iterable[str]]) -> str:
    return " or ".join(f"({', '.join(shape)})" for shape in shapes) or "–"


def _reads(*, tokens: bool = False, blocks: slice | None = None, **_: object) -> str:
    """``q, k of blocks 1…L−1`` and the like."""
    parts = ["tokens"] if tokens else []
    if blocks is not None:
        start, stop = blocks.start, blocks.stop
        first = "1" if start is None else _block(start)
        last = "L" if stop is None else _block(stop - 1)
        steps = f" in steps of {blocks.step}" if blocks.step not in (None, 1) else ""
        parts.append(f"q, k of block {last}" if first == last else f"q, k of blocks {first}…{last}{steps}")
    return " and ".join(parts)


def _block(index: int) -> str:
    if index >= 0:
        return str(index + 1)
    return "L" if index == -1 else f"L−{-index - 1}"
