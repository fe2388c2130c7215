"""The tables of ``fgbench accuracy``: runs and their means, classes and confusions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from fgbench.results.proportions import wilson_of_percent
from fgbench.results.records import AccuracyRow
from fgbench_reports.data import Row, group_by, records
from fgbench_reports.sweep_rows import first_notes
from fgbench_reports.tables.column import MISSING, Cell, Column, as_text, line_of, word
from fgbench_reports.tables.numbers import how_many, img_per_s, significant
from fgbench_reports.tables.render import RowTables
from fgbench_reports.tables.table import Layout, Table
from fgbench_reports.training_groups import start_in_words

WORST, MOST_CONFUSED = 10, 10
# Of a recipe, in a table's title.
RECIPE = ("epochs", "batch_size", "optimizer", "augreg")


class Accuracy(Column):
    """A column of percentages, behind which the standard deviation over seeds stands."""

    __slots__ = ()

    def cell(self, row: AccuracyRow) -> Cell:
        """The percentage, and its text with two decimals, as the paper prints accuracies."""
        value = self.of(row)
        deviation = getattr(row, str(self.value).replace("_percent", "_std_percent"), None)
        if value is None:
            return Cell(None, MISSING)
        return Cell(value, f"{value:.2f}" + ("" if deviation is None else f" ± {deviation:.2f}"))


def _seed(row: AccuracyRow) -> Any:
    return row.seed if row.seeds is None else how_many(len(row.seeds), "seed")


def interval_of(row: AccuracyRow) -> tuple[float, float] | None:
    """Wilson's 95 % interval of a run in percent, which rows of earlier versions lack; None for a mean over seeds."""
    if row.seeds is not None or not row.images:
        return None
    low, high = row.top1_ci95_low_percent, row.top1_ci95_high_percent
    return wilson_of_percent(row.top1_percent, row.images) if low is None or high is None else (low, high)


NAMES = tuple(Column(name, name, is_name=True) for name in ("dataset", "backbone", "model", "selector"))
SIZE, SEED = Column("size", "image_size", unit="pixel"), Column("seed", _seed)
OF_TRAINING = ("best %", "epoch", "lr")
INTERVAL = "95 %"  # a column of wide tables; on a terminal it stands behind the accuracy
COLUMNS: tuple[Column, ...] = (
    Accuracy(
        "top-1 %",
        "top1_percent",
        unit="%",
        better="high",
        note="top-1: of the last epoch, ± the standard deviation over seeds",
    ),
    Column(
        INTERVAL,
        lambda row: interval_of(row),
        lambda ends: f"{ends[0]:.1f} to {ends[1]:.1f}",
        unit="%",
        note="95 % and [ ]: Wilson's interval of one run on these test images",
    ),
    Accuracy("top-5 %", "top5_percent", unit="%", better="high"),
    Accuracy(
        "best %",
        "best_top1_percent",
        unit="%",
        better="high",
        note="best: of the epoch that the test images themselves chose, which flatters",
    ),
    Column("epoch", "best_epoch"),
    Column("lr", "lr", "{:g}".format, note="lr: the highest of the schedule"),
    Column("images", "images", note="images: that were tested"),
    Column("s", "seconds", significant, unit="s", better="low", note="s: training and testing"),
    Column(
        "img/s",
        "test_img_s",
        img_per_s,
        better="high",
        note="img/s: of the test, reading pictures included; 'fgbench throughput' measures the model alone",
    ),
)


def accuracy_tables(rows: Sequence[Row]) -> RowTables:
    """Runs and their means as each format shows them.

    A terminal shows a table per data set, image size, backbone and recipe; the mean over seeds stands below its runs,
    in bold.

    Args:
        rows: Rows of accuracy, runs and means over seeds.

    """
    runs = records(AccuracyRow, rows)
    groups = group_by(runs, _title)
    columns = (*NAMES, SIZE, SEED, *COLUMNS) if runs else ()
    notes = accuracy_notes(runs)
    return RowTables(
        rows=rows,
        narrow=[_narrow(title, group) for title, group in groups.items()],
        wide=[Table.from_rows("accuracy", "", columns, runs, marked=False, notes=notes)],
        notes=notes,
    )


def accuracy_notes(rows: Sequence[AccuracyRow]) -> list[str]:
    """The columns, images that were left out, and the environments."""
    if not rows:
        return []
    columns = _columns(rows)
    notes = ["; ".join(column.note for column in columns if column.note) + "."]
    for row in rows:
        if row.seeds:
            continue
        unread = [("test", row.unreadable_images, "left out")]
        unread += [("training", row.unreadable_train_images, "replaced by others")]
        notes += [
            f"{_run(row)}: {role} images that could not be read and were {done}: {n}." for role, n, done in unread if n
        ]
    return [*notes, *first_notes(list(dict.fromkeys(_environment(row) for row in rows)), "environment")]


