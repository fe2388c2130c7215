"""What ``fgbench choose`` shows: the configurations on the front, what rules the others out, the nearest misses."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from fgbench_reports.choice import ACCURACY, Choice, Verdict, counts, nearest_misses
from fgbench_reports.configurations import PAPER_BACKBONES, PUBLISHED, VIT_B16
from fgbench_reports.cost_table import Line, Row, grouped
from fgbench_reports.limits import device_name, top1_of
from fgbench_reports.numbers import gigabytes, how_many, img_per_s, milliseconds, significant
from fgbench_reports.paper.names import DATASETS, SELECTORS
from fgbench_reports.parts import without_part
from fgbench_reports.price import (
    COST,
    DAGGER,
    ENERGY,
    HOURS,
    PUBLISHED_IN,
    cost_per_million,
    hours_per_million,
    kwh_per_million,
    measured_on,
    top1_text,
)
from fgbench_reports.sweep_rows import (
    CONTENDER,
    as_text,
    common_title,
    empty_table,
    label_lines,
    places_of,
    sites_of,
    status_word,
    varying_fields,
)

if TYPE_CHECKING:
    import pandas as pd
    from rich.table import Table

# Of a row of throughput, what is told of a configuration beside its verdict.
FIELDS = (
    *("model", "selector", "impl", "backbone", "image_size", "batch_size", "device", "dtype", "compiled"),
    *("status", "reason", "throughput_img_s", "latency_s", "latency_ci95_low_s", "latency_ci95_high_s"),
    *("peak_memory_allocated_bytes", "device_memory_bytes", "energy_j_per_image", "mfu"),
)
NAMES = ("model", "selector", "impl", "backbone", "status", "on", "limit", "nearest miss", "misses")
MAX_COMMANDS = 3  # that a note names
STATUSES = {
    "unconverged": "unconverged: the interval of the latency is wider than it should be",
    "contended": "contended: something else used the device",
}


def choice_rows(choice: Choice) -> list[dict[str, Any]]:
    """A row per configuration for programs, the cheapest first, with its verdict and why."""
    rows = []
    for verdict in choice.verdicts:
        point, accuracy = verdict.configuration, verdict.configuration.accuracy
        rows.append(
            {name: point.row[name] for name in FIELDS}
            | {"memory_bytes": point.memory_bytes, "device_name": device_name(point), "mode": point.mode_name}
            | {"dataset": choice.dataset, "top1_percent": top1_of(point)}
            | {"accuracy_source": None if accuracy is None else accuracy.source}
            | {"hours_per_million": hours_per_million(point.img_s), "cost_per_million": verdict.cost_per_million}
            | {"kwh_per_million": kwh_per_million(point.energy_j)}
            | {"pareto": verdict.pareto, "satisfies": verdict.satisfies}
            | {"ruled_out_by": [f"{breach.option}: {breach.told}" for breach in verdict.breaches]}
        )
    return rows


def choice_frame(choice: Choice) -> pd.DataFrame:
    """The front as printed cells, a line per configuration, the cheapest first."""
    import pandas as pd

    return pd.DataFrame(
        [
            {name: as_text(verdict.configuration.row[name]) for name in CONTENDER} | cells
            for verdict, cells in _chosen_lines(choice)
        ]
    )


def limits_frame(choice: Choice) -> pd.DataFrame:
    """Per limit how many configurations it rules out, and how many of them nothing else does."""
    import pandas as pd

    return pd.DataFrame(list(_limit_lines(choice)))


def misses_frame(choice: Choice) -> pd.DataFrame:
    """Per model the nearest miss: where it is, and what it misses."""
    import pandas as pd

    return pd.DataFrame(list(_miss_lines(choice)))


def choice_frames(choice: Choice) -> list[pd.DataFrame]:
    """The three tables, without those that have no line."""
    return [frame for make in (choice_frame, limits_frame, misses_frame) if len(frame := make(choice))]


def choice_tables(choice: Choice) -> Iterator[Table]:
    """The same tables for a terminal."""
    if choice.chosen:
        yield _front_table(choice)
    limits, misses = list(_limit_lines(choice)), list(_miss_lines(choice))
    if limits:
        yield _table("What rules the others out", limits, ("rules out", "alone"))
    if misses:
        yield _table("The nearest miss of every model", misses, ())


def choice_notes(choice: Choice) -> list[str]:
    """What the tables say and what they do not: objectives, data set, prices, environments."""
    points = [verdict.configuration for verdict in choice.chosen]
    notes = [_summary(choice)]
    if points:
        better = ", ".join(choice.objectives)
        among = "that keeps the limits " if choice.limits else ""
        notes.append(f"On the front: no other one {among}is at least as good in {better}, and better in one of them.")
    if ACCURACY in choice.objectives:
        notes.append(f"top-1: on {as_text(choice.dataset)}, taken to be the same in every dtype and implementation.")
    if any(point.accuracy and point.accuracy.source == PUBLISHED for point in points):
        notes.append(f"{DAGGER} published, not measured here: {PUBLISHED_IN}.")
    notes += _unknown(choice)
    if choice.gpu_hour_price is not None:
        notes.append(f"cost: of a million images at {choice.gpu_hour_price:g} per hour of one device, whichever it is.")
    if any(point.row["device"] == "cpu" for point in points):
        notes.append("On a CPU hours and price are those of one process with its threads, GB is its resident set.")
    if len({point.mode for point in points}) > 1:
        notes.append("The lines come from different environments, which the column 'on' tells apart.")
    met = {point.row["status"] for point in points}
    notes += [f"{words}." for status, words in STATUSES.items() if status in met]
    return [*notes, *measured_on([point.row for point in points])]


def _summary(choice: Choice) -> str:
    total, kept, shown = len(choice.verdicts), len(choice.satisfying), len(choice.chosen)
    told = how_many(total, "configuration")
    if choice.limits:
        told += f", of which the limits together rule out {total - kept} and {kept} keep them all"
    return f"{told}; {shown} on the front."


def _unknown(choice: Choice) -> list[str]:
    """What has no accuracy of all that was asked about, and the command that would measure it."""
    asked = [one for one in choice.verdicts if not any(breach.narrows for breach in one.breaches)]
    rows = [one.configuration.row for one in asked if top1_of(one.configuration) is None]
    if not rows:
        return []
    rows.sort(key=lambda row: (row["image_size"], row["batch_size"]))
    told = f"{len(rows)} configuration{'s have' if len(rows) > 1 else ' has'} no known accuracy on "
    told += as_text(choice.dataset)
    where = places_of(rows, sites_of([one.configuration.row for one in choice.verdicts]))
    commands = [f"'{command}'" for command in _commands(rows, without_part(choice.dataset))]
    left = len(commands) - MAX_COMMANDS
    listed = ", ".join(commands[:MAX_COMMANDS]) + (f" and {left} more" if left > 0 else "")
    return [f"{told} ({where}); {listed} {'measures it' if len(commands) == 1 else 'measure them'}."]


def _commands(rows: Sequence[Row], dataset: str) -> list[str]:
    """The commands that test these models: one for all that are as published, one per other backbone."""
    told = [{**row, "of backbone": _backbone_option(row, dataset), "by": _selector_option(row)} for row in rows]
    commands = []
    for (backbone, selector), some in grouped(told, "of backbone", "by").items():
        models = dict.fromkeys(shlex.quote(as_text(row["model"])) for row in some)
        sizes = dict.fromkeys(str(row["image_size"]) for row in some)
        command = f"fgbench accuracy --model {' '.join(models)} --sizes {' '.join(sizes)}{backbone}{selector}"
        command += f" --dataset {shlex.quote(as_text(dataset))}" + (" --data-dir DIR" if dataset in DATASETS else "")
        commands.append(command)
    return commands


def _backbone_option(row: Row, dataset: str) -> str:
    """Other data sets than the paper's can have a backbone of their own where none is asked for."""
    usual = PAPER_BACKBONES.get(row["model"], VIT_B16)[0]
    asked = dataset not in DATASETS or row["backbone"] != usual
    return f" --backbone {shlex.quote(as_text(row['backbone']))}" if asked else ""


