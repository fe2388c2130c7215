"""Measure one point: a subject in an engine gives time, memory and energy. No torch.

``fgbench.measure(…)`` measures in this process, see :func:`fgbench.measure.measure.measure`. The package itself is what
is called: ``import fgbench.measure.timer`` and ``fgbench.measure("glsim", 448)`` work in any order.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

from fgbench.measure.measure import measure as _measure


class _Callable(ModuleType):
    """A package that can be called."""

    @property
    def __signature__(self) -> Any:
        import inspect

        return inspect.signature(_measure)

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        return _measure(*arguments, **options)


sys.modules[__name__].__class__ = _Callable
