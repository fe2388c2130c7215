"""A v·A kernel: one way to compute ``v A`` for every head, by itself."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from fgbench.flops.count import Count
from fgbench.flops.counter import count_flops
from fgbench.measure.points import ModelSpec
from fgbench.measure.subject import Subject
from fgbench.measure.subjects.selector import HEADS, projected
from fgbench_selectors.backends.left import BACKENDS, left


class Kernel(nn.Module):
    """``v A`` by one back end.

    Args:
        name: A name of :data:`fgbench_selectors.backends.left.BACKENDS`.

    """

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name

    def forward(self, q: Tensor, k: Tensor, lse: Tensor, v: Tensor) -> Tensor:
        """q, k (B, H, N, d), ℓ and v (B, H, N) → v A (B, H, N)."""
        return left(q, k, lse, v, q.shape[-1] ** -0.5, backend=self.name)


@dataclass(frozen=True, slots=True)
class KernelSubject:
    """One back end of ``v A`` on random queries and keys.

    Args:
        name: Of the back end.
        num_tokens: N.
        heads: H; with the batch size B it makes B·H maps.

    """

    name: str
    num_tokens: int
    heads: int = HEADS

    kind = "kernel"
    has_weights = False

    @property
    def spec(self) -> ModelSpec:
        """The fields of a row; its model is called "kernel"."""
        return ModelSpec(model="kernel", backbone=self.name, selector=None, impl=None, image_size=0, num_classes=0)

    def build(self, device: str) -> Kernel:
        """Build the kernel; it has no weights."""
        return Kernel(self.name)

    def inputs(
        self, batch_size: int, dtype: torch.dtype = torch.float32, device: str = "cpu", seed: int = 0
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Make q, k (B, H, N, d), and ℓ and v (B, H, N)."""
        with torch.inference_mode():
            block = projected(batch_size, self.num_tokens, self.heads, dtype, device)
            lse = block.logsumexp()
            return block.q, block.k, lse, torch.rand_like(lse)

    def count(self, batch_size: int, dtype: torch.dtype = torch.float32) -> Count:
        """Count ``v A``."""
        kernel, inputs = self.build("meta"), self.inputs(batch_size, dtype, "meta")
        return count_flops(lambda: kernel(*inputs))

    def small(self) -> Subject | None:
        """None: a kernel's memory is not measured."""
        return None


def kernel_names(device: str) -> list[str]:
    """The back ends of ``v A`` that can run on a device."""
    return [name for name in BACKENDS if device != "cpu" or name != "triton"]
