"""How far the runs of a configuration are, by what the store has."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fgbench.training.config import TrainingConfig
from fgbench.training.context import TrainingContext
from fgbench.training.search import best_lr
from fgbench.training.shared_store import RUNS, SEARCHED


@dataclass(frozen=True, slots=True, kw_only=True)
class Tried:
    """A learning rate of a search; the accuracy is None where its figures were not finite."""

    lr: float
    validation_top1_percent: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What is finished of a configuration.

    Attributes:
        lr: The learning rate; None while it is searched, and where none works.
        tried: The learning rates that were searched; none where one was given.
        finished: Keys of the finished runs in the store by their seeds.
    """

    lr: float | None
    tried: Sequence[Tried]
    finished: dict[int, str]


def standing(context: TrainingContext, config: TrainingConfig) -> Standing:
    """Look up the runs of a configuration. The main process alone calls it."""
    store = context.shared_store
    tried: list[Tried] = []
    if len(config.lrs) == 1:
        lr: float | None = config.lrs[0]
    else:
        _, keys = context.search_of(config)
        rows = {rate: store.get_alone(SEARCHED, key) for rate, key in keys.items()}
        tried = [
            Tried(lr=rate, validation_top1_percent=row["validation_top1_percent"]) for rate, row in rows.items() if row
        ]
        results = [(one.lr, one.validation_top1_percent) for one in tried if one.validation_top1_percent is not None]
        lr = best_lr(results) if results and len(tried) == len(keys) else None
    if lr is None:
        return Standing(lr=None, tried=tried, finished={})
    keyed = {seed: context.key_of_run(config, lr, seed) for seed in config.seeds}
    there = {seed: key for seed, key in keyed.items() if store.get_alone(RUNS, key) is not None}
    return Standing(lr=lr, tried=tried, finished=there)
