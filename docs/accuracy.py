"""Train models on the drawn data set, and write what selection buys into README.md and docs/accuracy.md.

``nox -s accuracy``. It runs the commands that anybody would type, keeps their rows with their environment, and
``--render`` writes the pages from those, without torch. What an interrupted run has finished is in the store.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from fgbench.results.output import emit
from fgbench_reports.pages import as_text

ROOT = Path(__file__).parents[1]
MODELS = ("vit", "glsim", "transfg", "ffvt", "ramstrans", "dcal")
SCHEMA_VERSION = 1  # 1: environment, accuracy, quality, flops, throughput
PAGES = ("README.md", "docs/accuracy.md")


def main(words: list[str] | None = None) -> None:
    """Train, judge, count, time; keep; render."""
    options = parser().parse_args(words)
    if not options.render:
        measure(options)
    files = map(str, sorted(options.rows.glob("*.json")))
    fill = ["report", "--fill", *(str(ROOT / page) for page in PAGES), "--rows", *files]
    subprocess.run([sys.executable, "-m", "fgbench", *fill], check=True)


def parser() -> argparse.ArgumentParser:
    """The options of this script; what follows ``--`` goes to every ``fgbench accuracy``."""
    known = argparse.ArgumentParser(description=__doc__)
    known.add_argument("--render", action="store_true", help="write the pages from the rows that are kept")
    known.add_argument("--device", choices=("cpu", "cuda"), help="the best one that is there, by default")
    known.add_argument("--models", nargs="+", default=list(MODELS))
    known.add_argument("--seeds", nargs="+", default=["1", "10", "100"])
    known.add_argument("--threads", help="on a CPU")
    known.add_argument("--store", type=Path, default=Path("fgbench.db"))
    known.add_argument("--checkpoints", type=Path, default=Path("fgbench-checkpoints"))
    known.add_argument("--rows", type=Path, default=ROOT / "reports" / "gallery" / "accuracy")
    known.add_argument("more", nargs="*", help="options of fgbench accuracy, behind --")
    return known


def measure(options: argparse.Namespace) -> None:
    """Run the three commands, and keep their rows as one file per device."""
    where = ["--store", str(options.store)]
    on = [*(["--device", options.device] if options.device else [])]
    on += [*(["--threads", options.threads] if options.threads else [])]
    trained = run(
        "accuracy", "--model", *options.models, "--seeds", *options.seeds, "--quality", *on, *where,
        "--checkpoints", str(options.checkpoints), *options.more,
    )  # fmt: skip
    # What overlapping patches buy by themselves, for the models that have them.
    control = run(
        "accuracy", "--model", "vit", "--model-options", "overlap=4", "--seeds", *options.seeds, *on, *where,
        "--checkpoints", str(options.checkpoints), *options.more,
    )  # fmt: skip
    runs = [row for row in [*trained, *control] if "top1_percent" in row]
    first = runs[0]
    backbone = ["--backbones", first["backbone"], "--sizes", str(first["image_size"])]
    backbone += ["--num-classes", str(first["num_classes"])]
    environment = first["environment"]
    overlapped = run("flops", *backbone, "--patch-stride", "12", "--selectors", "gls", *where)[0]
    timed = run("throughput", "--model", *options.models, *backbone, "--batch-sizes", "1", "8", "32", *on, *where)
    kept: dict[str, Any] = {
        "schema_version": SCHEMA_VERSION,
        "environment": environment,
        "accuracy": [{**row, "environment": None, "checkpoint": None} for row in runs],
        "quality": [short(row) for row in trained if "pointing_percent" in row],
        "flops": [
            *run("flops", "--models", *options.models, *backbone, *where),
            {**overlapped, "model": "vit, patches overlap"},
        ],
        "throughput": [{**row, "environment": None} for row in timed],
    }
    options.rows.mkdir(parents=True, exist_ok=True)
    emit(as_text(kept), options.rows / f"{environment['device']}.json")


def run(*words: str) -> list[dict[str, Any]]:
    """The rows of an fgbench command, whose progress is shown; an interrupted one ends this script as well."""
    command = [sys.executable, "-m", "fgbench", *words, "--format", "json"]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        sys.exit(f"fgbench {words[0]} ended with exit code {done.returncode}; start again, and it goes on")
    rows: list[dict[str, Any]] = json.loads(done.stdout)
    return rows


def short(row: dict[str, Any]) -> dict[str, Any]:
    """A judged selector without the path of its weights, its curves in five digits."""
    curves = {name: [round(value, 5) for value in row[name] or ()] for name in ("insertion_curve", "deletion_curve")}
    return {**row, **curves, "checkpoint": None}


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit("interrupted; finished runs are in the store, start again for the others")
