"""Table 10: training settings of the paper and of the runs here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from fgbench.results.recipe import LEARNING_RATES
from fgbench.results.records import AccuracyRow
from fgbench_reports.data import Data
from fgbench_reports.paper.measured import Setting, settings
from fgbench_reports.paper.names import MODELS
from fgbench_reports.published import PAPER
from fgbench_reports.published import table10 as published_rows
from fgbench_reports.report import Item, Missing, Report
from fgbench_reports.sweep_rows import as_text
from fgbench_reports.tables.column import Cell, word
from fgbench_reports.tables.table import Table, frame_of

if TYPE_CHECKING:
    import pandas as pd

SETTING, PUBLISHED, DATA_SETS = "Setting", "published", "Data sets"
MAX_RECIPES, MAX_NAMES = 4, 6  # beside each other; in a cell
SIZES = (224, 448)
PUBLISHED_MODELS = ("resnet101", "cal", "vit", "transfg", "ffvt", "glsim")
NOT_IN_ROWS = "rows do not tell"

Line = dict[str, Cell]


@dataclass(slots=True)
class _Recipe:
    """Runs with the same settings."""

    settings: dict[str, Setting]
    runs: int = 0
    models: dict[str, None] = field(default_factory=dict)
    datasets: dict[str, None] = field(default_factory=dict)
    sizes: set[int] = field(default_factory=set)
    rates: set[float] = field(default_factory=set)


def table10(data: Data) -> pd.DataFrame:
    """Table 10 in words: the published settings, and those of the recipes at hand."""
    return frame_of(_lines(_groups(data.accuracy)))


class Table10(Report):
    """Table 10: training settings, published and of the runs at hand."""

    name: ClassVar[str] = "table10"

    def items(self, data: Data) -> Iterable[Item]:
        """The table; or what would fill its other half."""
        groups = _groups(data.accuracy)
        lines = _lines(groups)
        yield Table.from_cells(
            "table10", "Table 10: settings of training", lines, names=list(lines[0]), notes=_notes(groups)
        )
        if not groups:
            yield Missing(
                what="Table 10: the settings of runs at hand",
                command=f"fgbench accuracy --model {' '.join(PUBLISHED_MODELS)} --dataset cub --data-dir DIR "
                "--pretrained",
                why="nothing was trained",
            )


def _groups(rows: Sequence[AccuracyRow]) -> list[_Recipe]:
    """Group runs by their settings; the group with the most runs is first."""
    groups: dict[tuple[Any, ...], _Recipe] = {}
    for row in rows:
        if row.seeds or row.epochs is None or not row.recipe:
            continue
        of_run = settings(row.model, row.dataset, {**row.recipe, "epochs": row.epochs})
        group = groups.setdefault(tuple(of_run.values()), _Recipe(of_run))
        group.runs += 1
        group.models[row.model] = group.datasets[row.dataset] = None
        group.sizes.add(row.image_size)
        if row.lr is not None:
            group.rates.add(row.lr)
    return sorted(groups.values(), key=lambda group: -group.runs)


def _lines(groups: Sequence[_Recipe]) -> list[Line]:
    shown = {f"recipe {number}": _column(group) for number, group in enumerate(groups[:MAX_RECIPES], 1)}
    lines = [_line(row["setting"], row["value"], shown) for row in published_rows()]
    return [*lines, _line(DATA_SETS, "the ten of Table 9", shown)] if shown else lines


def _line(setting: str, value: str, shown: Mapping[str, Mapping[str, Setting]]) -> Line:
    cells = {heading: _cell(column.get(setting)) for heading, column in shown.items()}
    return {SETTING: word(setting), PUBLISHED: word(value), **cells}


def _cell(setting: Setting | None) -> Cell:
    if setting is None or setting.here is None:
        return word(NOT_IN_ROWS)
    return word(f"{as_text(setting.here)} – differs" if setting.differs else setting.here)


def _column(group: _Recipe) -> dict[str, Setting]:
    return {
        **group.settings,
        "Models": Setting(_listed([MODELS.get(name, name) for name in group.models]), differs=False),
        "LR range": _among(sorted(group.rates, reverse=True), LEARNING_RATES),
        "Image size": _among(sorted(group.sizes), SIZES),
        DATA_SETS: Setting(_listed(list(group.datasets)), differs=False),
    }


def _among(values: Sequence[float], published: Sequence[float]) -> Setting:
    text = _listed([f"{value:g}" for value in values]) if values else None
    return Setting(text, differs=any(value not in published for value in values))


def _listed(names: Sequence[str]) -> str:
    left = len(names) - MAX_NAMES
    return ", ".join(map(as_text, names[:MAX_NAMES])) + (f" and {left} more" if left > 0 else "")


def _notes(groups: Sequence[_Recipe]) -> list[str]:
    notes = [f"Published: {PAPER}, Table 10; weight decay, epochs and what holds for CAL from its appendix C."]
    if groups:
        runs = ", ".join(f"{group.runs} in recipe {index}" for index, group in enumerate(groups[:MAX_RECIPES], 1))
        notes.append(f"Runs that were trained here: {runs}. What is not as published is marked: differs.")
    if (left := len(groups) - MAX_RECIPES) > 0:
        notes.append(f"Not shown: {left} more recipe{'s' if left > 1 else ''}, of fewer runs.")
    return notes
