"""Measure what selection costs by itself, and write the tables and figures of docs/cost.md: ``nox -s cost``.

Rows are kept with their environment, a file per device; ``--render`` writes the page from them and needs no torch.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from fgbench.results.output import emit
from fgbench_reports.pages import as_text

ROOT = Path(__file__).parents[1]
SELECTORS = ("psm", "rollout", "maws", "sacm", "gls", "attention")
SCHEMA_VERSION = 1  # 1: environment, roof, selections, backends


def main(words: list[str] | None = None) -> None:
    """Measure, keep, render."""
    options = parser().parse_args(words)
    if not options.render:
        measure(options)
    render(options.rows, options.page)


def parser() -> argparse.ArgumentParser:
    """The options of this script."""
    known = argparse.ArgumentParser(description=__doc__)
    known.add_argument("--render", action="store_true", help="write the page from the rows that are kept")
    known.add_argument("--device", choices=("cpu", "cuda"), help="the best one that is there, by default")
    known.add_argument("--dtype", default="float32", choices=("float32", "tf32", "float16", "bfloat16"))
    known.add_argument("--sizes", nargs="+", type=int, default=[224, 448, 768, 1024], help="image sizes in pixels")
    known.add_argument("--batch-size", type=int, default=1)
    known.add_argument("--selectors", nargs="+", choices=SELECTORS, default=list(SELECTORS))
    known.add_argument("--tokens", nargs="+", type=int, help="numbers of tokens at which back ends are compared")
    known.add_argument("--threads", type=int, help="on a CPU")
    known.add_argument("--max-time", type=float, help="seconds of timed blocks per point")
    known.add_argument("--rows", type=Path, default=ROOT / "reports" / "gallery" / "selection")
    known.add_argument("--page", type=Path, default=ROOT / "docs" / "cost.md")
    return known


def measure(options: argparse.Namespace) -> None:
    """Measure everything on one device and keep its rows."""
    from fgbench.measure.points import RunMode
    from fgbench.sweep.selector_sweep import (
        TOKENS,
        SelectionRequest,
        backend_rows,
        describe,
        measure_roof,
        selection_rows,
    )
    from fgbench.workers.supervisor import WorkerPool

    with WorkerPool() as host:
        device, environment = describe(host, options.device)
        mode = RunMode(device=device, dtype=options.dtype, threads=options.threads)
        environment["threads"] = options.threads or environment["threads"]
        request = SelectionRequest(
            mode=mode,
            selectors=options.selectors,
            image_sizes=options.sizes,
            batch_size=options.batch_size,
            tokens=options.tokens or TOKENS,
            cap_s=options.max_time,
        )
        kept: dict[str, Any] = {"schema_version": SCHEMA_VERSION, "environment": environment}
        kept["roof"] = measure_roof(host, mode)
        options.rows.mkdir(parents=True, exist_ok=True)
        whole = options.rows / f"{device}.json"
        unfinished = whole.with_suffix(".json.part")  # what an interrupted run has measured stays there
        for name, rows in (("backends", backend_rows), ("selections", selection_rows)):
            kept[name] = []
            for row in rows(host, request, tell):
                kept[name].append(asdict(row))
                emit(as_text(kept), unfinished)
    unfinished.replace(whole)


def render(rows: Path, page: Path) -> None:
    """Fill the page's blocks, and draw its figures beside it."""
    words = ["report", "--fill", str(page), "--rows", *map(str, sorted(rows.glob("*.json")))]
    subprocess.run([sys.executable, "-m", "fgbench", *words], check=True)


def tell(what: str) -> None:
    """Say on stderr what is measured now."""
    print(what, file=sys.stderr, flush=True)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit("interrupted; what is finished is kept beside the rows, in a file .json.part")
    except Exception as problem:
        sys.exit(f"{type(problem).__name__}: {problem}")
