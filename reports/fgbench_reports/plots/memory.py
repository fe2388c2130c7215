"""Accuracy against memory: VRAM on a GPU, the resident set on a CPU."""

from __future__ import annotations

from collections.abc import Iterable

from fgbench_reports.choose.bounds import memory_bounds
from fgbench_reports.choose.configurations import Configuration
from fgbench_reports.data import Data
from fgbench_reports.plots.frontier import Against, frontiers
from fgbench_reports.report import Item, Report


class Memory(Report):
    """Accuracy against peak memory with the Pareto front, as Figure 7 of the paper."""

    title = "Accuracy and memory"

    name = "memory"

    def items(self, data: Data) -> Iterable[Item]:
        """A figure per mode and data set."""
        yield from frontiers(data, against_memory)


def against_memory(device: str) -> Against:
    """Memory of a device: what tensors held at the peak, or the process's peak resident set."""
    kind = "peak VRAM of tensors" if device == "cuda" else "peak resident set of the process"
    axis = f"{kind} (GB)"
    return Against(word="memory", axis=axis, unit="GB", of=_gigabytes, bounds=memory_bounds, more_is_better=False)


def _gigabytes(one: Configuration) -> float | None:
    return one.memory_bytes / 1e9 if one.memory_bytes else None
