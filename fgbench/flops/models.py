"""Rows of published models: counted, or from the cache. Torch is imported only where a model is counted."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from fgbench.backbone_shape import cut_off_line
from fgbench.errors import BrokenPluginError, FgbenchError, LeftOutNotice, OnProblem
from fgbench.flops.counted_cache import CountedCache, WarningRecorder
from fgbench.flops.grid import CountGrid, ModelCase
from fgbench.plugins.kinds import models
from fgbench.plugins.names import default_backbone
from fgbench.results.image_size import ImageSize
from fgbench.results.records import FlopsRow
from fgbench.results.reduced_name import base_model

if TYPE_CHECKING:
    from fgbench.flops.count_models import ModelCounter


def model_rows(
    request: CountGrid,
    on_problem: OnProblem,
    progress: Callable[[str], None] = lambda _: None,
    notice: OnProblem = lambda _: None,
    cache: CountedCache | None = None,
) -> Iterator[FlopsRow]:
    """Count whole models and their stages, beside their plain backbone.

    The row of a whole model has ``stage`` None. ``percent_of_backbone`` divides by one pass of the backbone without
    overlap or selection. Convention ``paper`` has no models.

    Args:
        request: The grid.
        on_problem: Gets the errors of combinations that cannot be counted.
        progress: Gets the model and size that is counted now.
        notice: Gets the pixels that no patch covers.
        cache: The cache of counted rows; none by default.

    Returns:
        An iterator of rows.

    Raises:
        FgbenchError: If nothing can be counted.

    """
    conventions = _measured(request, on_problem)
    counting = _Counting(request, conventions, cache or CountedCache())
    problems: list[FgbenchError] = []
    yielded: set[tuple[str, ImageSize]] = set()  # backbones and sizes whose rows are done
    cut: dict[str, dict[ImageSize, int]] = {}
    for case in list(_cases(request, problems.append)):
        progress(f"{case.name} at {case.size}")
        try:
            base, own, pixels = counting.rows(case)
        except FgbenchError as error:  # the other combinations are counted
            if str(error) not in map(str, problems):
                problems.append(error)
            continue
        cut.setdefault(f"{case.name} on {case.backbone}", {})[case.size] = pixels
        if (case.backbone, case.size) not in yielded:
            yielded.add((case.backbone, case.size))
            yield from base
        yield from own
    if problems and not cut:
        for problem in problems[:-1]:
            on_problem(problem)
        raise problems[-1]
    for name, pixels_by_size in cut.items():
        if line := cut_off_line(name, pixels_by_size):
            notice(LeftOutNotice(line))
    for problem in problems:
        on_problem(problem)


class _Counting:
    """Rows of models from the cache, or counted; torch is imported for the first one that is counted."""

    def __init__(self, request: CountGrid, conventions: list[str], cache: CountedCache) -> None:
        self._request, self._conventions, self._cache = request, conventions, cache
        self._warnings = WarningRecorder()
        self._counter: ModelCounter | None = None

    def rows(self, case: ModelCase) -> tuple[list[FlopsRow], list[FlopsRow], int]:
        request = self._request
        key = {**asdict(case), "impls": list(request.impls), "conventions": self._conventions}
        key |= {"num_classes": request.num_classes, "fused_attention": request.fused_attention}
        entry = self._cache.entry("model", key, [base_model(case.name), case.selector])
        cached: Any = entry.read()
        if cached is not None:
            base, own = ([FlopsRow(**row) for row in cached[name]] for name in ("base", "own"))
            return base, own, cached["cut"]
        if self._counter is None:
            from fgbench.flops.count_models import ModelCounter

            self._counter = ModelCounter(request, self._conventions)
        with self._warnings.recorded() as caught:
            base, own, pixels = self._counter.rows(case)
        if not caught:
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
    """All combinations of a grid; an unknown name is an error before anything is counted."""
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
