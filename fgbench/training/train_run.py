"""Training of one run: from a configuration, a learning rate and a seed to predictions and kept weights."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

import torch

from fgbench.datasets.dataset import Split
from fgbench.datasets.transforms import eval_transform, train_transform
from fgbench.errors import CannotMeasureError, FgbenchError
from fgbench.models.model import Model
from fgbench.plugins.kinds import datasets, models, selectors
from fgbench.training.config import TrainingConfig
from fgbench.training.context import TrainingContext
from fgbench.training.initial_weights import load_initial_weights
from fgbench.training.loading import Images
from fgbench.training.metrics import Predictions
from fgbench.training.shared_store import EPOCHS
from fgbench.training.state import Progress
from fgbench.training.training import Epoch, Plan, Step, Tell, train

RENEW_S = 30  # other hosts take over a run whose claim is older than two minutes


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One model that is trained once."""

    config: TrainingConfig
    lr: float
    seed: int
    key: str  # in the store
    label: str  # for people
    train_split: Split
    test_split: Split
    keep_weights: bool = True  # after training has ended


def train_run(context: TrainingContext, run: Run, tell: Tell) -> tuple[Predictions, Progress, Model]:
    """Train and test a run that this process has claimed; its epochs go to the store and to the tracker.

    Args:
        context: The data set, the store and the device.
        run: The run.
        tell: Receives every step and every finished epoch.

    Returns:
        The predictions of the last epoch, the progress, and the model with its last weights.

    Raises:
        CannotMeasureError: The run does not fit into the memory of the GPU, or its loss is not finite.
        DatasetError: More than 1 % of the images cannot be read.
    """
    request, dataset, config = context.request, context.dataset, run.config
    claimed_at = time.monotonic()
    torch.manual_seed(run.seed)
    model = config.build(dataset.num_classes, pretrained=context.begins_pretrained(config))
    if request.checkpoint is not None:
        load_initial_weights(model, request.checkpoint, dataset, context.on_problem, **request.reading)
    accelerator = context.accelerator(config, model)
    plan = Plan(
        run=run.key,
        model=model,
        train=Images(run.train_split, train_transform(dataset, config.image_size, config.recipe.level), run.seed),
        test=Images(run.test_split, eval_transform(dataset, config.image_size)),
        recipe=config.recipe,
        lr=run.lr,
        seed=run.seed,
        folder=context.folder(config, run.key, run.seed),
        keep_weights=run.keep_weights,
        workers=context.workers,
        test_every=request.test_every if run.keep_weights else config.recipe.epochs,
        test_batch_size=request.test_batch_size,
        flip=request.flip,
        metadata={
            "dataset": dataset.name,
            "classes": dataset.num_classes,
            "class_names": json.dumps(list(dataset.class_names)),
            "seed": run.seed,
            "lr": run.lr,
        },
    )
    if request.tracker:
        # TensorBoard tells runs apart by their folders, the other trackers by themselves.
        project = plan.folder.name if request.tracker == "tensorboard" else "fgbench"
        accelerator.init_trackers(project, config={"run": run.label, "lr": run.lr, **asdict(config.recipe)})

    def keep(epoch: Epoch) -> None:
        figures: dict[str, Any] = asdict(epoch)
        row = {"run": run.key, "label": run.label, **figures}
        context.shared_store.add(EPOCHS, f"{run.key}:{epoch.epoch}", row)
        accelerator.log({name: value for name, value in figures.items() if value is not None}, step=epoch.epoch)

    def tell_and_renew(event: Step | Epoch) -> None:
        nonlocal claimed_at
        if time.monotonic() - claimed_at > RENEW_S:
            context.shared_store.renew(run.key)
            claimed_at = time.monotonic()
        tell(event)

    try:
        with plugin_errors(config, request.dataset):
            predictions, progress = train(plan, accelerator, keep, tell_and_renew)
    except torch.cuda.OutOfMemoryError as error:
        do = "a larger --accumulate, or a smaller --batch-size or --test-batch-size, needs less"
        raise CannotMeasureError(f"{run.label} does not fit into the memory of {accelerator.device}", do=do) from error
    finally:
        for tracker in accelerator.trackers:
            tracker.finish()
        accelerator.free_memory()
    return predictions, progress, model


@contextmanager
def plugin_errors(config: TrainingConfig, dataset: str) -> Iterator[None]:
    """Turn errors into a :class:`BrokenPluginError` of the first plug-in among model, selector and data set."""
    passing = (FgbenchError, torch.cuda.OutOfMemoryError)
    with (
        datasets.blame(dataset, *passing),
        selectors.blame(config.selector or "", *passing),
        models.blame(config.model, *passing),
    ):
        yield
