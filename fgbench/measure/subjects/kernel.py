"""A v·A kernel: one way to compute ``v A`` for every head, by itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from fgbench.flops.count import Count
from fgbench.flops.counter import count_flops
from fgbench.measure.engine import Engine, first_line
from fgbench.measure.point import LoadedSubject, no_figures
from fgbench.measure.points import ModelSpec
from fgbench.measure.subject import HALVES, Subject
from fgbench.measure.subjects.selector import HEAD_DIM, HEADS, TIMED_FIELDS, projected
from fgbench.results.records import Status
from fgbench_selectors.backends.left import BACKENDS, choose, left


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


def measure_kernels(engine: Engine, maps: int, num_tokens: int, names: list[str], cap_s: float) -> dict[str, Any]:
    """Measure ``v A`` by several back ends.

    Args:
        engine: What runs them.
        maps: B·H.
        num_tokens: N.
        names: Of the back ends.
        cap_s: Limit of the timed blocks in seconds, for each.

    Returns:
        By name, the fields of a :class:`BackendRow` that are measured.

    """
    heads, dtype = maps if maps % HEADS else HEADS, HALVES.get(engine.mode.dtype)
    rows: dict[str, Any] = {}
    for name in names:
        subject = KernelSubject(name, num_tokens, heads)
        try:
            result = LoadedSubject(subject, engine, cap_s, count=False).measure(maps // heads, energy=False)
        except RuntimeError as error:  # a back end that this device has not, or that does not fit
            result = no_figures(Status.ERROR, f"{type(error).__name__}: {first_line(error)}")
        q = torch.empty(maps // heads, heads, num_tokens, HEAD_DIM, dtype=dtype, device=engine.mode.device)
        rows[name] = {**{field: result[field] for field in TIMED_FIELDS}, "chosen": choose(q) == name}
    return rows
