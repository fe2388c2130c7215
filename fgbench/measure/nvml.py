"""One GPU seen through NVML: its clocks, temperature, power, throttling, memory, energy and users."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any, TypeVar

T = TypeVar("T")

# NVML's codes, in words. The rest are told in NVML's own.
REASONS = {
    1: "NVML is not initialised",
    3: "not supported on this device",
    4: "no permission",
    9: "no NVIDIA driver is loaded",
    12: "the NVML library (libnvidia-ml.so) is missing",
    15: "the GPU is lost: it has fallen off the bus or cannot be reached",
    16: "the GPU is lost: it must be reset",
    18: "the NVML library does not match the loaded driver",
}
FUNCTION_NOT_FOUND = 13
CLOCK_SM, CLOCK_MEM, TEMPERATURE_GPU = 1, 2, 0  # NVML's numbers

# The bits of what holds the clocks down. Their names changed from "throttle" to "event" reasons, their values did not.
THROTTLE_REASONS = {
    0x0002: "application clocks",
    0x0004: "software power cap",
    0x0008: "hardware slowdown",
    0x0010: "sync boost",
    0x0020: "software thermal slowdown",
    0x0040: "hardware thermal slowdown",
    0x0080: "hardware power brake",
    0x0100: "display clocks",
    0x0200: "board limit",
    0x0400: "reliability limit",
}
IDLE = 0x0001  # no reason
# Reasons by which a card protects itself. A power cap and application clocks are settings.
DISTURBING = ("hardware slowdown", "hardware thermal slowdown", "hardware power brake", "software thermal slowdown")


class NvmlUnavailable(Exception):  # noqa: N818  # it is told as a reason, and nothing is broken
    """A figure cannot be had from NVML; the message is the reason, in words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceState:
    """A GPU at one moment. What could not be read is null, and ``missing`` says why."""

    sm_clock_hz: int | None
    memory_clock_hz: int | None
    temperature_c: int | None
    power_w: float | None
    power_limit_w: float | None  # the one in force
    utilization_percent: int | None  # of the driver's last sample period, during which some kernel ran
    used_memory_bytes: int | None  # by all processes
    total_memory_bytes: int | None
    throttle_reasons: tuple[str, ...] | None  # what holds the clocks down, in words; empty: nothing does
    missing: dict[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceFacts:
    """Facts of a GPU that stay the same while it is measured. Null and ``missing`` as in :class:`DeviceState`."""

    name: str | None
    driver_version: str | None
    total_memory_bytes: int | None
    power_limit_w: float | None
    persistence_mode: bool | None
    mig_mode: bool | None  # the card is divided into instances
    missing: dict[str, str]


FIGURES = (
    *(field.name for record in (DeviceState, DeviceFacts) for field in fields(record) if field.name != "missing"),
    "energy_j",
    "other_processes",
)


class Gpu:
    """One GPU, or an instance of a divided one (MIG). Every figure may be missing, each on its own.

    ``missing`` says for every figure that could not be had when it was last asked for why that is so.
    """

    def __init__(self, library: Any, handle: Any, *, instance: bool = False, reason: str | None = None) -> None:
        self.missing: dict[str, str] = dict.fromkeys(FIGURES, reason) if reason is not None else {}
        self._library, self._handle, self._reason = library, handle, reason
        self._instance = instance
        self._divided = instance or self._mig_mode() is True

    @classmethod
    def open(cls, uuid: str | None, library: Any = None) -> Gpu:
        """The GPU of a UUID – with the prefix ``GPU-`` or ``MIG-`` or, as torch prints it, without – or the first one.

        Never fails: without NVML or the device, every figure is None and ``missing`` says why. ``library`` stands in
        for the module ``pynvml``.
        """
        try:
            library = importlib.import_module("pynvml") if library is None else library
        except ImportError as error:
            return cls(None, None, reason=f"the Python package nvidia-ml-py cannot be imported: {error}")
        try:
            _call(library, "nvmlInit")
            if uuid is None:
                return cls(library, _call(library, "nvmlDeviceGetHandleByIndex", 0))
        except NvmlUnavailable as error:
            return cls(None, None, reason=str(error))
        bare = not uuid.startswith(("GPU-", "MIG-"))
        tried = []
        for name in (f"GPU-{uuid}", f"MIG-{uuid}") if bare else (uuid,):
            try:
                handle = _call(library, "nvmlDeviceGetHandleByUUID", name)
            except NvmlUnavailable as error:
                tried.append(f"{name}: {error}")
            else:
                return cls(library, handle, instance=name.startswith("MIG-"))
        return cls(None, None, reason=f"NVML does not open the device ({'; '.join(tried)})")

    def state(self) -> DeviceState:
        """The GPU as it is now."""
        state: dict[str, Any] = {
            "sm_clock_hz": self._read("sm_clock_hz", lambda: self._clock_hz(CLOCK_SM)),
            "memory_clock_hz": self._read("memory_clock_hz", lambda: self._clock_hz(CLOCK_MEM)),
            "temperature_c": self._read("temperature_c", self._temperature_c),
            "power_w": self._read("power_w", lambda: self._ask("nvmlDeviceGetPowerUsage") / 1000),
            "power_limit_w": self._power_limit_w(),
            "utilization_percent": self._read(
                "utilization_percent", lambda: int(self._ask("nvmlDeviceGetUtilizationRates").gpu)
            ),
            "used_memory_bytes": self.used_memory_bytes(),
            "total_memory_bytes": self._total_memory_bytes(),
            "throttle_reasons": self._read("throttle_reasons", self._throttle_reasons),
        }
        return DeviceState(**state, missing=self._why(state))

    def facts(self) -> DeviceFacts:
        """Facts that stay the same while the GPU is measured."""
        facts: dict[str, Any] = {
            "name": self._read("name", lambda: str(self._ask("nvmlDeviceGetName"))),
            "driver_version": self._read("driver_version", lambda: str(self._nvml("nvmlSystemGetDriverVersion"))),
            "total_memory_bytes": self._total_memory_bytes(),
            "power_limit_w": self._power_limit_w(),
            "persistence_mode": self._read("persistence_mode", lambda: self._ask("nvmlDeviceGetPersistenceMode") == 1),
            "mig_mode": self._mig_mode(),
        }
        return DeviceFacts(**facts, missing=self._why(facts))

    def energy_j(self) -> float:
        """Joules that the GPU has used since its driver was loaded.

        Raises :class:`NvmlUnavailable` where it does not tell, or tells only of the whole of a divided card.
        """
        joules = self._read("energy_j", self._energy_j)
        if joules is None:
            raise NvmlUnavailable(self.missing["energy_j"])
        return joules

    def used_memory_bytes(self) -> int | None:
        """Bytes in use on the device, by all processes; None where the device does not report them."""
        return self._read("used_memory_bytes", lambda: int(self._ask("nvmlDeviceGetMemoryInfo").used))

    def other_processes(self) -> int | None:
        """Processes with a compute context on the device, besides this one; None where it does not tell.

        To be asked before this process has a context: in a container NVML may know this process by another id, and
        would count it as well.
        """
        return self._read("other_processes", self._other_processes)

    def _read(self, figure: str, read: Callable[[], T]) -> T | None:
        try:
            value = read()
        except NvmlUnavailable as error:
            self.missing[figure] = str(error)
            return None
        self.missing.pop(figure, None)
        return value

    def _why(self, figures: dict[str, Any]) -> dict[str, str]:
        return {name: self.missing[name] for name in figures if name in self.missing}

    def _nvml(self, name: str, *arguments: Any) -> Any:
        """The result of a function of NVML. Raises :class:`NvmlUnavailable` where there is no NVML."""
        if self._reason is not None:
            raise NvmlUnavailable(self._reason)
        return _call(self._library, name, *arguments)

    def _ask(self, name: str, *arguments: Any) -> Any:
        """The result of a function of NVML for this device."""
        return self._nvml(name, self._handle, *arguments)

    def _ask_either(self, names: tuple[str, str], *arguments: Any) -> Any:
        """The result of the first of two functions that this NVML has: they are renamed between versions."""
        first, second = names
        try:
            return self._ask(first, *arguments)
        except _NoSuchFunction:
            return self._ask(second, *arguments)

    def _clock_hz(self, domain: int) -> int:
        return int(self._ask("nvmlDeviceGetClockInfo", domain)) * 1_000_000

    def _temperature_c(self) -> int:
        return int(self._ask_either(("nvmlDeviceGetTemperature", "nvmlDeviceGetTemperatureV"), TEMPERATURE_GPU))

    def _power_limit_w(self) -> float | None:
        return self._read("power_limit_w", lambda: self._ask("nvmlDeviceGetEnforcedPowerLimit") / 1000)

    def _total_memory_bytes(self) -> int | None:
        return self._read("total_memory_bytes", lambda: int(self._ask("nvmlDeviceGetMemoryInfo").total))

    def _throttle_reasons(self) -> tuple[str, ...]:
        bits = self._ask_either(("nvmlDeviceGetCurrentClocksEventReasons", "nvmlDeviceGetCurrentClocksThrottleReasons"))
        known = [words for bit, words in THROTTLE_REASONS.items() if bits & bit]
        rest = bits & ~(IDLE | sum(THROTTLE_REASONS))
        return (*known, f"unknown reason {rest:#x}") if rest else tuple(known)

    def _energy_j(self) -> float:
        if self._divided:
            raise NvmlUnavailable("not supported on this device: MIG is on, and the counter is the whole card's")
        return float(self._ask("nvmlDeviceGetTotalEnergyConsumption")) / 1000

    def _mig_mode(self) -> bool | None:
        if self._instance:
            return True
        return self._read("mig_mode", lambda: self._ask("nvmlDeviceGetMigMode")[0] == 1)

    def _other_processes(self) -> int:
        # Without a version in its name, the function fails with an error of another family on old drivers.
        found = self._ask_either(("nvmlDeviceGetComputeRunningProcesses_v3", "nvmlDeviceGetComputeRunningProcesses_v2"))
        return len({process.pid for process in found} - {os.getpid()})


def disturbing(state: DeviceState) -> str | None:
    """Why a measurement in this state is worthless, in words: the card protects itself. None: no reason is known.

    A power cap and application clocks are how the card is set, and measured with.
    """
    found = [reason for reason in state.throttle_reasons or () if reason in DISTURBING]
    if not found:
        return None
    at = "" if state.temperature_c is None else f" at {state.temperature_c} °C"
    return ", ".join(found) + at


class _NoSuchFunction(NvmlUnavailable):
    """The driver or the Python module is too old, or too new, for a function."""


def _call(library: Any, name: str, *arguments: Any) -> Any:
    """The result of a function of NVML. Raises :class:`NvmlUnavailable` with the reason where it fails."""
    function = getattr(library, name, None)
    if function is None:
        raise _NoSuchFunction(f"this version of nvidia-ml-py has no {name}")
    try:
        return function(*arguments)
    except library.NVMLError as error:
        code = error.value
        if code == FUNCTION_NOT_FOUND:
            raise _NoSuchFunction(f"this driver's NVML has no {name}") from error
        raise NvmlUnavailable(REASONS.get(code, f"NVML error {code}: {error}")) from error
