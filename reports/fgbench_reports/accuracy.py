"""The tables of ``fgbench accuracy``: runs and their means, classes and confusions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from fgbench_reports.cost_table import Line, Row, grouped
from fgbench_reports.sweep_rows import as_text, empty_table, first_notes
from fgbench_reports.tables.numbers import how_many, img_per_s, significant

if TYPE_CHECKING:
    import pandas as pd
    from rich.table import Table

COLUMNS = {
    "top-1 %": "top-1: of the last epoch, ± the standard deviation over seeds",
    "top-5 %": "",
    "best %": "best: of the epoch that the test images themselves chose, which flatters",
    "epoch": "",
    "lr": "lr: the highest of the schedule",
    "images": "images: that were tested",
    "s": "s: training and testing",
    "img/s": "img/s: of the test, reading pictures included; 'fgbench throughput' measures the model alone",
}
WORST, MOST_CONFUSED = 10, 10
# Of a recipe, in a table's title.
RECIPE = ("epochs", "batch_size", "optimizer", "augreg")


def accuracy_tables(rows: Sequence[Row]) -> Iterator[Table]:
    """One terminal table per data set, image size, backbone and recipe; the mean over seeds below its runs, in bold."""
    from rich.text import Text

    for group in grouped([{**row, "title": _title(row)} for row in rows], "title").values():
        headings = _headings(group)
        table = empty_table(group[0]["title"], ["model", "seed", *headings], ["seed", *headings])
        for runs in grouped(group, "model", "selector", "impl").values():
            for index, row in enumerate(runs):
                cells = _cells(row)
                style = "bold" if row["seeds"] else ""
                name = _name(row) if index == 0 else ""
                table.add_row(Text(name), *(Text(cells[heading], style) for heading in ("seed", *headings)))
            table.add_section()
        yield table


def accuracy_frame(rows: Sequence[Row]) -> pd.DataFrame:
    """A DataFrame of printed cells, one line per row."""
    import pandas as pd

    lines: list[Line] = []
    for row in rows:
        names = {name: as_text(row[name]) for name in ("dataset", "backbone", "model", "selector")}
        cells = {"size": str(row["image_size"]), **_cells(row)}
        lines.append(names | cells)
    return pd.DataFrame(lines)


def accuracy_notes(rows: Sequence[Row]) -> list[str]:
    """What the columns are, what was left out, and what it ran on."""
    if not rows:
        return []
    headings = {heading for row in rows for heading in _headings([row])}
    notes = ["; ".join(said for heading, said in COLUMNS.items() if said and heading in headings) + "."]
    for row in rows:
        if row["seeds"]:
            continue
        broken = [("test", row["unreadable_images"], "left out")]
        broken += [("training", row["unreadable_train_images"], "replaced by others")]
        run = _name(row) + ("" if row["seed"] is None else f", seed {row['seed']}")
        notes += [f"{run}: {role} images that could not be read and were {done}: {n}." for role, n, done in broken if n]
    return [*notes, *first_notes(list(dict.fromkeys(_environment(row) for row in rows)), "environment")]


def class_tables(row: Row, classes: Row) -> Iterator[Table]:
    """The classes that are recognised least, and the pairs that are confused most."""
    from rich.text import Text

    which = _name(row) + ("" if row["seed"] is None else f", seed {row['seed']}")
    tested = [each for each in classes.get("classes", ()) if each["top1_percent"] is not None]
    worst = sorted(tested, key=lambda each: float(each["top1_percent"]))[:WORST]
    if worst:
        title = f"{which}: the {len(worst)} of {len(tested)} classes that are recognised least"
        table = empty_table(title, ["class", "top-1 %", "images"], ["top-1 %", "images"])
        for each in worst:
            table.add_row(Text(each["class"]), f"{each['top1_percent']:.2f}", str(each["images"]))
        yield table
    if pairs := list(classes.get("confusions", ()))[:MOST_CONFUSED]:
        table = empty_table(f"{which}: what is taken for what", ["class", "taken for", "images"], ["images"])
        for each in pairs:
            table.add_row(Text(each["class"]), Text(each["taken_for"]), str(each["images"]))
        yield table


def _title(row: Row) -> str:
    recipe: dict[str, Any] = row["recipe"] or {}
    words: list[str | None] = [row["dataset"], row["backbone"], f"{row['image_size']} px"]
    if row["epochs"] is not None:
        names = {"epochs": "epochs", "batch_size": "batch", "augreg": "AugReg"}
        for name in RECIPE:
            value = as_text(recipe.get(name))
            many = f"{value} epoch" + ("" if value == "1" else "s")
            words.append(many if name == "epochs" else f"{names.get(name, '')} {value}".strip())
        begun = row.get("begun_from")
        words.append({None: None, "random": "from scratch"}.get(begun, f"begun from {begun}"))
    return " · ".join(as_text(word) for word in words if word)


def _name(row: Row) -> str:
    weights = f"weights {row['weights']}" if row.get("weights") else None
    words = [row["model"], row["selector"], weights, "mirrored too" if row["flip"] else None]
    return " ".join(as_text(word) for word in words if word)


def _headings(rows: Sequence[Row]) -> list[str]:
    trained = any(row["epochs"] is not None for row in rows)
    return [heading for heading in COLUMNS if trained or heading not in ("best %", "epoch", "lr")]


def _cells(row: Row) -> Line:
    summary = row["seeds"] is not None
    return {
        "seed": how_many(len(row["seeds"]), "seed") if summary else as_text(row["seed"]),
        "top-1 %": _percent(row["top1_percent"], row["top1_std_percent"]),
        "top-5 %": _percent(row["top5_percent"], row["top5_std_percent"]),
        "best %": _percent(row["best_top1_percent"]),
        "epoch": as_text(row["best_epoch"]),
        "lr": "–" if row["lr"] is None else f"{row['lr']:g}",
        "images": str(row["images"]),
        "s": significant(row["seconds"]),
        "img/s": img_per_s(row["test_img_s"]),
    }


def _percent(value: float | None, deviation: float | None = None) -> str:
    """Two decimals, as the paper prints accuracies."""
    if value is None:
        return "–"
    return f"{value:.2f}" + ("" if deviation is None else f" ± {deviation:.2f}")


def _environment(row: Row) -> str:
    met = row["environment"] or {}
    device = met.get("device_name") or met.get("cpu") or met.get("device") or "an unknown device"
    words = [as_text(device), f"torch {as_text(met.get('torch'))}"]
    words += [f"{met['processes']} processes"] if (met.get("processes") or 1) > 1 else []
    words += [f"mixed precision {met['mixed_precision']}"] if met.get("mixed_precision") not in (None, "no") else []
    return f"Measured on {', '.join(words)}, fgbench {as_text(met.get('fgbench'))}."
