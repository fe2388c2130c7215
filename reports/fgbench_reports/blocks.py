"""The blocks of fgbench's own pages – README.md and docs/ – filled from saved rows.

A block of another page may also have the name of a report: it then holds the tables and figures of that report.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from fgbench.results.escaping import markdown_paragraph, markdown_text
from fgbench_reports.data import Data, Row, group_by
from fgbench_reports.folder import Rendered
from fgbench_reports.measured.accuracy_vs_cost import model_table, quality_table, training_groups, verdict
from fgbench_reports.page import FigureBlock, TableBlock
from fgbench_reports.regression.rule_tables import simulated_markdown
from fgbench_reports.selector_cost import (
    NAMES,
    Kept,
    backend_frame,
    crossover,
    ratio_frame,
    row_name,
    selection_frame,
    status_word,
    title,
)
from fgbench_reports.sweep_rows import by_environment
from fgbench_reports.tables import formats
from fgbench_reports.tables.numbers import how_many, with_prefix
from fgbench_reports.tables.table import Table

if TYPE_CHECKING:
    import pandas as pd

DEVICES = ("cpu", "cuda")  # in this order


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """What stands in a block, and the figures that it shows."""

    text: str  # Markdown
    figures: Mapping[str, str | bytes] = field(
        default_factory=dict
    )  # by their names in the folder figures/ of the page


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """The saved rows that blocks are filled from."""

    data: Data
    self_tests: Sequence[Mapping[str, Any]] = ()  # of machines, as fgbench_reports.regression.rule_tables reads them


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """A block of a page: the kinds of rows that it cannot do without, and how its content is made."""

    needs: tuple[str, ...]
    make: Callable[[Rows], Content]


def places(data: Data) -> dict[str, Kept]:
    """Rows of ``fgbench selection`` by the place that they were measured at.

    Returns:
        ``environment``, ``roof``, ``selections`` and ``backends`` of each place: a device in one environment, dtype and
        batch size. A place is called by its device, a second one of that device ``cpu-2``.

    """
    kept: dict[str, Kept] = {}
    rows = [
        {**row, "compiled": False, "kind": kind}
        for kind, some in (("selections", data.selection), ("backends", data.backend))
        for row in some
    ]
    by_device = group_by(rows, "device")
    for device in sorted(by_device, key=lambda name: DEVICES.index(name) if name in DEVICES else len(DEVICES)):
        number = 0
        for same in by_environment(by_device[device]).values():
            selections = [row for row in same if row["kind"] == "selections"]
            backends = [row for row in same if row["kind"] == "backends"]
            for batch in group_by(selections, "batch_size").values():
                number += 1
                environment = batch[0]["environment"]
                kept[device if number == 1 else f"{device}-{number}"] = {
                    "environment": environment,
                    "roof": environment.get("roof") or {},
                    "selections": batch,
                    "backends": backends,
                }
    return kept


def of_report(report: Rendered) -> Content:
    """A report as the content of a block: its tables in Markdown, its figures as images."""
    files = {file.path: file.content for file in report.files}
    parts: list[str] = []
    figures: dict[str, str | bytes] = {}
    for item in report.section.items:
        if isinstance(item, TableBlock):
            parts.append(str(files[f"tables/{item.name}.md"]))
        elif isinstance(item, FigureBlock):
            figures[f"{item.name}.svg"] = files[f"figures/{item.name}.svg"]
            notes = [f"{markdown_paragraph(note)}\n" for note in item.notes]
            parts += [f"![{markdown_text(item.alt)}](figures/{item.name}.svg)\n", *notes]
    return Content(text="\n".join(parts), figures=figures)


def _machines(rows: Rows) -> Content:
    kept = places(rows.data)
    lines = [f"- {_machine(place)}\n" for place in kept.values()]
    return Content(text="".join(lines) + ("" if "cuda" in kept else "- GPU: no run is kept yet.\n"))


def _costs(rows: Rows) -> Content:
    return _per_place(rows, "selections", lambda some: _table(selection_frame(some)) + _reasons(some))


def _ratios(rows: Rows) -> Content:
    return _per_place(rows, "selections", lambda some: _table(ratio_frame(some)))


def _time(rows: Rows) -> Content:
    from fgbench_reports.selector_cost_figures import draw_time

    return _figures(rows, draw_time, "time", "time against image size")


def _roofline(rows: Rows) -> Content:
    from fgbench_reports.selector_cost_figures import draw_roofline

    return _figures(rows, draw_roofline, "roofline", "the roofline")


def _kernels(rows: Rows) -> Content:
    from fgbench_reports.selector_cost_figures import draw_crossover

    drawn = _figures(rows, draw_crossover, "crossover", "the back ends of v·A", after="\n")
    tables = _per_place(rows, "backends", lambda some: _bullets(crossover(some)) + "\n" + _table(backend_frame(some)))
    return Content(text=drawn.text + tables.text, figures=drawn.figures)


def _trained_models(rows: Rows) -> Content:
    parts = [
        f"{_training(kept)}\n\n{formats.to_markdown(model_table(kept))}\n{verdict(kept)}\n" for kept in _trained(rows)
    ]
    return Content(text="\n".join(parts))


def _trained_selectors(rows: Rows) -> Content:
    parts = [
        f"**Trained {model}**, {_training(kept)}\n\n{formats.to_markdown(quality_table(kept, model))}"
        for kept in _trained(rows)
        for model in dict.fromkeys(row["model"] for row in kept["quality"])
    ]
    return Content(text="\n".join(parts))


def _simulation(rows: Rows) -> Content:
    return Content(text=simulated_markdown(rows.self_tests))


BLOCKS: Mapping[str, Block] = {
    "trained-models": Block(needs=("accuracy",), make=_trained_models),
    "trained-selectors": Block(needs=("accuracy", "selection_quality"), make=_trained_selectors),
    "selector-machines": Block(needs=("selection",), make=_machines),
    "selector-costs": Block(needs=("selection",), make=_costs),
    "selector-ratios": Block(needs=("selection",), make=_ratios),
    "selector-time": Block(needs=("selection",), make=_time),
    "selector-roofline": Block(needs=("selection",), make=_roofline),
    "selector-kernels": Block(needs=("selection", "backend"), make=_kernels),
    "regress-simulation": Block(needs=(), make=_simulation),
}


def _trained(rows: Rows) -> Iterator[dict[str, Any]]:
    for kept, _ in training_groups(rows.data):
        yield kept


def _training(kept: Kept) -> str:
    """The data set, the recipe and the machine of trained models."""
    first = kept["accuracy"][0]
    environment, recipe = first["environment"] or {}, first["recipe"] or {}
    device = environment.get("device_name") or environment.get("cpu") or environment.get("device")
    threads = environment.get("threads") if environment.get("device") == "cpu" else None
    sizes = f"{first['train_images']} training and {first['images']} test images of {first['image_size']} pixels"
    batches = f"{how_many(first['epochs'], 'epoch')} of batch {recipe.get('batch_size')}, {recipe.get('optimizer')}"
    words = [first["dataset"], how_many(first["num_classes"], "class", "classes"), sizes]
    words += [f"{first['backbone']} from scratch", batches]
    machine = [str(device), *([how_many(threads, "thread")] if threads else []), f"torch {environment.get('torch')}"]
    return f"{', '.join(words)}; {', '.join(machine)}"


def _machine(kept: Kept) -> str:
    roof, environment = kept["roof"], kept["environment"]
    rates = f"{with_prefix(int(roof.get('product_flop_s') or 0))}flop/s in products of large matrices, "
    rates += f"{with_prefix(int(roof.get('copy_bytes_s') or 0))}B/s in copies"
    versions = f"torch {environment.get('torch')}, fgbench {environment.get('git_revision')}"
    return f"{title(kept)}: {rates}; {versions}"


def _per_place(rows: Rows, kind: str, write: Callable[[Sequence[Row]], str]) -> Content:
    kept = places(rows.data)
    return Content(text="\n".join(f"**{title(place)}**\n\n{write(place[kind])}" for place in kept.values()))


def _figures(rows: Rows, draw: Callable[[Kept], str], figure: str, says: str, after: str = "") -> Content:
    kept = places(rows.data)
    text = "".join(f"![{says}, {name}](figures/{name}_{figure}.svg)\n{after}" for name in kept)
    return Content(text=text, figures={f"{name}_{figure}.svg": draw(place) for name, place in kept.items()})


def _table(frame: pd.DataFrame) -> str:
    return formats.to_markdown(Table.from_text("cost", "", frame, names=NAMES))


def _bullets(lines: Sequence[str]) -> str:
    return "".join(f"- {line}\n" for line in lines)


def _reasons(rows: Sequence[Row]) -> str:
    """Why figures are missing or rest on one run; the intervals of the others have a column of their own."""
    few = [row for row in rows if row["reason"] and len(row["blocks"]) <= 1]
    by_reason = group_by([{**row, "why": f"{status_word(row)}: {row['reason']}"} for row in few], "why")
    lines = [f"{why} ({', '.join(map(row_name, some))})" for why, some in by_reason.items()]
    return "\n" + _bullets(lines) if lines else ""
