"""The request of ``fgbench regress``: what is compared with what, and how it is measured."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

from fgbench.errors import FgbenchError
from fgbench.flops.grid import CountGrid
from fgbench.options import (
    AGAIN,
    BACKBONES,
    BATCH_SIZES,
    CONVENTION,
    DEVICE,
    DTYPE,
    IMPLEMENTATIONS,
    MAX_TIME,
    MODELS,
    NUM_CLASSES,
    ROWS,
    SELECTORS,
    SIZES,
    THREADS,
    TIMEOUT,
    command_words,
    many,
    one,
    one_of,
    options_of,
    switch,
)
from fgbench.regress.baseline import CONVENTIONS
from fgbench.results import paper
from fgbench.results.image_size import ImageSize
from fgbench.sweep.request import SweepRequest

START_S = 600.0  # of a run, beside its points: loading torch, naming devices, waiting for another sweep
COUNTED, SIDES, WHAT, HOW = "Counted figures", "Times of two sides", "What to compare", "How to measure"
# Defaults that both sides of a pair are told, whatever their versions have.
ALWAYS_TOLD = ("impls", "dtypes", "num_classes", "timeout_s")


@dataclass(frozen=True, slots=True, kw_only=True)
class SidesRequest:
    """Two sides: revisions or environments. Without a head it is the working tree, or this environment."""

    base: Annotated[
        str | None,
        one("--base", "measure this git revision against the working tree, in pairs", "REVISION"),
        SIDES,
    ] = None
    head: Annotated[str | None, one("--head", "this revision instead of the working tree", "REVISION"), SIDES] = None
    base_python: Annotated[
        str | None, one("--base-python", "an installed environment as the base", "PYTHON"), SIDES
    ] = None
    head_python: Annotated[
        str | None, one("--head-python", "an installed environment as the head", "PYTHON", default="this one"), SIDES
    ] = None
    a_a: Annotated[
        bool, switch("--a-a", "self-test: the head against itself, and this machine's false alarms"), SIDES
    ] = False
    plugins: Sequence[str] = ()

    @property
    def any(self) -> bool:
        """Whether anything is measured."""
        return self.a_a or self.base is not None or self.base_python is not None

    def check(self) -> None:
        """Refuse sides that contradict each other.

        Raises:
            FgbenchError: For revisions beside environments, a base of a self-test, or a head without a base.

        """
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
class RegressRequest:
    """What is compared with a baseline, with files, or on two sides; None is the baseline's, or a default.

    Attributes:
        baseline: The file that counted figures are compared with.
        update: Whether it is written.
        rows: Files of saved throughput, whose allocated memory is compared with the baseline's.
        convention: Of counting.
        benchmarks: Files of pytest-benchmark: old, new, old, new, …
        selectors: Names.
        models: Names.
        backbones: timm's names.
        sizes: Image sides in pixels.
        impls: ``"published"``, ``"fast"`` or both.
        num_classes: Classes of the head.
        again: Whether to count what the cache has, and to measure pairs that are in the store.
        batch_sizes: Images per batch of what is measured.
        device: ``"cuda"`` or ``"cpu"``.
        dtypes: Of what is measured.
        threads: Of a CPU.
        cap_s: Seconds of timed blocks, per point and process.
        timeout_s: Seconds for one point in one process.

    """

    baseline: Annotated[
        Path | None,
        one("--baseline", "counted figures, exact, are held against this file", "FILE", read=Path),
        COUNTED,
    ] = None
    update: Annotated[bool, switch("--update", "write the baseline, and show what changes"), COUNTED] = False
    rows: Annotated[
        Sequence[str],
        ROWS.but(help="saved rows of 'fgbench throughput', whose allocated memory is compared too"),
        COUNTED,
    ] = ()
    convention: Annotated[
        str | None,
        CONVENTION.of_one(help="full or fvcore", default="the baseline's", read=one_of("convention", CONVENTIONS)),
        COUNTED,
    ] = None
    benchmarks: Annotated[
        Sequence[str],
        many("--pytest-benchmark", "files of pytest-benchmark: old, new, old, new, …", "OLD NEW…"),
        "Files of pytest-benchmark",
    ] = ()
    selectors: Annotated[
        Sequence[str] | None,
        SELECTORS.but(help="names of selectors", default="the baseline's, or all; measured, the published ones"),
        WHAT,
    ] = None
    models: Annotated[
        Sequence[str] | None,
        MODELS.but(help="names of models", default="the baseline's, or all; measured, the paper's eight"),
        WHAT,
    ] = None
    backbones: Annotated[
        Sequence[str] | None, BACKBONES.but(help="that selectors stand beside", default="the baseline's"), WHAT
    ] = None
    sizes: Annotated[Sequence[int] | None, SIZES.but(default="the baseline's; measured, 224"), WHAT] = None
    impls: Annotated[Sequence[str] | None, IMPLEMENTATIONS.but(default="the baseline's; measured, fast"), WHAT] = None
    num_classes: Annotated[int | None, NUM_CLASSES.but(default="the baseline's, or 200"), WHAT] = None
    again: Annotated[
        bool,
        AGAIN.but(help="count anew, and measure pairs once more that are in the store"),
        WHAT,
    ] = False
    batch_sizes: Annotated[Sequence[int] | None, BATCH_SIZES.but(help="of what is measured", default="1"), HOW] = None
    device: Annotated[str | None, DEVICE, HOW] = None
    dtypes: Annotated[Sequence[str] | None, DTYPE, HOW] = None
    threads: Annotated[int | None, THREADS, HOW] = None
    cap_s: Annotated[float | None, MAX_TIME.but(help="of timed blocks, per point and process"), HOW] = None
    timeout_s: Annotated[float, TIMEOUT.but(help="of one point in one process"), HOW] = 600.0

    def check_with(self, sides: SidesRequest, *, judges: bool) -> None:
        """Refuse options that contradict each other, or that do nothing: they would be thought to be compared.

        Args:
            sides: The sides that are measured.
            judges: Whether an output was asked for that holds verdicts.

        Raises:
            FgbenchError: With the option, and what it needs.

        """
        if self.update and self.baseline is None:
            raise FgbenchError("--update writes a baseline", do="say which: --baseline FILE")
        if self.baseline is None and not self.benchmarks and not sides.any:
            raise FgbenchError(
                "nothing to compare with", do="give --baseline FILE, --base REVISION or --pytest-benchmark OLD NEW"
            )
        if self.update and (sides.any or self.benchmarks or judges):
            raise FgbenchError("--update writes the baseline and judges nothing", do="compare in a run of its own")
        of_both = self._typed("selectors", "models", "backbones", "sizes", "impls", "num_classes", "again")
        of_both |= {"--plugin": sides.plugins}
        of_pairs = self._typed("batch_sizes", "device", "dtypes", "threads", "cap_s")
        counted = self.baseline is not None
        _refuse_idle(self._typed("rows", "convention"), "--baseline FILE", there=counted)
        _refuse_idle(of_pairs, "what is measured: --base, --base-python or --a-a", there=sides.any)
        _refuse_idle(of_both, "--baseline FILE or --base REVISION", there=counted or sides.any)

    def _typed(self, *names: str) -> dict[str, object]:
        """The values of fields by their flags."""
        options = options_of(type(self))
        return {options[name].flags[0]: getattr(self, name) for name in names}

    def grid(self, known: CountGrid | None) -> CountGrid:
        """What is counted: what was asked for, and otherwise what the baseline has."""
        old = known or CountGrid()
        asked: dict[str, Any] = {
            "selectors": self.selectors,
            "models": self.models,
            "backbones": self.backbones or old.selector_backbones,
            "sizes": self.sizes,
            "impls": self.impls,
            "num_classes": self.num_classes,
            "conventions": None if self.convention is None else (self.convention,),
        }
        return replace(old, **{name: value for name, value in asked.items() if value is not None})

    def pairs(self, store: Path, *, again: bool) -> PairsRequest:
        """What is measured on two sides; ``again`` takes no pair from the store."""
        return PairsRequest(
            models=self.models or paper.MODELS,
            image_sizes=self.sizes or (224,),
            batch_sizes=self.batch_sizes or (1,),
            backbones=self.backbones,
            selectors=self.selectors,
            impls=self.impls or ("fast",),
            dtypes=self.dtypes or ("float32",),
            device=self.device,
            num_classes=self.num_classes or paper.NUM_CLASSES,
            threads=self.threads,
            cap_s=self.cap_s,
            timeout_s=self.timeout_s,
            store=store,
            again=again,
        )


def _refuse_idle(typed: Mapping[str, object], needs: str, *, there: bool) -> None:
    idle = [flag for flag, value in typed.items() if value]
    if idle and not there:
        raise FgbenchError(f"{idle[0]} does nothing here", do=f"it needs {needs}")


@dataclass(frozen=True, slots=True, kw_only=True)
class RunGroup:
    """The points that one run measures: they differ in batch size alone. None is what the side itself takes."""

    model: str
    image_size: ImageSize  # pixels
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
class PairsRequest(SweepRequest):
    """A sweep on two sides, in pairs of runs.

    Attributes:
        run_limit_s: Seconds for one run with all its batch sizes; None: what its points may take.
        first_pairs: Pairs of every point.
        more_pairs: Pairs of points that are undecided then.
        seed: Of the order of groups.
        store: The file that finished pairs are kept in, and taken from unless ``again``; None: they are not kept.

    """

    run_limit_s: float | None = None
    first_pairs: int = 3
    more_pairs: int = 4
    seed: int = 0
    store: Path | None = None

    @property
    def groups(self) -> list[RunGroup]:
        """All groups, in the order of the request."""
        every = itertools.product(
            self.models,
            self.image_sizes or (224,),
            self.backbones or (None,),
            self.selectors or (None,),
            self.impls,
            self.dtypes,
        )
        groups = [
            RunGroup(model=model, image_size=size, backbone=backbone, selector=selector, impl=impl, dtype=dtype)
            for model, size, backbone, selector, impl, dtype in every
        ]
        return list(dict.fromkeys(groups))

    def words(self, group: RunGroup, batch_sizes: Sequence[int]) -> list[str]:
        """The command line that measures batches of a group, but for its plug-in files and its store."""
        asked = replace(
            self,
            models=[_from_anywhere(group.model)],
            image_sizes=[group.image_size],
            batch_sizes=list(batch_sizes),
            backbones=group.backbone and [group.backbone],
            selectors=group.selector and [group.selector],
            impls=[group.impl] if group.impl else [],
            dtypes=[group.dtype],
            energy=False,
            again=True,
        )
        return ["throughput", *command_words(asked, always=ALWAYS_TOLD), "--format=json"]

    def limit_s(self, batch_sizes: Sequence[int]) -> float:
        """How many seconds a run may take, after which it is killed."""
        if self.run_limit_s is not None:
            return self.run_limit_s
        return START_S + self.timeout_s * (1 + len(batch_sizes))


def _from_anywhere(model: str) -> str:
    """A model as it is typed in any folder: the file of a function has its whole path."""
    file, colon, function = model.rpartition(":")
    return f"{Path(file).absolute()}:{function}" if colon and file.endswith(".py") else model
