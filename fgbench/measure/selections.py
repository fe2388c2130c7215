"""Measure a selector by itself, and the kernels of v·A: the figures of their rows."""

from __future__ import annotations

from typing import Any

import torch

from fgbench.measure.engine import Engine, first_line
from fgbench.measure.point import LoadedSubject
from fgbench.measure.rows import TIMED_FIELDS, no_figures
from fgbench.measure.subject import HALVES, Subject
from fgbench.measure.subjects.kernel import KernelSubject
from fgbench.measure.subjects.selector import HEAD_DIM, HEADS
from fgbench.results.records import Status
from fgbench_selectors.backends.left import choose

SELECTION_FIELDS = (*TIMED_FIELDS, "added_memory_bytes")


def measure_selection(subject: Subject, engine: Engine, batch_size: int, cap_s: float) -> dict[str, Any]:
    """Measure a selector by itself, or its backbone.

    Args:
        subject: As :func:`fgbench.measure.subjects.selector.selection_subject` makes it.
        engine: What runs it.
        batch_size: Images.
        cap_s: Limit of the timed blocks in seconds. What takes longer in one run is run once.

    Returns:
        The fields of a :class:`SelectionRow` that are measured.

    """
    if (small := subject.small()) is not None:
        engine.load(small)(1).run()
    result = LoadedSubject(subject, engine, cap_s, count=False).measure(batch_size, energy=False, first_pass=True)
    return {**{name: result[name] for name in SELECTION_FIELDS}, "backends": result["seen"]["back_ends"]}


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
