"""How long the runs of a condition take, from two short epochs on some of its images."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from fgbench.datasets.dataset import Split
from fgbench.errors import FgbenchError
from fgbench.training.config import training_configs
from fgbench.training.context import open_training
from fgbench.training.request import AccuracyRequest
from fgbench.training.search import Subset
from fgbench.training.train_run import Run, train_run
from fgbench.training.training import Epoch, Step
from fgbench.workers.messages import Message

STEPS, TEST_BATCHES = 20, 4  # of a short epoch, at most


def time_epochs(request: AccuracyRequest, tell: Callable[[str, Step], None]) -> Message:
    """Train and test two short epochs, keep nothing of them, and tell what takes how long.

    Args:
        request: The request of one run.
        tell: Receives the label and every step.

    Returns:
        Seconds: ``beside`` the epochs (data set, model, files); per training image and per test image of the first
        epoch, in which images may be read or drawn for the first time, and of the second; ``epoch`` for what each takes
        beside its images.

    """
    began = time.perf_counter()
    problems: list[FgbenchError] = []
    with tempfile.TemporaryDirectory(prefix="fgbench-") as folder:
        request = replace(request, checkpoints=Path(folder), tracker=None)
        context = open_training(request, None, problems.append)
        (config,) = training_configs(context.request, context.dataset, problems.append)
        recipe = replace(config.recipe, epochs=2)
        train = _some(context.dataset.train, STEPS * recipe.batch_size)
        test = _some(context.dataset.test, TEST_BATCHES * request.test_batch_size)
        watch = _Watch()

        def heard(event: Step | Epoch) -> None:
            watch(event)
            if isinstance(event, Step):
                tell(config.label, event)

        run = Run(
            config=replace(config, recipe=recipe),
            lr=config.lrs[0],
            seed=config.seeds[0],
            key="timing",
            label=config.label,
            train_split=train,
            test_split=test,
        )
        context = replace(context, request=replace(context.request, test_every=1))
        train_run(context, run, heard)
    whole = time.perf_counter() - began
    first, second = watch.epochs
    return {
        "beside_s": max(0.0, whole - sum(map(sum, watch.epochs))),
        "first_s_per_train_image": first[0] / len(train),
        "s_per_train_image": second[0] / len(train),
        "first_s_per_test_image": first[1] / len(test),
        "s_per_test_image": second[1] / len(test),
        "s_per_epoch": second[2],
    }


def _some(split: Split, most: int) -> Split:
    """Images from all over a split, whose files may be sorted by class."""
    every = max(1, len(split) // most)
    return Subset(split, range(0, len(split), every)[:most])


class _Watch:
    """Takes the time of the parts of each epoch: training, testing, the rest."""

    def __init__(self) -> None:
        self.epochs: list[tuple[float, float, float]] = []
        self._began: float | None = None
        self._steps = 0  # of the first epoch, whose first step is not seen to begin
        self._trained: float | None = None
        self._tested: float | None = None

    def __call__(self, event: Step | Epoch) -> None:
        """Note the time of an event."""
        now = time.perf_counter()
        if isinstance(event, Epoch):
            began, trained = self._began or now, self._trained or now
            tested = self._tested or trained
            unseen = self._steps / max(1, self._steps - 1) if not self.epochs else 1.0
            self.epochs.append(((trained - began) * unseen, tested - trained, now - tested))
            self._began, self._trained, self._tested = now, None, None
        elif event.phase == "training":
            if self._began is None:  # the first step of all has just ended
                self._began = now
            self._steps += not self.epochs
            self._trained = now
        else:
            self._tested = now
