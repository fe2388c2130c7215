"""What selection costs and what it buys, in one table: accuracy, what was found, work, throughput."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean, stdev
from typing import TYPE_CHECKING, Any

from fgbench_reports.choose.bounds import seed_half_width
from fgbench_reports.cost_table import Row, grouped
from fgbench_reports.tables.column import Cell, figure, word
from fgbench_reports.tables.numbers import how_many, img_per_s, percent, significant, with_prefix
from fgbench_reports.training_groups import is_of_training

if TYPE_CHECKING:
    import pandas as pd

BASELINE = "vit"
NAMES = ("model", "selects by", "backbone", "begun from", "weights", "file", "selector")  # columns that hold no figures
# Beside the model, its options and its selector, what tells runs apart that are no seeds of each other.
TOLD = {"backbone": "backbone", "lr": "lr", "begun_from": "begun from", "weights": "weights", "file": "file"}
PARTS = ("pointing_percent", "heat_in_parts_percent", "crop_part_percent", "part_recall_percent")

Kept = Mapping[str, Any]  # a file of kept rows: environment, accuracy, quality, flops, throughput


def bought_lines(kept: Kept) -> list[dict[str, Cell]]:
    """A line per model: accuracy over seeds, what its own selection finds, MACs, images per second."""
    lines, found = [], _runs(kept)
    told = [field for field in TOLD if _varies(found, field)]
    for (name, selector, backbone, *_), runs in grouped(found, "name", "selector", *TOLD).items():
        work, speed = _work(kept, name, selector, backbone), _speed(kept, name, selector, backbone)
        baseline = _work(kept, BASELINE, None, _baseline_of(found, backbone))
        own = [row for row in kept["quality"] if _is_own(row, runs[0])]
        seconds = [row["seconds"] for row in runs if row["seconds"] is not None]
        lines.append(
            {
                "model": word(name),
                "selects by": word(selector),
                **{TOLD[field]: _told(field, runs[0][field]) for field in told},
                "top-1 %": spread(runs, "top1_percent"),
                "top-5 %": spread(runs, "top5_percent"),
                "pointing %": spread(own, "pointing_percent"),
                "parts in crop %": spread(own, "part_recall_percent"),
                "crop that is part %": spread(own, "crop_part_percent"),
                "MACs": figure(work, with_prefix),
                f"× {BASELINE}": figure(work / baseline if work and baseline else None, significant),
                "img/s": figure(speed, img_per_s),
                "minutes": figure(fmean(seconds) / 60 if seconds else None, significant),
            }
        )
    return lines


def _told(field: str, value: Any) -> Cell:
    """What tells runs apart: a rate of learning in the digits that it needs, others as they are."""
    return figure(value, "{:.4g}".format) if field == "lr" else word(value)


def judged_lines(kept: Kept, model: str) -> list[dict[str, Cell]]:
    """What every selector finds on the trained weights of one model, over seeds, beside what it costs."""
    lines = []
    for selector, rows in grouped([row for row in kept["quality"] if row["model"] == model], "selector").items():
        lines.append(
            {
                "selector": word(selector),
                "pointing %": spread(rows, "pointing_percent"),
                "heat on parts %": spread(rows, "heat_in_parts_percent"),
                "parts in crop %": spread(rows, "part_recall_percent"),
                "crop that is part %": spread(rows, "crop_part_percent"),
                "insertion": spread(rows, "insertion_auc", 3),
                "deletion": spread(rows, "deletion_auc", 3),
                "% of backbone": figure(rows[0]["percent_of_backbone"], percent),
            }
        )
    return lines


def bought_frame(kept: Kept) -> pd.DataFrame:
    """:func:`bought_lines` as printed cells."""
    return _printed(bought_lines(kept))


def judged_frame(kept: Kept, model: str) -> pd.DataFrame:
    """:func:`judged_lines` as printed cells."""
    return _printed(judged_lines(kept, model))


def _printed(lines: Sequence[Mapping[str, Cell]]) -> pd.DataFrame:
    import pandas as pd

    return pd.DataFrame([{heading: found.text for heading, found in line.items()} for line in lines])


def verdict(kept: Kept) -> str:
    """Whether a selection beats the plain model, seed by seed, in a sentence."""
    found = _runs(kept)
    told = [field for field in ("selector", *TOLD) if _varies(found, field)]
    runs = grouped(found, "name", "selector", *TOLD)
    plain: dict[tuple[Any, ...], float] = {}  # by backbone, start and seed: the best of several rates
    for row in (row for row in found if row["name"] == BASELINE):
        key = (row["backbone"], row["begun_from"], row["seed"])
        plain[key] = max(row["top1_percent"], plain.get(key, 0.0))
    better: list[str] = []
    others: list[str] = []
    for (name, _, backbone, _, begun_from, *_), rows in runs.items():
        place = (_baseline_of(found, backbone), begun_from)
        seeded = [row for row in rows if row["seed"] is not None]  # files that were only tested are no pairs
        pairs = [(row["top1_percent"], plain.get((*place, row["seed"]))) for row in seeded]
        gains = [top1 - other for top1, other in pairs if other is not None]
        if name == BASELINE or not gains:
            continue
        model = " ".join([name, *(str(rows[0][field]) for field in told if rows[0][field] is not None)])
        words = f"{model} ({fmean(gains):+.1f} points{_interval(gains)}"
        words += f", {sum(gain > 0 for gain in gains)} of {how_many(len(gains), 'seed')} better)"
        (better if min(gains) > 0 else others).append(words)
    said = [f"Better than {BASELINE} with every seed: {', '.join(better)}."] if better else []
    said += [f"Not better with every seed: {', '.join(others)}."] if others else []
    if not said:
        return f"Nothing was trained beside the plain {BASELINE} with the same seed: no gain is told."
    if "interval" in " ".join(said):
        said.append("Intervals are Student's of the mean gain over seeds; one that holds 0 tells no gain from none.")
    if not better:
        said.insert(0, f"No selection here beats the plain {BASELINE} with every seed.")
    return " ".join(said)


def _interval(gains: Sequence[float]) -> str:
    """``, 95 % interval +1.0 to +15.0``; nothing for a single seed, which has none."""
    if len(gains) < 2:
        return ""
    half = seed_half_width(stdev(gains), len(gains))
    return f", 95 % interval {fmean(gains) - half:+.1f} to {fmean(gains) + half:+.1f}"


def spread(rows: Sequence[Row], field: str, decimals: int = 1) -> Cell:
    """The mean of a field over runs as a value, with its standard deviation in print."""
    values = [row[field] for row in rows]
    known = [value for value in values if value is not None]
    return Cell(fmean(known) if known else None, over_seeds(values, decimals))


def over_seeds(values: Sequence[float | None], decimals: int = 1) -> str:
    """The mean of several runs ± their standard deviation."""
    known = [value for value in values if value is not None]
    if not known:
        return "–"
    spread = f" ± {stdev(known):.{decimals}f}" if len(known) > 1 else ""
    return f"{fmean(known):.{decimals}f}{spread}"


def _runs(kept: Kept) -> list[Row]:
    """Rows of single runs under their names; the means over seeds are made again from them."""
    runs = [{**row, "name": run_name(row)} for row in kept["accuracy"] if row["seeds"] is None]
    files = [row.get("checkpoint") if row["seed"] is None else None for row in runs]  # each tested file is its own
    return [
        {**row, **{field: row.get(field) for field in TOLD}, "file": file}
        for row, file in zip(runs, files, strict=True)
    ]


def _varies(runs: Sequence[Row], field: str) -> bool:
    """Whether one model has several values of a field."""
    alike = ("name",) if field == "selector" else ("name", "selector")
    return any(len({row[field] for row in some}) > 1 for some in grouped(runs, *alike).values())


def _baseline_of(runs: Sequence[Row], backbone: str | None) -> str | None:
    """The backbone of the plain model that stands beside one on this backbone: the same, or the only one there is."""
    known = {row["backbone"] for row in runs if row["name"] == BASELINE}
    return next(iter(known)) if len(known) == 1 else backbone


def _is_own(row: Row, run: Row) -> bool:
    """Whether a row of quality is of the selection that the model of a run makes itself."""
    return (
        row["model"] == run["model"]
        and row["selector"] in (run["selector"], "own")
        and row.get("trained_with") in (None, run["selector"])
        and is_of_training(row, run)
    )


def run_name(row: Row) -> str:
    """The model; the plain one with overlapping patches is a line of its own."""
    overlap = (row["recipe"] or {}).get("overlap")
    return f"{row['model']}, patches overlap" if overlap else str(row["model"])


def _is_of(row: Row, name: str, selector: str | None, backbone: str | None) -> bool:
    """Whether a row of work or throughput is of this model; what a row does not tell does not matter."""
    told = (row["model"], row.get("selector", selector), row.get("backbone", backbone))
    return told == (name, selector, row.get("backbone") if backbone is None else backbone)


def _work(kept: Kept, name: str, selector: str | None, backbone: str | None) -> int | None:
    rows = [row for row in kept["flops"] if _is_of(row, name, selector, backbone)]
    found = [row["macs"] for row in rows if row["impl"] in ("fast", None)]
    return found[-1] if found else None


def _speed(kept: Kept, name: str, selector: str | None, backbone: str | None) -> float | None:
    rows = [row for row in kept["throughput"] if _is_of(row, name, selector, backbone)]
    found = [row["throughput_img_s"] for row in rows]
    return max((value for value in found if value is not None), default=None)
