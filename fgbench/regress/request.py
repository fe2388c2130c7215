"""What is asked of a measurement in pairs, and the command line of each of its runs."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from fgbench.errors import FgbenchError

START_S = 600.0  # of a run, beside its points: loading torch, naming devices, waiting for another sweep


@dataclass(frozen=True, slots=True, kw_only=True)
class SidesRequest:
    """What is compared: revisions or environments. Without a head it is the working tree, or this environment."""

    base: str | None = None  # revisions
    head: str | None = None
    base_python: str | None = None  # interpreters, or folders of virtual environments
    head_python: str | None = None
    a_a: bool = False  # the head against itself
    plugins: Sequence[str] = ()

    @property
    def any(self) -> bool:
        """Whether anything is to be measured."""
        return self.a_a or self.base is not None or self.base_python is not None

    def check(self) -> None:
        """Refuse what contradicts itself."""
        revisions, environments = self.base or self.head, self.base_python or self.head_python
        if revisions and environments:
            raise FgbenchError(
                "revisions and environments are not compared with each other; give --base or --base-python"
            )
        if self.a_a and (self.base or self.base_python):
            raise FgbenchError("--a-a compares the head with itself", do="leave --base and --base-python out")
        if not self.a_a and (self.head or self.head_python) and not (self.base or self.base_python):
            raise FgbenchError("there is a head and nothing to compare it with", do="give --base or --base-python")


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """The points that one run measures: they differ in batch size alone. None is what the side itself takes."""

    model: str
    image_size: int  # pixels, square
    backbone: str | None
    selector: str | None
    impl: str | None
    dtype: str

    @property
    def label(self) -> str:
        """The group in a few words, for people."""
        words = [self.model, self.selector, self.impl, self.backbone, str(self.image_size)]
        return " ".join([word for word in words if word] + ([] if self.dtype == "float32" else [self.dtype]))


@dataclass(frozen=True, slots=True, kw_only=True)
class PairsRequest:
    """What to measure on both sides, and how; the names are those of ``fgbench throughput``."""

    models: Sequence[str]
    image_sizes: Sequence[int]
    batch_sizes: Sequence[int]
    device: str | None = None  # None: cuda where there is one
    dtypes: Sequence[str] = ("float32",)
    backbones: Sequence[str] | None = None  # None: every model on the one that it was published with
    selectors: Sequence[str] | None = None  # None: the published ones
    impls: Sequence[str] = ("fast",)
    num_classes: int = 200
    threads: int | None = None  # of a CPU; None: as many as torch takes
    cap_s: float | None = None  # of timed blocks, per point; None: the device's plan
    timeout_s: float = 600.0  # for one point, or the building of a model
    run_limit_s: float | None = None  # for one run with all its batch sizes; None: what its points may take
    first_pairs: int = 3  # of every point
    more_pairs: int = 4  # of those that are undecided then
    seed: int = 0  # of the order of groups
    journal: Path | None = None  # a store that finished pairs are kept in, and taken from
    again: bool = False  # take nothing from there

    @property
    def groups(self) -> list[Group]:
        """All groups, in the order of the request."""
        every = itertools.product(
            self.models, self.image_sizes, self.backbones or (None,), self.selectors or (None,), self.impls, self.dtypes
        )
        found = [
            Group(model=model, image_size=size, backbone=backbone, selector=selector, impl=impl, dtype=dtype)
            for model, size, backbone, selector, impl, dtype in every
        ]
        return list(dict.fromkeys(found))

    def words(self, group: Group, batch_sizes: Sequence[int]) -> list[str]:
        """The command line that measures batches of a group, but for its plug-in files and its store."""
        words = ["throughput", f"--model={group.model}", f"--sizes={group.image_size}"]
        words += [f"--batch-sizes={size}" for size in batch_sizes]
        for flag, value in (
            ("--backbones", group.backbone),
            ("--selectors", group.selector),
            ("--impl", group.impl),
            ("--dtype", group.dtype),
            ("--device", self.device),
            ("--num-classes", self.num_classes),
            ("--threads", self.threads),
            ("--max-time", None if self.cap_s is None else _seconds(self.cap_s)),
            ("--timeout", _seconds(self.timeout_s)),
        ):
            words += [] if value is None else [f"{flag}={value}"]
        return [*words, "--no-energy", "--again", "--format=json"]

    def limit_s(self, batch_sizes: Sequence[int]) -> float:
        """How long a run may take, after which it is killed."""
        if self.run_limit_s is not None:
            return self.run_limit_s
        return START_S + self.timeout_s * (1 + len(batch_sizes))


def _seconds(value: float) -> str:
    return f"{value:.6f}".rstrip("0").rstrip(".") + "s"
