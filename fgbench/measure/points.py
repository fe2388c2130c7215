"""A point: a model, a mode, a batch size. Everything that could change its figures is in its key. No torch."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from fgbench.results.image_size import ImageSize, image_size

TORCH = "torch"  # the engine where none is named
LATER = ("engine", "training", "concurrency", "rate_per_s")  # attributes of modes that came later
NOT_ASKED_FOR = "not asked for"  # why a figure is missing that could be had


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSpec:
    """A model with its options, at one image size."""

    model: str
    backbone: str  # timm's name
    selector: str | None
    impl: str | None
    image_size: ImageSize  # pixels
    num_classes: int  # 0 where there is no head, or its size is not known
    foreign_code: str | None = None  # a digest of the source of a model or selector that is not fgbench's own

    def __post_init__(self) -> None:
        if isinstance(self.image_size, (str, list, tuple)):  # as messages have it
            object.__setattr__(self, "image_size", image_size(self.image_size))


@dataclass(frozen=True, slots=True, kw_only=True)
class RunMode:
    """How a subject runs."""

    device: str = "cpu"
    dtype: str = "float32"
    compiled: bool = False
    channels_last: bool = False
    cuda_graph: bool = False
    threads: int | None = None  # on a CPU
    memory_limit_bytes: int | None = None  # None: what the device has
    engine: str = TORCH  # as it is typed; "torch" runs on every device
    training: bool = False  # a step of training: forward, backward, optimizer
    concurrency: int | None = None  # requests in flight in one process; None: one batch after the other
    rate_per_s: float | None = None  # batches that arrive per second, at random times; None: each follows the last

    @property
    def unloaded(self) -> RunMode:
        """The mode of one batch after the other, whose device rates are those of this mode too."""
        return replace(self, concurrency=None, rate_per_s=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """The rates that a device reaches in a mode; models stay under them. A rate that could not be measured is null."""

    flop_s: float | None = None  # in products of large matrices
    bytes_s: float | None = None  # read and written, in copies of large tensors
    why: str | None = None  # the rate of products is missing
    why_no_copies: str | None = None  # the rate of copies is missing


@dataclass(frozen=True, slots=True, kw_only=True)
class PointGroup:
    """The points that one worker measures: they differ in batch size alone."""

    case: ModelSpec
    mode: RunMode
    repeat: int | None = None  # from 1, where points are measured several times

    @property
    def label(self) -> str:
        """The group in a few words, for people."""
        words = [self.case.model, self.case.selector, self.case.impl, self.case.backbone, f"at {self.case.image_size}"]
        words += [self.mode.dtype, None if self.mode.engine == TORCH else f"in {self.mode.engine}"]
        words += ["training step" if self.mode.training else None]
        words += [f"{self.mode.concurrency} at once" if self.mode.concurrency else None]
        words += [f"{self.mode.rate_per_s:g}/s" if self.mode.rate_per_s else None]
        words += [f"repeat {self.repeat}" if self.repeat else None]
        return " ".join(word for word in words if word)


def point_key(group: PointGroup, batch_size: int, session: Mapping[str, Any], part: str | None = None) -> str:
    """The key of a point.

    Args:
        group: What is measured, and how.
        batch_size: Images.
        session: Facts of the device and the software that could change a figure, ready for JSON.
        part: Of the run; None for all of it.

    Returns:
        A digest of all four, without the part where there is none. Attributes of a mode that came later are part of it
        only where they are set: keys of before there were any stay as they are.

    """
    identity = {**asdict(group), "batch_size": batch_size, "session": dict(session)}
    for name in LATER:
        if identity["mode"][name] == asdict(RunMode())[name]:
            del identity["mode"][name]
    if part is not None:
        identity["part"] = part
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()
