"""The blocks of fgbench's own pages – README.md and docs/ – filled from saved rows.

A block of another page may also have the name of a report: it then holds the tables and figures of that report.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from fgbench.results.escaping import markdown_paragraph, markdown_text
from fgbench.results.records import BackendRow, SelectionRow
from fgbench_reports.data import Data, group_by
from fgbench_reports.folder import Rendered
from fgbench_reports.measured.accuracy_vs_cost import model_table, quality_table
from fgbench_reports.measured.compared import verdict
from fgbench_reports.measured.studies import study_groups
from fgbench_reports.measured.trained_rows import TrainedRows, training_groups
from fgbench_reports.page import FigureBlock, TableBlock
from fgbench_reports.regression.rule_tables import SelfTest, simulated_markdown
from fgbench_reports.selector_cost import (
    NAMES,
    DeviceRates,
    PlaceRows,
    backend_lines,
    crossover,
    ratio_lines,
    row_name,
    selection_lines,
    status_word,
    title,
)
from fgbench_reports.sweep_rows import by_environment
from fgbench_reports.tables import formats
from fgbench_reports.tables.column import Line
from fgbench_reports.tables.numbers import how_many, with_prefix
from fgbench_reports.tables.table import Table
from fgbench_reports.training_groups import start_in_words

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
    self_tests: Sequence[SelfTest] = ()  # of machines


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """A block of a page: the kinds of rows that it cannot do without, and how its content is made."""

    needs: tuple[str, ...]
    make: Callable[[Rows], Content]


def places(data: Data) -> dict[str, PlaceRows]:
    """Rows of ``fgbench selection`` by the place that they were measured at.

    Returns:
        The rows of each place: a device in one environment, dtype and batch size. Kernels have no batch size: they are
        at the first place of their environment, or at a place of their own where it has no selections. A place is
        called by its device, a second one of that device ``cpu-2``.

    """
    found: dict[str, PlaceRows] = {}
    rows: list[SelectionRow | BackendRow] = [*data.selection, *data.backend]
    by_device = group_by(rows, "device")
    for device in sorted(by_device, key=lambda name: DEVICES.index(name) if name in DEVICES else len(DEVICES)):
        number = 0
        for same in by_environment(by_device[device]).values():
            backends = [row for row in same if isinstance(row, BackendRow)]
            selections = [row for row in same if isinstance(row, SelectionRow)]
            for batch in group_by(selections, "batch_size").values() or ([],):
                number += 1
                found[device if number == 1 else f"{device}-{number}"] = _place(batch, backends)
                backends = []
    return found


def _place(selections: Sequence[SelectionRow], backends: Sequence[BackendRow]) -> PlaceRows:
    rows: list[SelectionRow | BackendRow] = [*selections, *backends]
    environments = [row.environment for row in rows]
    rates = {
        name: next((rate for each in environments if (rate := (each.get("roof") or {}).get(name))), None)
        for name in ("product_flop_s", "copy_bytes_s")
    }
    return PlaceRows(environment=environments[0], rates=DeviceRates(**rates), selections=selections, backends=backends)


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
    found = places(rows.data)
    lines = [f"- {_machine(place)}\n" for place in found.values()]
    return Content(text="".join(lines) + ("" if "cuda" in found else "- GPU: no run is kept yet.\n"))


def _costs(rows: Rows) -> Content:
    return _per_place(
        _with_selections(rows), lambda place: _table(selection_lines(place.selections)) + _reasons(place.selections)
    )


def _ratios(rows: Rows) -> Content:
    return _per_place(_with_selections(rows), lambda place: _table(ratio_lines(place.selections)))


def _with_selections(rows: Rows) -> dict[str, PlaceRows]:
    return {name: place for name, place in places(rows.data).items() if place.selections}


def _time(rows: Rows) -> Content:
    from fgbench_reports.selector_cost_figures import draw_time

    return _figures(_with_selections(rows), draw_time, "time", "time against image size")


def _roofline(rows: Rows) -> Content:
    from fgbench_reports.selector_cost_figures import draw_roofline

    return _figures(_with_selections(rows), draw_roofline, "roofline", "the roofline")


def _kernels(rows: Rows) -> Content:
    from fgbench_reports.selector_cost_figures import draw_crossover

    found = {name: place for name, place in places(rows.data).items() if place.backends}
    drawn = _figures(found, draw_crossover, "crossover", "the back ends of v·A", after="\n")
    tables = _per_place(
        found, lambda place: f"{_bullets(crossover(place.backends))}\n{_table(backend_lines(place.backends))}"
    )
    return Content(text=drawn.text + tables.text, figures=drawn.figures)


def _trained_models(rows: Rows) -> Content:
    parts = [f"{_training(one)}\n\n{formats.to_markdown(model_table(one))}\n{verdict(one)}\n" for one in _trained(rows)]
    return Content(text="\n".join(parts))


def _trained_selectors(rows: Rows) -> Content:
    parts = [
        f"**Trained {model}**, {_training(one)}\n\n{formats.to_markdown(quality_table(one, model))}"
        for one in _trained(rows)
        for model in dict.fromkeys(row.model for row in one.quality)
    ]
    return Content(text="\n".join(parts))


def _components(rows: Rows) -> Content:
    groups = study_groups(rows.data.accuracy, rows.data.study, rows.data.predictions)
    tables = [group.table("table5") for group in groups if group.study == "table5"]
    return Content(text="\n".join(formats.to_markdown(table) for table in tables))


def _simulation(rows: Rows) -> Content:
    return Content(text=simulated_markdown(rows.self_tests))


BLOCKS: Mapping[str, Block] = {
    "trained-models": Block(needs=("accuracy",), make=_trained_models),
    "trained-selectors": Block(needs=("accuracy", "selection_quality"), make=_trained_selectors),
    "study-components": Block(needs=("study", "accuracy"), make=_components),
    "selector-machines": Block(needs=("selection",), make=_machines),
    "selector-costs": Block(needs=("selection",), make=_costs),
    "selector-ratios": Block(needs=("selection",), make=_ratios),
    "selector-time": Block(needs=("selection",), make=_time),
    "selector-roofline": Block(needs=("selection",), make=_roofline),
    "selector-kernels": Block(needs=("backend",), make=_kernels),
    "regress-simulation": Block(needs=(), make=_simulation),
}


def _trained(rows: Rows) -> Iterator[TrainedRows]:
    for one, _ in training_groups(rows.data):
        yield one


def _training(rows: TrainedRows) -> str:
    """The data set, the recipe and the machine of trained models."""
    first = rows.runs[0]
    environment, recipe = first.environment or {}, first.recipe or {}
    device = environment.get("device_name") or environment.get("cpu") or environment.get("device")
    threads = environment.get("threads") if environment.get("device") == "cpu" else None
    sizes = f"{first.train_images} training and {first.images} test images of {first.image_size} pixels"
    epochs = f"{first.epochs} {'epoch' if first.epochs == 1 else 'epochs'}"
    classes = f"{first.num_classes} {'class' if first.num_classes == 1 else 'classes'}"
    batches = f"{epochs} of batch {recipe.get('batch_size')}, {recipe.get('optimizer')}"
    words = [first.dataset, classes, sizes]
    starts = dict.fromkeys(f"{row.backbone} {start_in_words(row.begun_from or 'random')}" for row in rows.runs)
    words += [" and ".join(starts), batches]
    machine = [str(device), *([how_many(threads, "thread")] if threads else []), f"torch {environment.get('torch')}"]
    return f"{', '.join(words)}; {', '.join(machine)}"


def _machine(place: PlaceRows) -> str:
    environment = place.environment
    rates = f"{_rate(place.rates.product_flop_s, 'flop/s')} in products of large matrices, "
    rates += f"{_rate(place.rates.copy_bytes_s, 'B/s')} in copies"
    versions = f"torch {environment.get('torch')}, fgbench {environment.get('git_revision')}"
    return f"{title(place)}: {rates}; {versions}"


def _rate(rate: float | None, unit: str) -> str:
    return "–" if rate is None else f"{with_prefix(int(rate))}{unit}"


def _per_place(found: Mapping[str, PlaceRows], write: Callable[[PlaceRows], str]) -> Content:
    return Content(text="\n".join(f"**{title(place)}**\n\n{write(place)}" for place in found.values()))


def _figures(
    found: Mapping[str, PlaceRows], draw: Callable[[PlaceRows], str], figure: str, says: str, after: str = ""
) -> Content:
    text = "".join(f"![{says}, {name}](figures/{name}_{figure}.svg)\n{after}" for name in found)
    return Content(text=text, figures={f"{name}_{figure}.svg": draw(place) for name, place in found.items()})


def _table(lines: Sequence[Line]) -> str:
    return formats.to_markdown(Table.from_cells("cost", "", lines, names=NAMES))


def _bullets(lines: Sequence[str]) -> str:
    return "".join(f"- {line}\n" for line in lines)


def _reasons(rows: Sequence[SelectionRow]) -> str:
    """Why figures are missing or rest on one run; the intervals of the others have a column of their own."""
    names: dict[str, list[str]] = {}  # of the rows with each reason
    for row in rows:
        if row.reason and len(row.blocks) <= 1:
            names.setdefault(f"{status_word(row)}: {row.reason}", []).append(row_name(row))
    lines = [f"{why} ({', '.join(some)})" for why, some in names.items()]
    return "\n" + _bullets(lines) if lines else ""
