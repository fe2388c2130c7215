"""What selectors and models cost, the same on every machine. No torch where all of it is in the cache."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from platform import python_version_tuple
from typing import Any

from fgbench.errors import BrokenPluginError, FgbenchError, LeftOutNotice
from fgbench.flops.counted_cache import CountedCache, library_version
from fgbench.flops.grid import CountGrid
from fgbench.flops.models import model_rows
from fgbench.flops.rows import flops_rows
from fgbench.plugins.kinds import models
from fgbench.plugins.registry import selectors
from fgbench.plugins.timm_names import is_timm_model
from fgbench.results.records import FlopsRow
from fgbench_selectors.entries import Registry

Progress = Callable[[str], None]


@dataclass(slots=True)
class Counted:
    """What was counted, and why something was not."""

    rows: list[FlopsRow] = field(default_factory=list)  # of backbones, selectors and whole models
    lost: dict[str, str] = field(default_factory=dict)  # name of a selector, a model or a backbone → why
    problems: list[FgbenchError] = field(default_factory=list)


def count_all(grid: CountGrid, progress: Progress = lambda _: None, cache: CountedCache | None = None) -> Counted:
    """Count selectors beside backbones, and whole models on the backbones that they were published with.

    Attention is fused as timm does by default, whatever TIMM_FUSED_ATTN says.

    Args:
        grid: What is counted; None among its selectors and models stands for every registered one.
        progress: Gets the backbone or model that is counted now.
        cache: Of counts.

    Returns:
        The rows, and why something has none: a name that is gone, or a plug-in that breaks, is said and not raised.

    """
    counted = Counted()
    backbones = [name for name in grid.selector_backbones if is_timm_model(name)]
    gone = [name for name in grid.selector_backbones if name not in backbones]
    counted.lost |= dict.fromkeys(gone, "no backbone of this name is known")
    known_selectors = _known(selectors, grid.selectors, counted)
    if backbones and (known_selectors or not grid.selectors):
        names = None if grid.selectors is None else known_selectors
        asked = replace(grid, backbones=backbones, selectors=names, fused_attention=True)
        counted.rows += flops_rows(asked, counted.problems.append, progress, cache=cache)
    for name in _known(models, grid.models, counted):
        asked = replace(grid, models=(name,), backbones=None, selectors=None, fused_attention=True)
        try:
            rows = list(model_rows(asked, counted.problems.append, progress, cache=cache))
        except FgbenchError as error:
            counted.lost[name] = str(error)
            counted.problems.append(error)
            continue
        counted.rows += [row for row in rows if row.model is not None and row.stage is None]
    for problem in counted.problems:
        if isinstance(problem, BrokenPluginError):
            counted.lost.setdefault(problem.name, str(problem))
    counted.problems = [problem for problem in counted.problems if not isinstance(problem, LeftOutNotice)]
    return counted


def _known(registry: Registry, names: Iterable[str] | None, counted: Counted) -> list[str]:
    """The names that are registered; all where none is asked for."""
    there = registry.names()
    registry.try_out(names)
    if names is None:
        return list(there)
    for name in names:
        if name not in there:
            counted.lost[name] = f"no {registry.kind} of this name is registered"
    return [name for name in names if name in there]


def counted_with() -> dict[str, str]:
    """The versions that counts can depend on."""
    found: dict[str, Any] = {name: version(name) for name in ("fgbench", "fvcore", "timm")}
    found["python"] = ".".join(python_version_tuple()[:2])
    found["torch"] = (library_version("torch") or "").partition("+")[0]
    return dict(sorted(found.items()))
