"""What happens around a timing: memory, and whatever disturbs it – on the host, or on a GPU through NVML."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import torch

from fgbench.measure.interference import TOLERATED, Interference
from fgbench.measure.memory import forget_peak, peak_resident_bytes
from fgbench.measure.nvml import DeviceState, Gpu, disturbing
from fgbench.results.environment import cores

BUSY_PERCENT = 5  # of a GPU that others use when a worker starts
GLANCE_S = 0.5  # between looks at clocks and temperature
SETTLE_S = 3.0  # NVML's utilization is an average that lags behind
NO_ACCOUNT = "torch keeps no account of a CPU's memory; device_memory_bytes is the resident set"


class CpuWatch:
    """Memory of this process, and load from others. Why a figure is missing is written into ``missing``."""

    def __init__(self, missing: dict[str, str], threads: int) -> None:
        self.missing = missing
        self.warm_peak: int | None = None
        self.lost: float | None = None
        self.forgot = forget_peak()
        self.load = Interference(threads)
        self.crowded = threads > cores()  # then the threads wait for each other, and nobody can tell

    def warmed(self) -> None:
        """The warm-up is over: what counts begins here, in a second attempt anew."""
        self.warm_peak = larger(self.warm_peak, peak_resident_bytes())
        self.forgot = forget_peak()
        self.load.start()

    def disturbed(self) -> str | None:
        """What took the device away from the timing, in words."""
        self.lost = self.load.share()
        if self.lost is None or self.lost <= TOLERATED or self.crowded:
            return None
        return f"others took {100 * self.lost:.0f} % of our threads' time"

    def memory(self) -> dict[str, int | None]:
        """The fields of a row."""
        self.missing |= {"peak_memory_allocated_bytes": NO_ACCOUNT, "peak_memory_reserved_bytes": NO_ACCOUNT}
        peak = peak_resident_bytes()
        if peak is None:
            self.missing["device_memory_bytes"] = "the system does not tell a process's peak resident set"
        return {"peak_memory_allocated_bytes": None, "peak_memory_reserved_bytes": None, "device_memory_bytes": peak}

    def seen(self) -> dict[str, Any]:
        """What is kept beside the row."""
        return {
            "warm_up_peak_bytes": self.warm_peak,
            "peak_is_since_start": not self.forgot,
            "taken_by_others": self.lost,
            "more_threads_than_cores": self.crowded,
        }


class CudaWatch:
    """Memory of the GPU, its clocks and temperature; ``before`` is what it held before this process used it."""

    def __init__(self, missing: dict[str, str], gpu: Gpu, before: int | None, *, keep_peak: bool = False) -> None:
        self.missing, self.gpu, self.before, self.keep_peak = missing, gpu, before, keep_peak
        self.warm_peak: int | None = None
        self.states: list[DeviceState] = []
        self._counts, self._glanced = False, 0.0
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()

    def warmed(self) -> None:
        """The warm-up is over: what counts begins here, in a second attempt anew."""
        self.warm_peak = larger(self.warm_peak, torch.cuda.max_memory_allocated())
        self.states.clear()
        if not self.keep_peak:  # the replay of a graph takes nothing: its memory was taken when it was captured
            torch.cuda.reset_peak_memory_stats()
        self._counts, self._glanced = True, -GLANCE_S  # the first block is looked at

    def glance(self) -> None:
        """Look at the card while it works."""
        if self._counts and time.monotonic() - self._glanced >= GLANCE_S:
            self.states.append(self.gpu.state())
            self._glanced = time.monotonic()

    def disturbed(self) -> str | None:
        """What the card did to protect itself, in words."""
        return next(filter(None, map(disturbing, self.states)), None)

    def memory(self) -> dict[str, int | None]:
        """The fields of a row."""
        held, now = None, self.gpu.used_memory_bytes()
        if now is None or self.before is None:
            self.missing["device_memory_bytes"] = self.gpu.missing.get("used_memory_bytes", "NVML did not tell")
        else:
            held = max(0, now - self.before)
        return {
            "peak_memory_allocated_bytes": torch.cuda.max_memory_allocated(),
            "peak_memory_reserved_bytes": torch.cuda.max_memory_reserved(),
            "device_memory_bytes": held,
        }

    def seen(self) -> dict[str, Any]:
        """What is kept beside the row."""
        return {"warm_up_peak_bytes": self.warm_peak, "device_states": [asdict(state) for state in self.states]}


def larger(one: int | None, other: int | None) -> int | None:
    """The larger of two figures, either of which may be missing."""
    return max((figure for figure in (one, other) if figure is not None), default=None)


def busy_at_start(gpu: Gpu, sleep: Callable[[float], None] = time.sleep) -> str | None:
    """Whether others use the GPU before this process does; its average is given time to forget the worker before."""
    waited, percent = 0.0, gpu.state().utilization_percent
    while percent is not None and percent > BUSY_PERCENT and waited < SETTLE_S:
        sleep(0.25)
        waited, percent = waited + 0.25, gpu.state().utilization_percent
    if percent is None or percent <= BUSY_PERCENT:
        return None
    return f"the GPU was {percent:.0f} % busy with others at the start"
