"""The tables of what selectors find: parts, crops, and the pixels that a prediction rests on, beside what it costs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from fgbench_reports.cost_table import Line, Row, grouped
from fgbench_reports.sweep_rows import as_text, empty_table
from fgbench_reports.tables.numbers import how_many, percent, significant, with_prefix

if TYPE_CHECKING:
    import pandas as pd
    from rich.table import Table

COLUMNS = {
    "pointing %": "pointing: images whose best patch has its centre on a part",
    "heat %": "heat: the share of the scores that lies on parts",
    "part of crop %": "part of crop: the share of the crop around the best patches that is part",
    "IoU %": "IoU: of that crop with the smallest box around the parts",
    "recall %": "recall: the share of the parts that is inside the crop",
    "insertion": "insertion: the mean probability while the best pixels come back first, the higher the better",
    "deletion": "deletion: while they go first, the lower the better",
    "FLOPs": "FLOPs: of the fast selection, one image",
    "% backbone": "",
}


def quality_tables(rows: Sequence[Row]) -> Iterator[Table]:
    """One terminal table per trained model, a line per selector."""
    from rich.text import Text

    for group in grouped([{**row, "title": _title(row)} for row in rows], "title").values():
        headings = _headings(group)
        table = empty_table(group[0]["title"], ["selector", *headings], headings)
        for row in group:
            cells = _cells(row)
            style = "bold" if row["selector"] == row["trained_with"] else ""
            table.add_row(Text(as_text(row["selector"]), style), *(Text(cells[name], style) for name in headings))
        yield table


def quality_frame(rows: Sequence[Row]) -> pd.DataFrame:
    """A DataFrame of printed cells, a line per trained model and selector."""
    import pandas as pd

    headings, lines = _headings(rows), list[Line]()
    for row in rows:
        names = {name: as_text(row[name]) for name in ("dataset", "model", "selector")}
        names |= {"size": str(row["image_size"]), "seed": as_text(row["seed"])}
        cells = _cells(row)
        lines.append(names | {name: cells[name] for name in headings})
    return pd.DataFrame(lines)


def quality_notes(rows: Sequence[Row]) -> list[str]:
    """What the columns are."""
    headings = _headings(rows)
    notes = ["; ".join(said for name, said in COLUMNS.items() if said and name in headings) + "."]
    if {row["selector"] for row in rows} & {"random", "centre"}:
        notes.append("random and centre look at no image; bold is what the model itself selects by.")
    return notes


def _title(row: Row) -> str:
    words = [row["model"], f"selects by {row['trained_with']}" if row["trained_with"] else "selects nothing"]
    words += [row["dataset"], f"{row['image_size']} px", None if row["seed"] is None else f"seed {row['seed']}"]
    words.append(how_many(row["images"], "image"))
    return "What selectors find · " + " · ".join(as_text(word) for word in words if word)


def _headings(rows: Sequence[Row]) -> list[str]:
    """The columns for which there are figures; what needs boxes is left out where none are known."""
    filled = {name for row in rows for name, cell in _cells(row).items() if cell != "–"}
    return [name for name in COLUMNS if name in filled]


def _cells(row: Row) -> Line:
    flops, share = row["selector_flops"], row["percent_of_backbone"]
    return {
        "pointing %": _one_decimal(row["pointing_percent"]),
        "heat %": _one_decimal(row["heat_in_parts_percent"]),
        "part of crop %": _one_decimal(row["crop_part_percent"]),
        "IoU %": _one_decimal(row["crop_iou_percent"]),
        "recall %": _one_decimal(row["part_recall_percent"]),
        "insertion": significant(row["insertion_auc"]),
        "deletion": significant(row["deletion_auc"]),
        "FLOPs": "–" if flops is None else with_prefix(flops),
        "% backbone": "–" if share is None else percent(share),
    }


def _one_decimal(value: float | None) -> str:
    return "–" if value is None else f"{value:.1f}"
