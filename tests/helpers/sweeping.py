"""Small real sweeps: a tiny model, short timings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fgbench.results.store import Store
from fgbench.sweep.context import open_sweep
from fgbench.sweep.request import SweepRequest
from fgbench.sweep.sweep import Event, Sweep

SMALL = {
    "models": ["glsim"],
    "backbones": ["test_vit"],
    "image_sizes": [96],
    "batch_sizes": [1, 2, 4],
    "device": "cpu",
    "threads": 1,
    "cap_s": 0.1,
    "timeout_s": 600.0,
}


def request(**options: Any) -> SweepRequest:
    return SweepRequest(**{**SMALL, **options})


def sweep(pool, store: Path | Store, problems: list | None = None, events: list[Event] | None = None, **options: Any):
    """Run a sweep; the sweep, finished."""
    problems = [] if problems is None else problems
    context = open_sweep(request(**options), pool, problems.append)
    tell = (lambda _: None) if events is None else events.append
    if isinstance(store, Store):
        made = Sweep(context=context, store=store, pool=pool, tell=tell)
        made.run()
        return made
    with Store(store) as kept:
        made = Sweep(context=context, store=kept, pool=pool, tell=tell)
        made.run()
        return made


def outcomes(rows) -> list[tuple[int, str]]:
    """Batch sizes and statuses; how restless the machine is makes no difference here."""
    restless = ("unconverged", "contended")
    return [(row["batch_size"], "ok" if row["status"] in restless else row["status"]) for row in rows]
