"""Test of a model: every image once, with the same result on any number of processes."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from torch import Tensor, nn

from fgbench.errors import CannotMeasureError
from fgbench.training.loading import Images, Order, check_unreadable, eval_batches, load
from fgbench.training.metrics import TOP, Predictions, merge

Tick = Callable[[int], None]  # receives the number of images that are done, on all processes


class NotFiniteError(CannotMeasureError):
    """Loss or logits are not finite, on every process: this run has no result, others may have one."""


def evaluate(
    model: nn.Module,
    images: Images,
    accelerator: Accelerator,
    *,
    batch_size: int,
    workers: int = 0,
    flip: bool = False,
    tick: Tick = lambda done: None,
) -> Predictions:
    """Predict a split, whose batches are shared by all processes.

    Batches are the same for any number of processes, and so are the logits.

    Args:
        model: The model; it is left in evaluation mode.
        images: The split.
        accelerator: Device, precision and processes.
        batch_size: Number of images in a batch.
        workers: Number of processes that read images.
        flip: Whether logits are the mean over the image and its mirror image.
        tick: Receives the number of images that are done.

    Returns:
        All predictions, on every process.

    Raises:
        DatasetError: More than 1 % of the images cannot be read.
        NotFiniteError: A logit is not finite.
    """
    share = eval_batches(
        len(images), batch_size, process=accelerator.process_index, processes=accelerator.num_processes
    )
    model.eval()
    ranked: list[Tensor] = []
    targets: list[Tensor] = []
    indices: list[int] = []
    unreadable: set[int] = set()
    is_finite = True
    began = time.perf_counter()
    with torch.no_grad(), accelerator.autocast():
        for batch in load(images, Order(share), workers, pin=accelerator.device.type == "cuda"):
            unreadable.update(batch.unreadable)
            if len(batch.indices):
                logits = _predict(model, batch.images.to(accelerator.device, non_blocking=True), flip=flip)
                is_finite = is_finite and bool(logits.isfinite().all())
                ranked.append(_rank(logits))
                targets.append(batch.targets)
                indices += batch.indices
            tick(min((len(indices) + len(unreadable)) * accelerator.num_processes, len(images)))
    own = Predictions(
        ranked=torch.cat(ranked).numpy() if ranked else np.empty((0, 0), dtype=np.int64),
        targets=torch.cat(targets).numpy() if targets else np.empty(0, dtype=np.int64),
        indices=np.array(indices, dtype=np.int64),
        unreadable=frozenset(unreadable),
        seconds=time.perf_counter() - began,
    )
    gathered: list[Any] = gather_object([(own, is_finite)])  # an error of one process stops all of them here
    shards = [shard for shard, _ in gathered]
    if not all(is_finite for _, is_finite in gathered):
        raise NotFiniteError("the model's logits are not finite; a lower --lr, or --mixed-precision no, may help")
    all_unreadable = set().union(*(shard.unreadable for shard in shards))
    check_unreadable(images.split, all_unreadable)
    return merge(shards, len(images))


def _predict(model: nn.Module, images: Tensor, *, flip: bool) -> Tensor:
    logits: Tensor = model(images)
    if flip:
        logits = (logits.float() + model(images.flip(-1)).float()) / 2
    return logits.float()


def _rank(logits: Tensor) -> Tensor:
    """The best five classes (B, 5), or all where there are fewer; among equals the first, on every device."""
    return logits.sort(dim=1, descending=True, stable=True).indices[:, :TOP].cpu()
