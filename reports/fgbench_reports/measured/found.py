"""The report ``found``: what every selector finds on trained weights, beside what it costs."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING

from fgbench_reports.advice import accuracy_command
from fgbench_reports.bought import NAMES, judged_lines
from fgbench_reports.conventions import measured_rows
from fgbench_reports.data import KINDS, Row
from fgbench_reports.report import Data, Item, Missing, Report
from fgbench_reports.tables.column import Direction
from fgbench_reports.tables.numbers import how_many
from fgbench_reports.tables.table import Table, column_marks, distinct, file_name, without_empty
from fgbench_reports.training_groups import Training, by_training, telling_words

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = {
    "pointing %": "pointing: images whose best patch has its centre on a part",
    "heat on parts %": "heat on parts: the share of the scores that lies on parts",
    "parts in crop %": "parts in crop: the share of the parts that is inside the crop around the best patches",
    "crop that is part %": "crop that is part: the share of that crop that is part",
    "insertion": "insertion: the mean probability while the best pixels come back first, the higher the better",
    "deletion": "deletion: while they go first, the lower the better",
    "% of backbone": "% of backbone: FLOPs of the fast selection, one image",
}
BEST: dict[str, Direction] = {"pointing %": "high", "parts in crop %": "high", "insertion": "high", "deletion": "low"}


class Found(Report):
    """Pointing game, crops, insertion and deletion of every selector, on the weights of every trained model."""

    title = "What selectors find"

    def items(self, data: Data) -> Iterable[Item]:
        """A table per data set, image size, trained model and what it selects by, over its seeds."""
        groups = by_training(data.selection_quality)
        files = distinct(file_name(key.dataset, key.image_size, key.model) for key in groups)
        for name, (key, rows) in zip(files, groups.items(), strict=True):
            lines = without_empty(judged_lines({"quality": rows}, key.model), ("selector",))
            values = {heading: [line[heading].value for line in lines] for heading in BEST if heading in lines[0]}
            marks = column_marks(values, {heading: BEST[heading] for heading in values})
            title = f"What selectors find · {_name(key, groups)}, trained on {key.dataset} at {key.image_size}"
            yield Table.from_cells(name, title, lines, names=NAMES, marks=marks, notes=_notes(rows, lines[0]))
        if not groups:
            trained = [row for row in data.accuracy if not row.get("seeds")]
            command = accuracy_command(trained, "--quality") if trained else KINDS["selection_quality"]
            yield Missing(what="what selectors find on trained models", command=command)


def found(data: Data) -> pd.DataFrame:
    """The lines of every table of the report, with their data set, size and model."""
    import pandas as pd

    return pd.DataFrame(
        [
            {"dataset": key.dataset, "image size": key.image_size, "model": key.model, "backbone": key.backbone}
            | {heading: cell.value for heading, cell in line.items()}
            for key, rows in by_training(data.selection_quality).items()
            for line in judged_lines({"quality": rows}, key.model)
        ]
    )


def _name(key: Training, groups: Collection[Training]) -> str:
    """The model, and what tells its training from others on the data set."""
    several = len({other.trained_with for other in groups if _site(other) == _site(key)}) > 1
    by = f" selecting by {key.trained_with or 'nothing'}" if several else ""
    return ", ".join([key.model + by, *telling_words(key, groups)])


def _site(key: Training) -> tuple[str, int, str]:
    return key.dataset, key.image_size, key.model


def _notes(rows: list[Row], headings: Collection[str]) -> list[str]:
    seeds, own = {row["seed"] for row in rows}, rows[0].get("trained_with")
    said = [f"{how_many(rows[0]['images'], 'image')}, {how_many(len(seeds), 'trained model')}."]
    said += [f"The model itself selects by {own}."] if own else []
    columns = "; ".join(told for heading, told in COLUMNS.items() if heading in headings)
    said += measured_rows("Selectors on trained models", rows)
    return [*said, f"{columns}.", "random and centre look at no image. Best is bold, second is underlined."]
