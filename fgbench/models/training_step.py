"""One step of training: forward, backward, optimizer step."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from timm.optim import create_optimizer_v2  # type: ignore[attr-defined]  # it is exported all the same
from torch import Tensor, nn
from torch.nn import functional

from fgbench.errors import FgbenchError
from fgbench.models.any_network import logits_of
from fgbench.models.model import Model
from fgbench.results.recipe import Recipe

RECIPE = Recipe()
MOMENTUM = 0.9
# As the training of ``fgbench accuracy`` begins: weights stay where they are, however often the step is repeated.
LR = RECIPE.warmup_lr
OPTIMIZER = f"{RECIPE.optimizer}: SGD with momentum {MOMENTUM}, weight decay {RECIPE.weight_decay:g}, no clipping"


class TrainingStep:
    """A step of a network's training: ``step(images, targets)`` computes the loss, its gradients, and new weights.

    Args:
        network: A network in training mode, with the loss of its model, or any network that gives logits.
        run: What computes the forward pass, such as the compiled network; the network itself by default.
        around: The context of the forward pass, such as autocast.
        scaler: Of the loss, where the forward pass runs in float16.

    """

    def __init__(
        self,
        network: nn.Module,
        run: Callable[..., Any] | None = None,
        *,
        around: Callable[[], AbstractContextManager[Any]] = nullcontext,
        scaler: torch.amp.GradScaler | None = None,
    ) -> None:
        self.run, self.around, self.scaler = network if run is None else run, around, scaler
        self.has_loss = isinstance(network, Model)
        self.name = type(network).__name__
        self.optimizer: Any = create_optimizer_v2(
            network, opt=RECIPE.optimizer, lr=LR, weight_decay=RECIPE.weight_decay, momentum=MOMENTUM
        )

    def __call__(self, images: Tensor, targets: Tensor) -> Tensor:
        """Train on images (B, 3, S, S) of classes (B,); the loss."""
        with self.around():
            loss = self._loss(images, targets)
        if self.scaler is None:
            loss.backward()
            self.optimizer.step()
        else:
            self.scaler.scale(loss).backward()
            self.scaler.step(self.optimizer)
            self.scaler.update()
        self.optimizer.zero_grad()
        return loss.detach()

    def _loss(self, images: Tensor, targets: Tensor) -> Tensor:
        if self.has_loss:
            loss: Tensor = self.run(images, targets)[0]
            return loss
        return functional.cross_entropy(logits_of(self.run(images), self.name), targets)


def ready_to_train(network: nn.Module) -> nn.Module:
    """Bring a network into the state of its training, in place; what is frozen stays frozen.

    Raises:
        FgbenchError: Where everything is frozen.

    """
    if isinstance(network, Model):
        network.make_room(network.buffers_of_training)
    if not any(parameter.requires_grad for parameter in network.parameters()):
        raise FgbenchError("no parameter of this network is trained, all of them are frozen:", type(network).__name__)
    return network.train()


def classes_of(network: nn.Module, images: Tensor) -> int:
    """The number of classes that a network has logits of, for images (B, 3, S, S) on its device."""
    with torch.inference_mode():
        return logits_of(network.eval()(images), type(network).__name__).shape[1]


def targets_for(batch_size: int, num_classes: int, device: str) -> Tensor:
    """Classes (B,) of images of noise: each of its own, as long as there are so many."""
    return torch.arange(batch_size, device=device) % num_classes
