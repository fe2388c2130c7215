"""One model trained once, in a session: what the engine is handed, and where its epochs go."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

import torch

from fgbench.datasets.dataset import Split
from fgbench.datasets.transforms import eval_transform, train_transform
from fgbench.errors import CannotMeasureError, FgbenchError
from fgbench.models.model import Model
from fgbench.plugins.kinds import datasets, models, selectors
from fgbench.training.config import TrainingConfig
from fgbench.training.context import TrainingContext
from fgbench.training.initial_weights import load_to_begin
from fgbench.training.loading import Images
from fgbench.training.metrics import Predictions
from fgbench.training.shared_store import EPOCHS
from fgbench.training.state import Progress
from fgbench.training.training import Epoch, Plan, Step, Tell, train

RENEW_S = 30  # other hosts take a run that nobody has claimed for two minutes

Splits = tuple[Split, Split]  # to train on, to test on


def fit(
    session: TrainingContext,
    config: TrainingConfig,
    lr: float,
    seed: int,
    key: str,
    label: str,
    splits: Splits,
    tell: Tell,
    *,
    keep_weights: bool,
) -> tuple[Predictions, Progress, Model]:
    """Train and test a configuration that this launch has claimed; its epochs go to the store and to the tracker.

    Raises what :func:`fgbench.training.training.train` raises, and :class:`CannotMeasureError` where a GPU's memory
    does not suffice.
    """
    request, dataset, claimed_at = session.request, session.dataset, time.monotonic()
    torch.manual_seed(seed)
    model = config.build(dataset.num_classes, pretrained=request.pretrained)
    if request.checkpoint is not None:
        load_to_begin(model, request.checkpoint, dataset, session.on_problem, **request.reading)
    accelerator = session.accelerator(config, model)
    level = config.recipe.level
    plan = Plan(
        run=key,
        model=model,
        train=Images(splits[0], train_transform(dataset, config.image_size, level), seed),
        test=Images(splits[1], eval_transform(dataset, config.image_size)),
        recipe=config.recipe,
        lr=lr,
        seed=seed,
        folder=session.folder(config, key, seed),
        keep_weights=keep_weights,
        workers=session.workers,
        test_every=request.test_every if keep_weights else config.recipe.epochs,
        test_batch_size=request.test_batch_size,
        flip=request.flip,
        metadata={"dataset": dataset.name, "classes": dataset.num_classes, "seed": seed, "lr": lr},
    )
    if request.tracker:
        # TensorBoard knows runs by their folders, the others by themselves.
        project = plan.folder.name if request.tracker == "tensorboard" else "fgbench"
        accelerator.init_trackers(project, config={"run": label, "lr": lr, **asdict(config.recipe)})

    def keep(epoch: Epoch) -> None:
        figures: dict[str, Any] = asdict(epoch)
        session.shared_store.add(EPOCHS, f"{key}:{epoch.epoch}", {"run": key, "label": label, **figures})
        accelerator.log({name: value for name, value in figures.items() if value is not None}, step=epoch.epoch)

    def tell_and_renew(what: Step | Epoch) -> None:
        nonlocal claimed_at
        if time.monotonic() - claimed_at > RENEW_S:
            session.shared_store.renew(key)
            claimed_at = time.monotonic()
        tell(what)

    try:
        with blamed(config, request.dataset):
            predictions, progress = train(plan, accelerator, keep, tell_and_renew)
    except torch.cuda.OutOfMemoryError as error:
        do = "a larger --accumulate, or a smaller --batch-size or --test-batch-size, needs less"
        raise CannotMeasureError(f"{label} does not fit into the memory of {accelerator.device}", do=do) from error
    finally:
        for tracker in accelerator.trackers:
            tracker.finish()
        accelerator.free_memory()
    return predictions, progress, model


@contextmanager
def blamed(config: TrainingConfig, dataset: str) -> Iterator[None]:
    """Report by its name whatever somebody else's model, selector or data set does wrong: the first that is foreign."""
    passing = (FgbenchError, torch.cuda.OutOfMemoryError)
    with (
        datasets.blame(dataset, *passing),
        selectors.blame(config.selector or "", *passing),
        models.blame(config.model, *passing),
    ):
        yield
