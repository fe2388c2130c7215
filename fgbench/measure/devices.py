"""The devices that engines run on: whether one is there, its name, its memory, its counter of energy."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict
from typing import Any, Protocol

from fgbench.measure.memory import available_bytes, limit_memory
from fgbench.measure.nvml import Gpu
from fgbench.measure.watch import GpuWatch, HostWatch, Watch

USED_SHARE = 0.9  # of the free memory; the rest is left to the system
BUSY_PERCENT = 5  # of a GPU that others use when a worker starts
SETTLE_S = 3.0  # NVML's utilization is an average that lags behind


class Device(Protocol):
    """One device, opened before anything runs on it."""

    busy: str | None  # who else uses it at the start, in words
    no_energy: str | None  # why there is no counter of energy

    def watch(self, missing: dict[str, str], threads: int) -> Watch:
        """Start to note memory and disturbances; ``missing`` receives by field why a figure is missing."""
        ...

    def energy_j(self) -> float:
        """Joules that the device has used since some moment."""
        ...

    def limit_memory(self, limit_bytes: int | None) -> None:
        """Refuse this process allocations beyond a limit, where the device has one for all engines."""
        ...


class Cpu:
    """The host's processor."""

    busy: str | None = None
    no_energy: str | None = "no energy counter is read on a CPU"

    def watch(self, missing: dict[str, str], threads: int) -> HostWatch:
        """Memory of this process, and time that others take from its threads."""
        return HostWatch(missing, threads)

    def energy_j(self) -> float:
        """No counter is read."""
        raise NotImplementedError

    def limit_memory(self, limit_bytes: int | None) -> None:
        """Have an allocation fail that the memory does not hold, before the system ends some process."""
        free = available_bytes()
        most = limit_bytes or (None if free is None else int(USED_SHARE * free))
        if most is not None:
            limit_memory(most)


class NvidiaGpu:
    """A GPU of NVIDIA's, seen through NVML.

    Args:
        uuid: Of the GPU; None for the first one.

    """

    no_energy: str | None = None

    def __init__(self, uuid: str | None) -> None:
        self.gpu = Gpu.open(uuid)
        self.busy = busy_at_start(self.gpu)
        self.memory_before = _memory_before(self.gpu, uuid)

    def watch(self, missing: dict[str, str], threads: int) -> GpuWatch:
        """Memory of the GPU, its clocks and temperature."""
        return GpuWatch(missing, self.gpu, self.memory_before)

    def energy_j(self) -> float:
        """Joules since the driver was loaded. Raises :class:`fgbench.measure.nvml.NvmlUnavailable`."""
        return self.gpu.energy_j()

    def limit_memory(self, limit_bytes: int | None) -> None:
        """A GPU has no limit that all engines obey; each sets its own."""


_MEMORY_BEFORE: dict[str | None, int | None] = {}  # of each GPU, when this process first opened it


def _memory_before(gpu: Gpu, uuid: str | None) -> int | None:
    """Bytes that were in use before this process used a GPU: what it holds itself is not among them later on."""
    if uuid not in _MEMORY_BEFORE:
        _MEMORY_BEFORE[uuid] = gpu.used_memory_bytes()
    return _MEMORY_BEFORE[uuid]


def why_no_device(name: str) -> str | None:
    """Why a device is not there, in words; None where it is.

    Args:
        name: ``cuda`` or ``cpu``.

    """
    if name == "cpu":
        return None
    import torch

    if torch.cuda.is_available():
        return None
    return "this torch was built without CUDA" if torch.version.cuda is None else "no CUDA device is there"


def open_device(name: str, uuid: str | None = None) -> Device:
    """Open a device in this process, before an engine uses it.

    Args:
        name: ``cuda`` or ``cpu``.
        uuid: Of the GPU; None for the first one.

    """
    return Cpu() if name == "cpu" else NvidiaGpu(uuid)


def describe_device(name: str) -> dict[str, Any]:
    """Describe a device, for the environment of rows.

    Args:
        name: ``cuda`` or ``cpu``; it is there.

    Returns:
        ``device``, ``device_name`` and ``uuid``; of a GPU, its memory in bytes, its compute capability, the version of
        cuDNN, and what NVML says of it.

    """
    if name == "cpu":
        return {"device": name, "device_name": None, "uuid": None}
    import torch

    found = torch.cuda.get_device_properties(0)
    uuid = str(getattr(found, "uuid", "")) or None
    return {
        "device": name,
        "device_name": found.name,
        "uuid": uuid,
        "device_memory_bytes": found.total_memory,
        "compute_capability": f"{found.major}.{found.minor}",
        "cudnn": torch.backends.cudnn.version(),
        "nvml": asdict(Gpu.open(uuid).facts()),
    }


def busy_at_start(gpu: Gpu, sleep: Callable[[float], None] = time.sleep) -> str | None:
    """Whether others use a GPU before this process does, in words.

    NVML's average is given :data:`SETTLE_S` seconds to leave the process before this one behind.
    """
    waited, percent = 0.0, gpu.state().utilization_percent
    while percent is not None and percent > BUSY_PERCENT and waited < SETTLE_S:
        sleep(0.25)
        waited, percent = waited + 0.25, gpu.state().utilization_percent
    if percent is None or percent <= BUSY_PERCENT:
        return None
    return f"the GPU was {percent:.0f} % busy with others at the start"
