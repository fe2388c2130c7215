"""Training a model: epochs that can be stopped anywhere between two of them, and go on to the same result."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import broadcast, gather_object, reduce
from timm.optim import create_optimizer_v2  # type: ignore[attr-defined]  # it is exported all the same
from timm.scheduler.cosine_lr import CosineLRScheduler
from torch import Tensor, nn

from fgbench.errors import FgbenchError
from fgbench.models.checkpoints.load import save_checkpoint
from fgbench.models.model import Model
from fgbench.results.recipe import Recipe
from fgbench.training.evaluation import NotFiniteError, evaluate
from fgbench.training.loading import Batch, Images, Order, check_unreadable, draw_seed, load, training_batches
from fgbench.training.metrics import Predictions
from fgbench.training.state import Progress, load_state, save_state

MOST_SKIPPED = 0.5  # of an epoch's images, in float16
STATE, BEST, LAST = "state.safetensors", "best.safetensors", "last.safetensors"


@dataclass(frozen=True, slots=True, kw_only=True)
class Epoch:
    """One epoch of one run, as its learning curve has it."""

    epoch: int  # from 1
    lr: float  # at its end
    train_loss: float  # mean over images
    train_top1_percent: float  # of the augmented images, while the weights moved
    top1_percent: float | None  # on the test split; null where it was not tested
    top5_percent: float | None
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is needed to train one model once."""

    run: str  # the key, which a training state must have
    model: Model
    train: Images
    test: Images
    recipe: Recipe
    lr: float
    seed: int
    folder: Path  # of the state, and of the weights
    keep_weights: bool = True  # beyond the end
    workers: int = 0
    test_every: int = 1  # epochs; the last one is always tested
    test_batch_size: int = 64
    flip: bool = False
    metadata: dict[str, Any] | None = None  # beside the weights


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What a progress bar shows."""

    epoch: int
    epochs: int
    phase: str  # training or testing
    done: int  # images of this epoch
    total: int


Tell = Callable[["Step | Epoch"], None]
Keep = Callable[[Epoch], None]


def train(plan: Plan, accelerator: Accelerator, keep: Keep, tell: Tell) -> tuple[Predictions, Progress]:
    """Train and test; returns the last epoch's predictions and what it took.

    Every epoch begins from seeds of its own and ends with a state on disk, so that a run that was killed goes on after
    its last whole epoch, to the very weights it would have had. ``best.safetensors`` and ``last.safetensors`` hold
    weights alone. An epoch is handed to ``keep`` before its state is written, and ``tell`` hears of it afterwards, when
    nothing of it can be lost.

    Raises :class:`NotFiniteError`, and :class:`DatasetError` where more than 1 % of the images cannot be read.
    """
    trainer = _Trainer(plan, accelerator, tell)
    progress = trainer.progress
    predictions: Predictions | None = None
    for epoch in range(progress.epochs + 1, plan.recipe.epochs + 1):
        began = time.perf_counter()
        loss, right = trainer.train_epoch(epoch)
        predictions = None
        if epoch % plan.test_every == 0 or epoch == plan.recipe.epochs:
            predictions = trainer.test(epoch)
        seconds = time.perf_counter() - began
        figures = Epoch(
            epoch=epoch,
            lr=trainer.lr(epoch),
            train_loss=loss,
            train_top1_percent=right,
            top1_percent=predictions.top1_percent if predictions else None,
            top5_percent=predictions.top5_percent if predictions else None,
            seconds=seconds,
        )
        keep(figures)
        trainer.finish(epoch, seconds, predictions)
        tell(figures)
    if predictions is None:  # killed between its last epoch and its row
        predictions = trainer.test(plan.recipe.epochs)
    return predictions, trainer.progress


def forget(folder: Path, *, weights: bool) -> None:
    """Remove what a finished run does not need any more: its state, or its weights, too."""
    for name in (STATE, BEST, LAST) if weights else (STATE,):
        (folder / name).unlink(missing_ok=True)
    for half in folder.glob(".fgbench-*.safetensors"):  # what was being written when a run was killed
        half.unlink(missing_ok=True)
    if weights:
        folder.rmdir()


class _Trainer:
    """A run under way."""

    def __init__(self, plan: Plan, accelerator: Accelerator, tell: Tell) -> None:
        self.plan, self.accelerator, self.tell = plan, accelerator, tell
        recipe, model = plan.recipe, plan.model
        model.set_stochastic_depth(recipe.level.stochastic_depth)
        model.make_room(model.buffers_of_training)
        self.optimizer: Any = create_optimizer_v2(
            model, opt=recipe.optimizer, lr=plan.lr, weight_decay=recipe.weight_decay, momentum=0.9
        )
        model.to(accelerator.device)
        scaler = getattr(accelerator, "scaler", None)
        self.progress = load_state(plan.folder / STATE, plan.run, model, self.optimizer, scaler)
        self.wrapped: nn.Module
        self.wrapped, self.prepared = accelerator.prepare(model, self.optimizer)
        self.order = Order([])
        self._set_order(1)
        self.loader = load(plan.train, self.order, plan.workers, pin=accelerator.device.type == "cuda")
        self.steps_per_epoch = len(self.order) // recipe.accumulate
        total = self.steps_per_epoch * recipe.epochs
        self.schedule = CosineLRScheduler(
            self.optimizer,
            t_initial=max(total, 1),
            lr_min=min(recipe.min_lr, plan.lr),  # a rate below the published ends is the highest all the same
            warmup_t=recipe.warmup(total),
            warmup_lr_init=min(recipe.warmup_lr, plan.lr),
            t_in_epochs=False,
        )
        self.unreadable = set(self.progress.unreadable)

    def _set_order(self, epoch: int) -> None:
        recipe, accelerator = self.plan.recipe, self.accelerator
        self.order.epoch = epoch
        self.order.batches = training_batches(
            len(self.plan.train),
            recipe.batch_size,
            self.plan.seed,
            epoch,
            parts=recipe.accumulate,
            process=accelerator.process_index,
            processes=accelerator.num_processes,
        )

    def lr(self, epoch: int) -> float:
        """The learning rate at the end of an epoch."""
        return float(self.schedule._get_lr(epoch * self.steps_per_epoch)[0])

    def train_epoch(self, epoch: int) -> tuple[float, float]:
        """One pass over the training images: mean loss and top-1 in percent, over all processes."""
        self._set_order(epoch)
        self.wrapped.train()
        # What a model draws – dropped branches, CAL's maps – depends on the epoch alone, and differs by process.
        torch.manual_seed(draw_seed(self.plan.seed, epoch, self.accelerator.process_index, 1))
        device = self.accelerator.device
        loss_sum, right, lost = (torch.zeros((), device=device) for _ in range(3))
        seen = 0
        update = (epoch - 1) * self.steps_per_epoch
        self.schedule.step_update(update)
        for batch in self._batches():
            with self.accelerator.accumulate(self.wrapped):
                loss, logits = self._step(batch)
                if self.accelerator.sync_gradients:
                    update += 1
                    self.schedule.step_update(update)
            targets = batch.targets.to(device)
            fine = loss.detach().isfinite()
            loss_sum += torch.where(fine, loss.detach(), 0.0) * len(targets)
            lost += ~fine * len(targets)
            right += (logits.detach().argmax(dim=1) == targets).sum()
            seen += len(targets)
            self.unreadable.update(batch.unreadable)
            self._say(epoch, "training", seen * self.accelerator.num_processes, len(self.plan.train))
        totals: Any = reduce(torch.stack([loss_sum, right, lost, torch.tensor(float(seen), device=device)]), "sum")
        loss_all, all_right, all_lost, all_seen = totals.tolist()
        # A scaled float16 step may overflow now and then: it is left out, and the scale is halved.
        if all_lost > (MOST_SKIPPED * all_seen if getattr(self.accelerator, "scaler", None) else 0):
            raise NotFiniteError(
                f"the loss is not finite in epoch {epoch}: a lower --lr than {self.plan.lr:g}, "
                "or --mixed-precision no, may help"
            )
        self.unreadable.update(*gather_object([self.unreadable]))  # every process has met its own; all stop, or none
        check_unreadable(self.plan.train.split, self.unreadable)
        return loss_all / (all_seen - all_lost), 100 * all_right / all_seen

    def _batches(self) -> Iterator[Batch]:
        return iter(self.loader)

    def _step(self, batch: Batch) -> tuple[Tensor, Tensor]:
        device = self.accelerator.device
        images, targets = batch.images.to(device, non_blocking=True), batch.targets.to(device, non_blocking=True)
        loss, logits = self.wrapped(images, targets)
        self.accelerator.backward(loss)
        if self.accelerator.sync_gradients:
            self.accelerator.clip_grad_norm_(self.wrapped.parameters(), self.plan.recipe.clip_norm)
        self.prepared.step()
        self.prepared.zero_grad()
        return loss, logits

    def test(self, epoch: int) -> Predictions:
        """Predict the test split with the weights of now, the same on every process."""
        for buffer in self.plan.model.buffers():  # statistics of batches, which every process has of its own images
            buffer.copy_(broadcast(buffer))
        return evaluate(
            self.plan.model,
            self.plan.test,
            self.accelerator,
            batch_size=self.plan.test_batch_size,
            workers=self.plan.workers,
            flip=self.plan.flip,
            tick=lambda done: self._say(epoch, "testing", done, len(self.plan.test)),
        )

    def finish(self, epoch: int, seconds: float, predictions: Predictions | None) -> None:
        """Keep what the epoch made: the best weights first, then the state that says the epoch is over."""
        before = self.progress
        self.progress = replace(
            before, epochs=epoch, seconds=before.seconds + seconds, unreadable=tuple(sorted(self.unreadable))
        )
        top1 = predictions.top1_percent if predictions else None
        better = top1 is not None and (before.best_top1_percent is None or top1 > before.best_top1_percent)
        if better:
            self.progress = replace(self.progress, best_top1_percent=top1, best_epoch=epoch)
        if self.accelerator.is_main_process:
            self._write(epoch, better=better)
        self.accelerator.wait_for_everyone()

    def _write(self, epoch: int, *, better: bool) -> None:
        plan, folder = self.plan, self.plan.folder
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise FgbenchError("weights cannot be kept in", str(folder), error.strerror or str(error)) from error
        about = {**(plan.metadata or {}), "epoch": epoch}
        if better and plan.keep_weights:
            save_checkpoint(plan.model, folder / BEST, **about)
        if epoch == plan.recipe.epochs and plan.keep_weights:
            save_checkpoint(plan.model, folder / LAST, **about)
        scaler = getattr(self.accelerator, "scaler", None)
        save_state(folder / STATE, plan.run, plan.model, self.optimizer, scaler, self.progress)

    def _say(self, epoch: int, phase: str, done: int, total: int) -> None:
        epochs = self.plan.recipe.epochs
        self.tell(Step(epoch=epoch, epochs=epochs, phase=phase, done=min(done, total), total=total))
