"""Note memory during a timing, and disturbances on the host or on a GPU. No torch."""

from __future__ import annotations

import ctypes
import time
from contextlib import suppress
from dataclasses import asdict
from typing import Any, Protocol

from fgbench.measure.interference import TOLERATED, Interference
from fgbench.measure.memory import forget_peak, peak_resident_bytes
from fgbench.measure.nvml import DeviceState, Gpu, disturbing
from fgbench.results.environment import cores

GLANCE_S = 0.5  # between readings of clocks and temperature
NO_ACCOUNT = "torch keeps no account of a CPU's memory; device_memory_bytes is the resident set"
NO_ALLOCATOR = "the engine does not tell what its tensors take; device_memory_bytes is all that the process holds"


class Watch(Protocol):
    """Notes memory and disturbances of one point."""

    def warmed(self) -> None:
        """The warm-up is over: what counts begins here, in a second attempt anew."""
        ...

    def glance(self) -> None:
        """Read the device while it works."""
        ...

    def disturbed(self) -> str | None:
        """The disturbance of the timing, in words; None where there was none."""
        ...

    def memory(self) -> dict[str, int | None]:
        """The fields of a row: peak_memory_allocated_bytes, peak_memory_reserved_bytes, device_memory_bytes."""
        ...

    def seen(self) -> dict[str, Any]:
        """Facts that are kept beside the row, ready for JSON."""
        ...

    def begin_peak(self) -> int | None:
        """Bytes that are held now, where the peak begins anew; None where that cannot be known."""
        ...

    def peak(self) -> int | None:
        """The most bytes that were held since :meth:`begin_peak`."""
        ...


class HostWatch:
    """Memory of this process, and load from others.

    Args:
        missing: Receives by field why a figure is missing.
        threads: Of this process that compute.

    """

    def __init__(self, missing: dict[str, str], threads: int) -> None:
        self.missing = missing
        self.warm_peak: int | None = None
        self.lost: float | None = None
        self.forgot = forget_peak()
        self.load = Interference(threads)
        self.crowded = threads > cores()  # then the threads wait for each other, and others cannot be told apart

    def warmed(self) -> None:
        """Begin the peak and the account of waiting."""
        self.warm_peak = larger(self.warm_peak, peak_resident_bytes())
        self.forgot = forget_peak()
        self.load.start()

    def glance(self) -> None:
        """Nothing is read while the host works: reading takes time from it."""

    def disturbed(self) -> str | None:
        """The share of time that others took, in words, where it is too large."""
        self.lost = self.load.share()
        if self.lost is None or self.lost <= TOLERATED or self.crowded:
            return None
        return f"others took {100 * self.lost:.0f} % of our threads' time"

    def memory(self) -> dict[str, int | None]:
        """The peak resident set of this process."""
        self.missing |= {"peak_memory_allocated_bytes": NO_ACCOUNT, "peak_memory_reserved_bytes": NO_ACCOUNT}
        peak = peak_resident_bytes()
        if peak is None:
            self.missing["device_memory_bytes"] = "the system does not tell a process's peak resident set"
        return {"peak_memory_allocated_bytes": None, "peak_memory_reserved_bytes": None, "device_memory_bytes": peak}

    def seen(self) -> dict[str, Any]:
        """The peak of the warm-up, and what others took."""
        return {
            "warm_up_peak_bytes": self.warm_peak,
            "peak_is_since_start": not self.forgot,
            "taken_by_others": self.lost,
            "more_threads_than_cores": self.crowded,
        }

    def begin_peak(self) -> int | None:
        """Bytes that are resident, after the C library has given back what was freed."""
        with suppress(AttributeError, OSError):  # another library than glibc
            ctypes.CDLL(None).malloc_trim(0)
        return peak_resident_bytes() if forget_peak() else None

    def peak(self) -> int | None:
        """The peak resident set."""
        return peak_resident_bytes()


class GpuWatch:
    """Memory of a GPU, its clocks and temperature, through NVML.

    An engine that knows its allocator adds :meth:`allocated`, :meth:`begin_peak` and :meth:`peak`.

    Args:
        missing: Receives by field why a figure is missing.
        gpu: The GPU.
        before: Bytes that were in use before this process used it; None where that is not known.

    """

    def __init__(self, missing: dict[str, str], gpu: Gpu, before: int | None) -> None:
        self.missing, self.gpu, self.before = missing, gpu, before
        self.warm_peak: int | None = None
        self.states: list[DeviceState] = []
        self._counts, self._glanced = False, 0.0

    def warmed(self) -> None:
        """Begin to read the card; the first block is one that is looked at."""
        self.warm_peak = larger(self.warm_peak, self.peak())
        self.states.clear()
        self._counts, self._glanced = True, -GLANCE_S

    def glance(self) -> None:
        """Read the card while it works, every :data:`GLANCE_S` seconds."""
        if self._counts and time.monotonic() - self._glanced >= GLANCE_S:
            self.states.append(self.gpu.state())
            self._glanced = time.monotonic()

    def disturbed(self) -> str | None:
        """The reason by which the card protected itself, in words."""
        return next(filter(None, map(disturbing, self.states)), None)

    def memory(self) -> dict[str, int | None]:
        """Memory of the process on the card, and the figures of its engine's allocator."""
        held, now = None, self.gpu.used_memory_bytes()
        if now is None or self.before is None:
            self.missing["device_memory_bytes"] = self.gpu.missing.get("used_memory_bytes", "NVML did not tell")
        else:
            held = max(0, now - self.before)
        return {**self.allocated(), "device_memory_bytes": held}

    def allocated(self) -> dict[str, int | None]:
        """The peak of tensors, and of what the allocator holds for them, in bytes."""
        names = ("peak_memory_allocated_bytes", "peak_memory_reserved_bytes")
        self.missing |= dict.fromkeys(names, NO_ALLOCATOR)
        return dict.fromkeys(names)

    def seen(self) -> dict[str, Any]:
        """The peak of the warm-up, and the card's states."""
        return {"warm_up_peak_bytes": self.warm_peak, "device_states": [asdict(state) for state in self.states]}

    def begin_peak(self) -> int | None:
        """No peak can begin anew without an allocator that tells one."""
        return None

    def peak(self) -> int | None:
        """No peak is known."""
        return None


def larger(one: int | None, other: int | None) -> int | None:
    """The larger of two figures, either of which may be missing."""
    return max((figure for figure in (one, other) if figure is not None), default=None)
