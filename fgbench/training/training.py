"""Training of one model, epoch by epoch; a run that is stopped continues to the same result."""

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

MOST_SKIPPED = 0.5  # largest share of an epoch's images in steps that overflow, in float16
STATE, BEST, LAST = "state.safetensors", "best.safetensors", "last.safetensors"


@dataclass(frozen=True, slots=True, kw_only=True)
class Epoch:
    """Figures of one epoch, a point of the learning curve."""

    epoch: int  # from 1
    lr: float  # at its end
    train_loss: float  # mean over images
    train_top1_percent: float  # on the augmented images, with the weights of each step
    top1_percent: float | None  # on the test split; None where it was not tested
    top5_percent: float | None
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Everything that the training of one model needs."""

    run: str  # key of the run; a training state of another run is refused
    model: Model
    train: Images
    test: Images
    recipe: Recipe
    lr: float
    seed: int
    folder: Path  # for the training state and the weights
    keep_weights: bool = True  # after training has ended
    workers: int = 0  # processes that read images
    test_every: int = 1  # epochs; the last one is always tested
    test_batch_size: int = 64
    flip: bool = False
    metadata: dict[str, Any] | None = None  # kept in the files of weights


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """Position within an epoch, for a progress bar."""

    epoch: int
    epochs: int
    phase: str  # training or testing
    done: int  # images of this epoch
    total: int


Tell = Callable[["Step | Epoch"], None]
Keep = Callable[[Epoch], None]


def train(plan: Plan, accelerator: Accelerator, keep: Keep, tell: Tell) -> tuple[Predictions, Progress]:
    """Train and test a model.

    Every epoch begins from seeds of its own and ends with a state on disk: a run that was killed continues after its
    last whole epoch, to the same weights. ``best.safetensors`` and ``last.safetensors`` hold weights alone.

    Args:
        plan: The model, the images and the recipe.
        accelerator: Device, precision and processes.
        keep: Receives a finished epoch before its state is written.
        tell: Receives every step, and a finished epoch after its state is written.

    Returns:
        The predictions of the last epoch, and the progress with the time of all sessions.

    Raises:
        NotFiniteError: The loss or the logits are not finite.
        DatasetError: More than 1 % of the images cannot be read.
    """
    trainer = _Trainer(plan, accelerator, tell)
    progress = trainer.progress
    predictions: Predictions | None = None
    for epoch in range(progress.epochs + 1, plan.recipe.epochs + 1):
        began = time.perf_counter()
        loss, train_top1 = trainer.train_epoch(epoch)
        predictions = None
        if epoch % plan.test_every == 0 or epoch == plan.recipe.epochs:
            predictions = trainer.test(epoch)
        seconds = time.perf_counter() - began
        figures = Epoch(
            epoch=epoch,
            lr=trainer.lr(epoch),
            train_loss=loss,
            train_top1_percent=train_top1,
            top1_percent=predictions.top1_percent if predictions else None,
            top5_percent=predictions.top5_percent if predictions else None,
            seconds=seconds,
        )
        keep(figures)
        trainer.finish(epoch, seconds, predictions)
        tell(figures)
    if predictions is None:  # the process was killed between its last epoch and its row
        predictions = trainer.test(plan.recipe.epochs)
    return predictions, trainer.progress


def remove_files(folder: Path, *, weights: bool) -> None:
    """Remove the training state of a finished run, and with ``weights`` its weights and its folder."""
    for name in (STATE, BEST, LAST) if weights else (STATE,):
        (folder / name).unlink(missing_ok=True)
    for unfinished in folder.glob(".fgbench-*.safetensors"):  # a run was killed while it wrote them
        unfinished.unlink(missing_ok=True)
    if weights:
        folder.rmdir()


class _Trainer:
    """Model, optimizer and schedule of a run, with the progress so far."""

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
            lr_min=min(recipe.min_lr, plan.lr),  # where it is below the published ends, the rate is constant
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
        """Learning rate at the end of an epoch."""
        return float(self.schedule._get_lr(epoch * self.steps_per_epoch)[0])

    def train_epoch(self, epoch: int) -> tuple[float, float]:
        """Train one epoch; mean loss and top-1 in percent over all processes."""
        self._set_order(epoch)
        self.plan.model.begin_epoch(epoch)
        self.wrapped.train()
        # Random numbers in a model (dropped branches, CAL's maps) depend on the epoch alone, and differ by process.
        torch.manual_seed(draw_seed(self.plan.seed, epoch, self.accelerator.process_index, 1))
        device = self.accelerator.device
        loss_sum, right, skipped = (torch.zeros((), device=device) for _ in range(3))
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
            is_finite = loss.detach().isfinite()
            loss_sum += torch.where(is_finite, loss.detach(), 0.0) * len(targets)
            skipped += ~is_finite * len(targets)
            right += (logits.detach().argmax(dim=1) == targets).sum()
            seen += len(targets)
            self.unreadable.update(batch.unreadable)
            self._tell_step(epoch, "training", seen * self.accelerator.num_processes, len(self.plan.train))
        totals: Any = reduce(torch.stack([loss_sum, right, skipped, torch.tensor(float(seen), device=device)]), "sum")
        all_loss, all_right, all_skipped, all_seen = totals.tolist()
        # A scaled float16 step may overflow now and then: it is skipped, and the scale is halved.
        if all_skipped > (MOST_SKIPPED * all_seen if getattr(self.accelerator, "scaler", None) else 0):
            raise NotFiniteError(
                f"the loss is not finite in epoch {epoch}: a lower --lr than {self.plan.lr:g}, "
                "or --mixed-precision no, may help"
            )
        self.unreadable.update(*gather_object([self.unreadable]))  # of all processes, so that all of them stop, or none
        check_unreadable(self.plan.train.split, self.unreadable)
        return all_loss / (all_seen - all_skipped), 100 * all_right / all_seen

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
        """Predict the test split with the current weights, the same on every process."""
        for buffer in self.plan.model.buffers():  # statistics of batches differ by process
            buffer.copy_(broadcast(buffer))
        return evaluate(
            self.plan.model,
            self.plan.test,
            self.accelerator,
            batch_size=self.plan.test_batch_size,
            workers=self.plan.workers,
            flip=self.plan.flip,
            tick=lambda done: self._tell_step(epoch, "testing", done, len(self.plan.test)),
        )

    def finish(self, epoch: int, seconds: float, predictions: Predictions | None) -> None:
        """Write the weights of an epoch first, then the state in which the epoch is finished."""
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
        metadata = {**(plan.metadata or {}), "epoch": epoch}
        if better and plan.keep_weights:
            save_checkpoint(plan.model, folder / BEST, **metadata)
        if epoch == plan.recipe.epochs and plan.keep_weights:
            save_checkpoint(plan.model, folder / LAST, **metadata)
        scaler = getattr(self.accelerator, "scaler", None)
        save_state(folder / STATE, plan.run, plan.model, self.optimizer, scaler, self.progress)

    def _tell_step(self, epoch: int, phase: str, done: int, total: int) -> None:
        epochs = self.plan.recipe.epochs
        self.tell(Step(epoch=epoch, epochs=epochs, phase=phase, done=min(done, total), total=total))
