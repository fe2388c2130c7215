"""What is measured: a case, a mode, a batch. Everything that could change the figure is in a point's key. No torch."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

DEVICES = ("cuda", "cpu")
NOT_ASKED_FOR = "not asked for"  # why a figure is missing that could be had
DTYPES = ("float32", "tf32", "float16", "bfloat16", "amp")


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSpec:
    """A model with its options, at one image size."""

    model: str
    backbone: str  # timm's name
    selector: str | None
    impl: str | None
    image_size: int  # pixels, square
    num_classes: int
    foreign_code: str | None = None  # a digest of the source of a model or selector that is not fgbench's own


@dataclass(frozen=True, slots=True, kw_only=True)
class RunMode:
    """How it runs."""

    device: str = "cpu"
    dtype: str = "float32"
    compiled: bool = False
    channels_last: bool = False
    cuda_graph: bool = False
    threads: int | None = None  # on a CPU
    memory_limit_bytes: int | None = None  # None: what the device has


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """What a device reaches in a mode: the roof that models stay under. What could not be measured is null."""

    flop_s: float | None = None  # in products of large matrices
    bytes_s: float | None = None  # read and written, in copies of large tensors
    why: str | None = None  # the rate of products is missing


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
        words += [self.mode.dtype, f"repeat {self.repeat}" if self.repeat else None]
        return " ".join(word for word in words if word)


def point_key(group: PointGroup, batch_size: int, session: Mapping[str, Any]) -> str:
    """The key of a point: a digest of what is measured, and of everything in the session that could change it."""
    identity = {**asdict(group), "batch_size": batch_size, "session": dict(session)}
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()
