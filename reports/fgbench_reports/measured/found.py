"""The report ``found``: what every selector finds on trained weights, beside what it costs."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from fgbench_reports.bought import NAMES, judged_lines
from fgbench_reports.cost_table import grouped
from fgbench_reports.data import KINDS, Row
from fgbench_reports.marks import Direction, column_marks
from fgbench_reports.naming import distinct, file_name, without_empty
from fgbench_reports.quality import quality_notes
from fgbench_reports.report import Data, Item, Missing, Report
from fgbench_reports.tables import of_cells

if TYPE_CHECKING:
    import pandas as pd

BEST: dict[str, Direction] = {"pointing %": "high", "parts in crop %": "high", "insertion": "high", "deletion": "low"}


class Found(Report):
    """Pointing game, crops, insertion and deletion of every selector, on the weights of every trained model."""

    title = "What selectors find"

    def items(self, data: Data) -> Iterable[Item]:
        """A table per data set, image size and trained model, over its seeds."""
        groups = _groups(data)
        files = distinct(file_name(*key) for key in groups)
        for name, ((dataset, size, model), rows) in zip(files, groups.items(), strict=True):
            lines = without_empty(judged_lines({"quality": rows}, model), ("selector",))
            values = {heading: [line[heading].value for line in lines] for heading in BEST if heading in lines[0]}
            marks = column_marks(values, {heading: BEST[heading] for heading in values})
            title = f"What selectors find · {model}, trained on {dataset} at {size}"
            yield of_cells(name, title, lines, names=NAMES, marks=marks, notes=_notes(rows))
        if not groups:
            yield Missing(what="what selectors find on trained models", command=KINDS["selection_quality"])


def found(data: Data) -> pd.DataFrame:
    """The lines of every table of the report, with their data set, size and model."""
    import pandas as pd

    return pd.DataFrame(
        [
            {"dataset": dataset, "image size": size, "model": model}
            | {heading: cell.value for heading, cell in line.items()}
            for (dataset, size, model), rows in _groups(data).items()
            for line in judged_lines({"quality": rows}, model)
        ]
    )


def _groups(data: Data) -> dict[tuple[str, int, str], list[Row]]:
    return grouped(data.selection_quality, "dataset", "image_size", "model")


def _notes(rows: list[Row]) -> list[str]:
    seeds, own = {row["seed"] for row in rows}, rows[0].get("trained_with")
    said = [f"{rows[0]['images']} images, {len(seeds)} trained model{'s' if len(seeds) > 1 else ''}."]
    said += [f"The model itself selects by {own}."] if own else []
    return [*said, quality_notes(rows)[0], "random and centre look at no image. Best is bold, second is underlined."]
