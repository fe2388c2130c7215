"""Render ``reports/gallery/report`` from the rows that are kept; with ``--measure``, count and sweep first.

``nox -s reports``. It runs the commands that anybody would type.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from fgbench.cli.saved import read_data
from fgbench.results.output import emit
from fgbench_reports.pages import as_text

ROOT = Path(__file__).parents[1]
GALLERY = ROOT / "reports" / "gallery"
SIZES = ("224", "448", "768", "1024")
MODELS = ("resnet101", "cal", "vit", "transfg", "ffvt", "ramstrans", "dcal", "glsim")
SCHEMA_VERSION = 1


def main(words: list[str] | None = None) -> None:
    """Measure where that is asked for, then render."""
    options = parser().parse_args(words)
    if options.measure:
        count(options)
        sweep(options)
    kept = sorted(path for path in GALLERY.glob("*/*.json") if path.parent.name not in ("regress", "report"))
    folder = GALLERY / "report"
    shutil.rmtree(folder, ignore_errors=True)
    fgbench("report", "--rows", *map(str, kept), "--output", str(folder))


def parser() -> argparse.ArgumentParser:
    """The options of this script."""
    known = argparse.ArgumentParser(description=__doc__)
    known.add_argument("--measure", action="store_true", help="count FLOPs and sweep this machine")
    known.add_argument("--store", type=Path, default=Path("fgbench.db"))
    known.add_argument("--sizes", nargs="+", default=["224", "448"], help="of the sweep")
    known.add_argument("--batch-sizes", nargs="+", default=["1", "2", "4", "8"])
    known.add_argument("--impl", nargs="+", default=["fast", "published"])
    known.add_argument("--budget", default="30m")
    known.add_argument("--device", default="cpu")
    known.add_argument("--threads", help="on a CPU")
    return known


def count(options: argparse.Namespace) -> None:
    """FLOPs of selections and models, as rows of one file, with what they were counted with."""
    with tempfile.TemporaryDirectory() as folder:
        store = Path(folder) / "counted.db"
        fgbench("flops", "--sizes", *SIZES, "--convention", "full", "paper", "--store", str(store), "-o", os.devnull)
        fgbench(
            "flops", "--sizes", *SIZES, "--models", *MODELS, "aftrans", "ev", "--store", str(store), "-o", os.devnull
        )
        rows = [dict(row) for row in read_data(store, [], print).flops]
    shared = {name: value for name, value in rows[0]["environment"].items() if name != "time"}
    alike = [{**row, "environment": None} for row in rows if shared.items() <= row["environment"].items()]
    assert len(alike) == len(rows)
    keep(GALLERY / "flops" / "counted.json", shared, {"flops": alike})


def sweep(options: argparse.Namespace) -> None:
    """Throughput of whole models on this machine, as rows of one file."""
    threads = ("--threads", options.threads) if options.threads else ()
    fgbench(
        "throughput", "--model", *MODELS, "--sizes", *options.sizes, "--batch-sizes", *options.batch_sizes,
        "--impl", *options.impl, "--budget", options.budget, "--device", options.device, *threads,
        "--store", str(options.store),
    )  # fmt: skip
    keep_sweep(options.store, options.device)


def keep_sweep(store: Path, device: str) -> None:
    """The rows of a store as a file of the gallery."""
    rows = [dict(row) for row in read_data(store, [], print).throughput if row["device"] == device]
    keep(GALLERY / "throughput" / f"{device}.json", {}, {"throughput": rows})


def keep(path: Path, environment: dict[str, object], kinds: dict[str, list[dict[str, object]]]) -> None:
    """Rows of some kinds as a file with a row per line."""
    path.parent.mkdir(parents=True, exist_ok=True)
    emit(as_text({"schema_version": SCHEMA_VERSION, "environment": environment, **kinds}), path)


def fgbench(*words: str) -> None:
    """Run a command; what it says goes where this script's words go."""
    subprocess.run([sys.executable, "-m", "fgbench", *words], check=True)


if __name__ == "__main__":
    main()