def _selector_option(row: Row) -> str:
    usual = SELECTORS.get(row["model"])
    return f" --selectors {shlex.quote(as_text(row['selector']))}" if row["selector"] not in (None, usual) else ""


def _chosen_lines(choice: Choice) -> Iterator[tuple[Verdict, Line]]:
    """Every figure of the front as it is printed; columns that nothing fills are left out."""
    points = [verdict.configuration for verdict in choice.chosen]
    energy = any(point.energy_j is not None for point in points)
    noisy = any(point.row["status"] != "ok" for point in points)
    for verdict in choice.chosen:
        point, accuracy = verdict.configuration, verdict.configuration.accuracy
        cells = {"size": str(point.row["image_size"]), "batch": str(point.row["batch_size"])}
        if ACCURACY in choice.objectives:
            cells[ACCURACY] = top1_text(top1_of(point), None if accuracy is None else accuracy.source)
        cells |= {"img/s": img_per_s(point.img_s), "latency ms": milliseconds(point.latency_s)}
        cells["GB"] = gigabytes(point.memory_bytes)
        if choice.gpu_hour_price is None:
            cells[HOURS] = significant(hours_per_million(point.img_s), decimals=5)
        else:
            cells[COST] = significant(cost_per_million(point.img_s, choice.gpu_hour_price), decimals=5)
        if energy:
            cells[ENERGY] = significant(kwh_per_million(point.energy_j), decimals=5)
        if noisy:
            cells["status"] = "" if point.row["status"] == "ok" else status_word(point.row)
        yield verdict, {**cells, "on": as_text(point.mode_name)}


def _limit_lines(choice: Choice) -> Iterator[Line]:
    for limit, ruled_out, alone in counts(choice):
        yield {"limit": f"{limit.option}: {limit.told}", "rules out": str(ruled_out), "alone": str(alone)}


def _miss_lines(choice: Choice) -> Iterator[Line]:
    misses = nearest_misses(choice)
    rows = [verdict.configuration.row for verdict in choice.verdicts]
    varying = varying_fields(rows)
    for verdict in misses:
        row = verdict.configuration.row
        label = " ".join(map(str.strip, label_lines(row, varying)))
        place = f"{label} at {row['image_size']}, batch {row['batch_size']}"
        told = "; ".join(breach.told for breach in verdict.breaches)
        yield {"nearest miss": place, "misses": told, "on": as_text(verdict.configuration.mode_name)}


def _front_table(choice: Choice) -> Table:
    from rich.text import Text

    lines = list(_chosen_lines(choice))
    rows = [verdict.configuration.row for verdict, _ in lines]
    varying, figures = varying_fields(rows), [name for name in lines[0][1] if name not in NAMES]
    table = empty_table(common_title(rows, "The front, the cheapest first"), ["model", *lines[0][1]], figures)
    for (_, cells), row in zip(lines, rows, strict=True):
        label = "\n".join(label_lines(row, varying))
        table.add_row(Text(label), *map(Text, cells.values()))
    return table


def _table(title: str, lines: Sequence[Line], figures: Sequence[str]) -> Table:
    from rich.text import Text

    table = empty_table(title, list(lines[0]), figures)
    for line in lines:
        table.add_row(*map(Text, line.values()))
    return table
