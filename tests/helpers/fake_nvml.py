"""A stand-in for the module pynvml: one GPU, with pynvml's own constants and errors, no driver needed."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pynvml

UUID = "5ca1ab1e-0000-4000-8000-00000000beef"
GB = 1_000_000_000


class FakeNvml:
    """Answers as NVML does for a healthy GPU, except where told otherwise.

    ``errors`` gives a function's name an NVML code to fail with, ``"*"`` all of them after nvmlInit; ``without`` names
    functions that the module does not have.
    """

    def __init__(self, prefix: str = "GPU-", without: tuple[str, ...] = (), **errors: int) -> None:
        self.uuid = prefix + UUID
        self.without = set(without)
        self.errors: dict[str, int] = dict(errors)
        self.calls: list[str] = []
        self.reasons = 0
        self.energy_mj = 123_456
        self.pids: list[int] = []
        self.mig = 0
        self.opened_index: int | None = None

    def __getattr__(self, name: str) -> Any:
        if name.startswith(("NVML", "nvmlClocks")):
            return getattr(pynvml, name)
        answer = ANSWERS.get(name)
        if answer is None or name in self.without:
            raise AttributeError(name)

        def function(*arguments: Any) -> Any:
            self.calls.append(name)
            code = self.errors.get(name, self.errors.get("*", 0) if name != "nvmlInit" else 0)
            if code:
                raise pynvml.NVMLError(code)
            return answer(self, *arguments)

        return function

    def by_uuid(self, uuid: str) -> str:
        if uuid != self.uuid:
            raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_FOUND)
        return "handle"

    def by_index(self, index: int) -> str:
        self.opened_index = index
        return "handle"


def of_handle(answer: Any) -> Any:
    """The answer of a function whose first argument must be the handle that was opened."""

    def function(nvml: FakeNvml, handle: str, *arguments: Any) -> Any:
        assert handle == "handle"
        return answer(nvml, *arguments)

    return function


ANSWERS = {
    "nvmlInit": lambda nvml: None,
    "nvmlSystemGetDriverVersion": lambda nvml: "570.124.06",
    "nvmlDeviceGetHandleByUUID": FakeNvml.by_uuid,
    "nvmlDeviceGetHandleByIndex": FakeNvml.by_index,
    "nvmlDeviceGetName": of_handle(lambda nvml: "NVIDIA Fake 100"),
    "nvmlDeviceGetClockInfo": of_handle(
        lambda nvml, domain: {pynvml.NVML_CLOCK_SM: 1980, pynvml.NVML_CLOCK_MEM: 2619}[domain]
    ),
    "nvmlDeviceGetTemperature": of_handle(lambda nvml, sensor: {pynvml.NVML_TEMPERATURE_GPU: 41}[sensor]),
    "nvmlDeviceGetTemperatureV": of_handle(lambda nvml, sensor: {pynvml.NVML_TEMPERATURE_GPU: 41}[sensor]),
    "nvmlDeviceGetPowerUsage": of_handle(lambda nvml: 312_500),
    "nvmlDeviceGetEnforcedPowerLimit": of_handle(lambda nvml: 700_000),
    "nvmlDeviceGetUtilizationRates": of_handle(lambda nvml: SimpleNamespace(gpu=97, memory=55)),
    "nvmlDeviceGetMemoryInfo": of_handle(lambda nvml: SimpleNamespace(used=3 * GB, free=77 * GB, total=80 * GB)),
    "nvmlDeviceGetPersistenceMode": of_handle(lambda nvml: pynvml.NVML_FEATURE_ENABLED),
    "nvmlDeviceGetMigMode": of_handle(lambda nvml: [nvml.mig, 0]),
    "nvmlDeviceGetTotalEnergyConsumption": of_handle(lambda nvml: nvml.energy_mj),
    "nvmlDeviceGetCurrentClocksEventReasons": of_handle(lambda nvml: nvml.reasons),
    "nvmlDeviceGetCurrentClocksThrottleReasons": of_handle(lambda nvml: nvml.reasons),
    "nvmlDeviceGetComputeRunningProcesses_v2": of_handle(lambda nvml: [SimpleNamespace(pid=p) for p in nvml.pids]),
    "nvmlDeviceGetComputeRunningProcesses_v3": of_handle(lambda nvml: [SimpleNamespace(pid=p) for p in nvml.pids]),
}