def class_tables(row: AccuracyRow, classes: Mapping[str, Any]) -> Iterator[Table]:
    """The classes with the lowest accuracy, and the pairs that are confused most, for a terminal.

    Args:
        row: The run.
        classes: Its figures of every class, ``classes`` and ``confusions``.

    """
    tested = [one for one in classes.get("classes", ()) if one["top1_percent"] is not None]
    worst = sorted(tested, key=lambda one: float(one["top1_percent"]))[:WORST]
    if worst:
        title = f"{_run(row)}: the {len(worst)} of {len(tested)} classes that are recognised least"
        yield _of_classes(
            title,
            [
                {
                    "class": Cell(one["class"], one["class"]),
                    "top-1 %": Cell(one["top1_percent"], f"{one['top1_percent']:.2f}"),
                    "images": word(one["images"]),
                }
                for one in worst
            ],
        )
    if pairs := list(classes.get("confusions", ()))[:MOST_CONFUSED]:
        yield _of_classes(
            f"{_run(row)}: what is taken for what",
            [
                {
                    "class": Cell(pair["class"], pair["class"]),
                    "taken for": Cell(pair["taken_for"], pair["taken_for"]),
                    "images": word(pair["images"]),
                }
                for pair in pairs
            ],
        )


def _of_classes(title: str, lines: Sequence[Mapping[str, Cell]]) -> Table:
    return Table.from_cells("classes", title, lines, names=("class", "taken for"), layout=Layout())


def _narrow(title: str, rows: Sequence[AccuracyRow]) -> Table:
    columns = [SEED, *(column for column in _columns(rows) if column.heading != INTERVAL)]
    lines: list[dict[str, Cell]] = []
    styles: dict[tuple[int, str], str] = {}
    block_ends = []
    for runs in group_by(rows, "model", "selector", "impl").values():
        for index, row in enumerate(runs):
            if row.seeds:
                styles |= {(len(lines), column.heading): "bold" for column in columns}
            line = {"model": Cell(row.model, _name(row) if index == 0 else ""), **line_of(columns, row)}
            if (ends := interval_of(row)) is not None:
                line["top-1 %"] = Cell(row.top1_percent, f"{row.top1_percent:.2f} [{ends[0]:.0f}–{ends[1]:.0f}]")
            lines.append(line)
        block_ends.append(len(lines) - 1)
    layout = Layout(styles=styles, block_ends=block_ends)
    return Table.from_cells("accuracy", title, lines, names=("model",), layout=layout)


def _title(row: AccuracyRow) -> str:
    recipe: Mapping[str, Any] = row.recipe or {}
    words: list[str | None] = [row.dataset, row.backbone, f"{row.image_size} px"]
    if row.epochs is not None:
        names = {"epochs": "epochs", "batch_size": "batch", "augreg": "AugReg"}
        for name in RECIPE:
            value = as_text(recipe.get(name))
            epochs = f"{value} epoch" + ("" if value == "1" else "s")
            words.append(epochs if name == "epochs" else f"{names.get(name, '')} {value}".strip())
        begun_from = row.begun_from
        words.append(None if begun_from is None else start_in_words(begun_from))
    return " · ".join(as_text(part) for part in words if part)


def _name(row: AccuracyRow) -> str:
    weights = f"weights {row.weights}" if row.weights else None
    words = [row.model, row.selector, weights, "mirrored too" if row.flip else None]
    return " ".join(as_text(part) for part in words if part)


def _run(row: AccuracyRow) -> str:
    return _name(row) + ("" if row.seed is None else f", seed {row.seed}")


def _columns(rows: Sequence[AccuracyRow]) -> list[Column]:
    trained = any(row.epochs is not None for row in rows)
    return [column for column in COLUMNS if trained or column.heading not in OF_TRAINING]


def _environment(row: AccuracyRow) -> str:
    values = row.environment or {}
    device = values.get("device_name") or values.get("cpu") or values.get("device") or "an unknown device"
    words = [as_text(device), f"torch {as_text(values.get('torch'))}"]
    words += [f"{values['processes']} processes"] if (values.get("processes") or 1) > 1 else []
    precision = values.get("mixed_precision")
    words += [f"mixed precision {precision}"] if precision not in (None, "no") else []
    return f"Measured on {', '.join(words)}, fgbench {as_text(values.get('fgbench'))}."
