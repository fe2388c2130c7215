"""The request of a sweep: what to measure, and how. No torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

# The models that a sweep measures where none is named: those of the paper's Table 4 and Figure 4.
PAPER_MODELS = ("vit", "resnet101", "cal", "transfg", "ffvt", "ramstrans", "dcal", "glsim")


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepRequest:
    """What to measure, and how."""

    models: Sequence[str]
    image_sizes: Sequence[int] | None = None  # None: the device's default
    batch_sizes: Sequence[int] | None = None
    engines: Sequence[str] = ("torch",)
    device: str | None = None  # None: the best that an engine can use here
    dtypes: Sequence[str] = ("float32",)
    backbones: Sequence[str] | None = None  # None: every model on the one that it was published with
    selectors: Sequence[str] | None = None  # None: the published ones
    impls: Sequence[str] = ("fast",)
    num_classes: int = 200
    compiled: bool = False
    channels_last: bool = False
    cuda_graph: bool = False
    threads: int | None = None  # None: as many as torch takes
    memory_limit_bytes: int | None = None
    energy: bool = True
    cap_s: float | None = None  # of timed blocks, per point; None: the device's plan
    timeout_s: float = 600.0  # for one point, or the building of a model
    budget_s: float | None = None
    repeats: int = 1
    again: bool = False
    retry: bool = False  # measure again what has no figure, or one that was disturbed
    plugins: Sequence[str] = ()


# Image sizes and batch sizes where none are given.
CPU_GRID = (224,), (1, 2, 4, 8)
GPU_GRID = (224, 448, 768, 1024), (1, 2, 4, 8, 16, 32, 64, 128, 256)
