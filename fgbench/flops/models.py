"""From a request to rows: whole published models, counted or taken from the cache. No torch where all is in there."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from fgbench.backbone_shape import cut_off_line
from fgbench.errors import BrokenPluginError, FgbenchError, LeftOutNotice, OnProblem
from fgbench.flops.counted_cache import CountedCache, Hearing
from fgbench.flops.grid import CountGrid, ModelCase
from fgbench.plugins.kinds import models
from fgbench.plugins.names import default_backbone
from fgbench.results.records import FlopsRow

if TYPE_CHECKING:
    from fgbench.flops.count_models import ModelCounter


def model_rows(
    request: CountGrid,
    on_problem: OnProblem,
    progress: Callable[[str], None] = lambda _: None,
    notice: OnProblem = lambda _: None,
    cache: CountedCache | None = None,
) -> Iterator[FlopsRow]:
    """Count whole models beside their plain backbone, in all and by part.

    A model's own rows have ``part`` null; ``percent_of_backbone`` divides by one pass of its backbone without
    overlap or selection. Convention ``paper`` knows no models. ``notice`` is told of pixels that no patch covers.
    """
    conventions = _measured(request, on_problem)
    counting = _Counting(request, conventions, cache or CountedCache())
    met: list[FgbenchError] = []  # what cannot be counted leaves the rest standing
    told: set[tuple[str, int]] = set()
    cut: dict[str, dict[int, int]] = {}
    for case in list(_cases(request, met.append)):
        progress(f"{case.name} at {case.size}")
        try:
            base, own, pixels = counting.rows(case)
        except FgbenchError as error:  # one combination that does not fit leaves the others standing
            if str(error) not in map(str, met):
                met.append(error)
            continue
        cut.setdefault(f"{case.name} on {case.backbone}", {})[case.size] = pixels
        if (case.backbone, case.size) not in told:
            told.add((case.backbone, case.size))
            yield from base
        yield from own
    if met and not cut:
        raise met[0]
    for name, found in cut.items():
        if line := cut_off_line(name, found):
            notice(LeftOutNotice(line))
    for problem in met:
        on_problem(problem)


class _Counting:
    """Rows of cases, from the cache where they are there; torch is loaded for the first one that is not."""

    def __init__(self, request: CountGrid, conventions: list[str], cache: CountedCache) -> None:
        self._request, self._conventions, self._cache = request, conventions, cache
        self._hearing = Hearing()
        self._counter: ModelCounter | None = None

    def rows(self, case: ModelCase) -> tuple[list[FlopsRow], list[FlopsRow], int]:
        request = self._request
        key = {**asdict(case), "impls": list(request.impls), "conventions": self._conventions}
        key |= {"num_classes": request.num_classes, "fused_attention": request.fused_attention}
        entry = self._cache.entry("model", key, [case.name, case.selector])
        kept: Any = entry.read()
        if kept is not None:
            return [FlopsRow(**row) for row in kept["base"]], [FlopsRow(**row) for row in kept["own"]], kept["cut"]
        if self._counter is None:
            from fgbench.flops.count_models import ModelCounter

            self._counter = ModelCounter(request, self._conventions)
        with self._hearing.heard() as warned:
            base, own, pixels = self._counter.rows(case)
        if not warned:
            entry.write({"base": list(map(asdict, base)), "own": list(map(asdict, own)), "cut": pixels})
        return base, own, pixels


def _measured(request: CountGrid, on_problem: OnProblem) -> list[str]:
    measured = [convention for convention in request.conventions if convention != "paper"]
    what = "the paper has closed forms for selectors beside a backbone, and none for whole models"
    if not measured:
        raise FgbenchError(what, do="--convention full counts them")
    if len(measured) < len(request.conventions):
        on_problem(LeftOutNotice(f"left out of convention paper: {what}"))
    return measured


def _cases(request: CountGrid, on_problem: OnProblem) -> Iterator[ModelCase]:
    """Every combination that was asked for; a name that is unknown is met before anything is counted."""
    names = models.names() if request.models is None else request.models
    models.try_out(names)
    backbones: dict[str, str] = {}
    for name in names:
        try:
            backbones[name] = default_backbone(name)
        except BrokenPluginError as error:
            on_problem(error)
    for name, own in backbones.items():
        for backbone in request.backbones or (own,):
            for selector in request.selectors or (None,):
                for size in request.sizes:
                    yield ModelCase(name=name, backbone=backbone, selector=selector, size=size)
