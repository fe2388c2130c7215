"""What a process does that trains for ``fgbench accuracy`` on another machine: it plans runs, and trains some."""

from __future__ import annotations

import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from fgbench.results.store import PATIENCE_S, Store
from fgbench.training.config import training_configs
from fgbench.training.context import open_training
from fgbench.training.request import AccuracyRequest
from fgbench.training.run import train_and_test
from fgbench.training.runs import Event
from fgbench.training.shared_store import NotingStore
from fgbench.training.standing import standing
from fgbench.workers.messages import Message
from fgbench.workers.process import Tell

TELL_S = 0.5  # between words on how far a run is


def plan(tell: Tell, request: Message, store: str) -> Message:
    """The runs of a request, a unit each; where learning rates are searched, all seeds of a model are one.

    Args:
        tell: Receives what is looked at.
        request: The request, as :meth:`AccuracyRequest.message` makes it.
        store: The file of the store.

    """
    asked = AccuracyRequest.of(request)
    problems: list[str] = []
    units: list[Message] = []
    finished: list[str] = []
    tell({"what": f"reading {asked.dataset}"})
    with Store(Path(store), patience_s=PATIENCE_S) as kept:
        opened: Any = NotingStore(kept)
        context = open_training(asked, opened, lambda problem: problems.append(str(problem)))
        for config in training_configs(context.request, context.dataset, context.on_problem):
            stands = standing(context, config)
            finished += stands.finished.values()
            left = [seed for seed in config.seeds if seed not in stands.finished]
            alone = {
                "models": [config.model],
                "selectors": None if asked.selectors is None else [config.selector],
                "image_sizes": [config.image_size],
            }
            for seeds in [left] if stands.lr is None else [[seed] for seed in left]:
                rates = list(config.lrs) if stands.lr is None else [stands.lr]
                words = f"{config.label}, seed {' '.join(map(str, seeds))}"
                units.append({"label": words, "fields": {**alone, "seeds": seeds, "lrs": rates}})
    return {"units": units, "finished": finished, "problems": list(dict.fromkeys(problems)), "asked": opened.asked}


def train(tell: Tell, request: Message, fields: Message, store: str | None) -> Message:
    """Train the runs of a unit, and tell their keys; of several processes, the main one alone has a store."""
    problems: list[str] = []
    last = 0.0

    def progress(event: Event) -> None:
        nonlocal last
        now = time.monotonic()
        if event.epoch is not None:
            tell({"label": event.label, "epoch": asdict(event.epoch)})
        elif event.step is not None and now - last > TELL_S:
            last = now
            tell({"label": event.label, "step": asdict(event.step)})

    result = train_and_test(
        replace(AccuracyRequest.of(request), **fields),
        None if store is None else Path(store),
        progress=progress,
        on_problem=lambda problem: problems.append(str(problem)),
    )
    if result.failure is not None:
        raise result.failure
    return {"runs": [run.key for run in result.finished], "problems": list(dict.fromkeys(problems))}


REQUESTS = {"plan": plan, "train": train}
