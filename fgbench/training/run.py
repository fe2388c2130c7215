"""Training and testing from a request to rows, with a store."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

from fgbench.errors import FgbenchError, OnProblem
from fgbench.explain.records import OWN
from fgbench.plugins.registry import usable_selectors
from fgbench.results.records import AccuracyRow, QualityRow
from fgbench.results.store import PATIENCE_S, Store
from fgbench.training.context import open_training
from fgbench.training.evaluate_selectors import evaluate_selectors
from fgbench.training.request import AccuracyRequest
from fgbench.training.rows import summaries
from fgbench.training.runs import Event, Finished, Runs


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingResult:
    """The runs of a request, and why there are not more of them."""

    finished: Sequence[Finished]  # runs
    quality: Sequence[QualityRow]  # a row per model and selector; none where it was not asked for
    total: int  # runs that were asked for
    stored: int  # runs that were in the store already
    interrupted: bool  # by Ctrl-C
    failure: FgbenchError | None  # that ended it

    @property
    def rows(self) -> list[AccuracyRow]:
        """A row per run."""
        return [run.row for run in self.finished]

    @property
    def summaries(self) -> list[AccuracyRow]:
        """Means over seeds."""
        return summaries(self.rows)


def train_and_test(
    request: AccuracyRequest,
    store: Path | None,
    *,
    quality: bool = False,
    judged: Sequence[str] | None = None,
    progress: Callable[[Event], None] = lambda _: None,
    judge_progress: Callable[[str, int, int], None] = lambda *_: None,
    on_problem: OnProblem = lambda _: None,
    on_wait: Callable[[str], None] = lambda _: None,
    on_interrupt: Callable[[], None] = lambda: None,
) -> TrainingResult:
    """Train and test what a request asks for and is not in the store; every run is stored when it is finished.

    Args:
        request: The models, the data set and the recipe.
        store: The file of the store; None in all processes of a launch but the main one.
        quality: Whether selectors are judged on every trained model.
        judged: Their names; None: all.
        progress: Gets an event per step, epoch and run.
        judge_progress: Gets a label, and how many images of how many selectors were judged on.
        on_problem: Gets what does not end the work.
        on_wait: Gets a sentence when the store is locked by another process.
        on_interrupt: Is called at once when Ctrl-C ends the work.

    Returns:
        All runs that are finished, also after an interrupt or a failure.

    Raises:
        FgbenchError: Where nothing of the request can be done.

    """
    quality_rows: list[QualityRow] = []
    failure: FgbenchError | None = None
    interrupted = False
    with nullcontext() if store is None else Store(store, patience_s=PATIENCE_S, tell=on_wait) as opened:
        context = open_training(request, opened, on_problem)
        usable_selectors([name for name in judged or () if name != OWN], lambda _: None)  # refuses unknown names
        runs = Runs(context=context, tell=progress)
        try:
            runs.run()
            for run in runs.finished if quality else ():
                tell = functools.partial(judge_progress, f"{run.config.label}: selectors")
                quality_rows += evaluate_selectors(context, run, None if judged is None else list(judged), tell)
        except KeyboardInterrupt:
            on_interrupt()
            interrupted = True
        except FgbenchError as error:
            failure = error
        context.close()
    return TrainingResult(
        finished=runs.finished,
        quality=quality_rows,
        total=runs.total,
        stored=runs.stored,
        interrupted=interrupted,
        failure=failure,
    )
