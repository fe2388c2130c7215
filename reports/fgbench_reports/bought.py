"""What selection costs and what it buys, in one table: accuracy, what was found, work, throughput."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean, stdev
from typing import TYPE_CHECKING, Any

from fgbench_reports.cost_table import Line, Row, grouped
from fgbench_reports.numbers import img_per_s, percent, significant, with_prefix
from fgbench_reports.render import to_markdown

if TYPE_CHECKING:
    import pandas as pd

BASELINE = "vit"
NAMES = ("model", "selects by", "selector")  # columns that hold no figures
PARTS = ("pointing_percent", "heat_in_parts_percent", "crop_part_percent", "part_recall_percent")

Kept = Mapping[str, Any]  # a file of kept rows: environment, accuracy, quality, flops, throughput


def bought_frame(kept: Kept) -> pd.DataFrame:
    """A line per model: accuracy over seeds, what its own selection finds, MACs, images per second."""
    import pandas as pd

    lines: list[Line] = []
    baseline = _work(kept, BASELINE)
    for (name, selector), runs in grouped(_runs(kept), "name", "selector").items():
        model = runs[0]["model"]
        work, speed = _work(kept, name), _speed(kept, name)
        own = [row for row in kept["quality"] if row["model"] == model and row["selector"] in (selector, "own")]
        lines.append(
            {
                "model": name,
                "selects by": selector or "–",
                "top-1 %": over_seeds([row["top1_percent"] for row in runs]),
                "top-5 %": over_seeds([row["top5_percent"] for row in runs]),
                "pointing %": over_seeds([row["pointing_percent"] for row in own]),
                "parts in crop %": over_seeds([row["part_recall_percent"] for row in own]),
                "crop that is part %": over_seeds([row["crop_part_percent"] for row in own]),
                "MACs": "–" if work is None else with_prefix(work),
                f"× {BASELINE}": "–" if not work or not baseline else significant(work / baseline),
                "img/s": img_per_s(speed),
                "minutes": significant(fmean(row["seconds"] for row in runs) / 60),
            }
        )
    return pd.DataFrame(lines)


def judged_frame(kept: Kept, model: str) -> pd.DataFrame:
    """What every selector finds on the trained weights of one model, over seeds, beside what it costs."""
    import pandas as pd

    lines: list[Line] = []
    for selector, rows in grouped([row for row in kept["quality"] if row["model"] == model], "selector").items():
        share = rows[0]["percent_of_backbone"]
        lines.append(
            {
                "selector": selector,
                "pointing %": over_seeds([row["pointing_percent"] for row in rows]),
                "heat on parts %": over_seeds([row["heat_in_parts_percent"] for row in rows]),
                "parts in crop %": over_seeds([row["part_recall_percent"] for row in rows]),
                "crop that is part %": over_seeds([row["crop_part_percent"] for row in rows]),
                "insertion": over_seeds([row["insertion_auc"] for row in rows], 3),
                "deletion": over_seeds([row["deletion_auc"] for row in rows], 3),
                "% of backbone": "–" if share is None else percent(share),
            }
        )
    return pd.DataFrame(lines)


def verdict(kept: Kept) -> str:
    """Whether a selection beats the plain model, seed by seed, in a sentence."""
    runs = grouped(_runs(kept), "name")
    plain = {row["seed"]: row["top1_percent"] for row in runs.get(BASELINE, ())}
    better: list[str] = []
    others: list[str] = []
    for model, rows in runs.items():
        gains = [row["top1_percent"] - plain[row["seed"]] for row in rows if row["seed"] in plain]
        if model == BASELINE or not gains:
            continue
        words = f"{model} ({fmean(gains):+.1f} points"
        words += f", {sum(gain > 0 for gain in gains)} of {len(gains)} seeds better)"
        (better if min(gains) > 0 else others).append(words)
    said = [f"Better than {BASELINE} with every seed: {', '.join(better)}."] if better else []
    said += [f"Not better with every seed: {', '.join(others)}."] if others else []
    if not better:
        said.insert(0, f"No selection here beats the plain {BASELINE} with every seed.")
    return " ".join(said)


def over_seeds(values: Sequence[float | None], decimals: int = 1) -> str:
    """The mean of several runs ± their standard deviation."""
    known = [value for value in values if value is not None]
    if not known:
        return "–"
    spread = f" ± {stdev(known):.{decimals}f}" if len(known) > 1 else ""
    return f"{fmean(known):.{decimals}f}{spread}"


def sections(kept: Mapping[str, Kept]) -> dict[str, str]:
    """Every generated part of README.md and docs/accuracy.md by its name, as Markdown; ``kept`` by device."""
    parts: dict[str, list[str]] = {"bought": [], "judged": []}
    for found in kept.values():
        parts["bought"].append(f"{_machine(found)}\n\n{to_markdown(bought_frame(found), NAMES)}\n{verdict(found)}\n")
        for model in dict.fromkeys(row["model"] for row in found["quality"]):
            frame = to_markdown(judged_frame(found, model), NAMES)
            parts["judged"].append(f"**Trained {model}**, {_machine(found)}\n\n{frame}")
    return {name: "\n".join(texts) for name, texts in parts.items()}


def _runs(kept: Kept) -> list[Row]:
    """Rows of single runs under their names; the means over seeds are made again from them."""
    return [{**row, "name": _name(row)} for row in kept["accuracy"] if row["seeds"] is None]


def _name(row: Row) -> str:
    """The model; the plain one with overlapping patches is a line of its own."""
    overlap = (row["recipe"] or {}).get("overlap")
    return f"{row['model']}, patches overlap" if overlap else str(row["model"])


def _work(kept: Kept, name: str) -> int | None:
    found = [row["macs"] for row in kept["flops"] if row["model"] == name and row["impl"] in ("fast", None)]
    return found[-1] if found else None


def _speed(kept: Kept, name: str) -> float | None:
    found = [row["throughput_img_s"] for row in kept["throughput"] if row["model"] == name]
    return max((value for value in found if value is not None), default=None)


def _machine(kept: Kept) -> str:
    first, environment = kept["accuracy"][0], kept["environment"]
    device = environment.get("device_name") or environment.get("cpu") or environment["device"]
    count = environment["threads"]
    threads = f", {count} thread{'s' if count > 1 else ''}" if environment["device"] == "cpu" else ""
    recipe = first["recipe"]
    words = f"{first['dataset']}, {first['num_classes']} classes, {first['train_images']} training and "
    words += f"{first['images']} test images of {first['image_size']} pixels, {first['backbone']} from scratch, "
    words += f"{first['epochs']} epochs of batch {recipe['batch_size']}, {recipe['optimizer']}"
    return f"{words}; {device}{threads}, torch {environment['torch']}"
