"""Figures of a GPU by NVML, and missing figures, which cause no error."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys

import pynvml
import pytest
from helpers.fake_nvml import ANSWERS, GB, UUID, FakeNvml
from hypothesis import given
from hypothesis import strategies as st

from fgbench.measure.nvml import FIGURES, THROTTLE_REASONS, DeviceFacts, DeviceState, Gpu, NvmlUnavailable, disturbing

# The function behind every figure of the state.
BEHIND = {
    "temperature_c": "nvmlDeviceGetTemperature",
    "power_w": "nvmlDeviceGetPowerUsage",
    "power_limit_w": "nvmlDeviceGetEnforcedPowerLimit",
    "utilization_percent": "nvmlDeviceGetUtilizationRates",
    "throttle_reasons": "nvmlDeviceGetCurrentClocksEventReasons",
}


def opened(**errors: int) -> Gpu:
    return Gpu.open("GPU-" + UUID, FakeNvml(**errors))


def nothing_but(reason: str, gpu: Gpu) -> None:
    """Every figure of a GPU is None, for one reason."""
    assert set(gpu.missing) == set(FIGURES)
    for record in (gpu.state(), gpu.facts()):
        figures = dataclasses.asdict(record)
        missing = figures.pop("missing")
        assert set(figures.values()) == {None}
        assert missing.keys() == figures.keys()
        assert all(reason in words for words in missing.values())
    assert gpu.used_memory_bytes() is None
    assert gpu.other_processes() is None
    with pytest.raises(NvmlUnavailable, match=reason):
        gpu.energy_j()


def test_a_healthy_gpu_tells_everything_in_base_units():
    gpu = opened()
    assert gpu.state() == DeviceState(
        sm_clock_hz=1_980_000_000,
        memory_clock_hz=2_619_000_000,
        temperature_c=41,
        power_w=312.5,
        power_limit_w=700.0,
        utilization_percent=97,
        used_memory_bytes=3 * GB,
        total_memory_bytes=80 * GB,
        throttle_reasons=(),
        missing={},
    )
    assert gpu.facts() == DeviceFacts(
        name="NVIDIA Fake 100",
        driver_version="570.124.06",
        total_memory_bytes=80 * GB,
        power_limit_w=700.0,
        persistence_mode=True,
        mig_mode=False,
        missing={},
    )
    assert gpu.energy_j() == 123.456
    assert gpu.used_memory_bytes() == 3 * GB
    assert gpu.missing == {}


@pytest.mark.parametrize(
    ("asked", "prefix"),
    [("GPU-" + UUID, "GPU-"), (UUID, "GPU-"), ("MIG-" + UUID, "MIG-"), (UUID, "MIG-")],
)
def test_a_uuid_is_found_with_and_without_its_prefix(asked, prefix):
    gpu = Gpu.open(asked, FakeNvml(prefix))
    assert gpu.state().temperature_c == 41
    assert gpu.facts().mig_mode is (prefix == "MIG-")


def test_without_a_uuid_it_is_the_first_gpu():
    nvml = FakeNvml()
    assert Gpu.open(None, nvml).state().power_w == 312.5
    assert nvml.opened_index == 0


def test_a_uuid_that_nobody_has_is_named_as_it_was_tried():
    gpu = Gpu.open("0ff", FakeNvml())
    nothing_but("GPU-0ff: NVML error 6: Not Found; MIG-0ff: NVML error 6: Not Found", gpu)


def test_a_uuid_of_one_kind_is_not_looked_for_as_the_other():
    nothing_but("MIG-", Gpu.open("MIG-" + UUID, FakeNvml("GPU-")))


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (pynvml.NVML_ERROR_LIBRARY_NOT_FOUND, "libnvidia-ml.so"),
        (pynvml.NVML_ERROR_DRIVER_NOT_LOADED, "no NVIDIA driver is loaded"),
        (pynvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH, "does not match the loaded driver"),
    ],
)
@pytest.mark.parametrize("uuid", [None, UUID])
def test_nvml_that_does_not_start_is_a_reason(uuid, code, reason):
    nothing_but(reason, Gpu.open(uuid, FakeNvml(nvmlInit=code)))


@pytest.mark.parametrize("uuid", [None, UUID])
def test_the_python_module_may_be_missing(uuid, monkeypatch):
    monkeypatch.setitem(sys.modules, "pynvml", None)
    nothing_but("nvidia-ml-py cannot be imported", Gpu.open(uuid))


def test_the_real_module_answers_or_gives_a_reason():
    gpu = Gpu.open(None)
    state = gpu.state()
    assert (state.total_memory_bytes is None) == ("total_memory_bytes" in state.missing)


def test_the_first_gpu_may_not_be_there():
    nothing_but("no permission", Gpu.open(None, FakeNvml(nvmlDeviceGetHandleByIndex=pynvml.NVML_ERROR_NO_PERMISSION)))


@pytest.mark.parametrize("figure", BEHIND)
def test_an_error_in_one_figure_does_not_hurt_the_others(figure):
    state = opened(**{BEHIND[figure]: pynvml.NVML_ERROR_NOT_SUPPORTED}).state()
    assert state.missing == {figure: "not supported on this device"}
    assert getattr(state, figure) is None
    assert state == dataclasses.replace(opened().state(), **{figure: None}, missing=state.missing)


@given(st.dictionaries(st.sampled_from(sorted(ANSWERS)), st.sampled_from([*range(1, 31), 999])))
def test_no_error_of_any_function_escapes_and_each_null_has_a_reason(errors):
    gpu = opened(**errors)
    gpu.other_processes()
    for record in (gpu.state(), gpu.facts()):
        figures = dataclasses.asdict(record)
        missing = figures.pop("missing")
        assert {name for name, value in figures.items() if value is None} == set(missing)
        assert all(missing.values())


def test_a_figure_that_comes_back_is_missing_no_more():
    nvml = FakeNvml(nvmlDeviceGetPowerUsage=pynvml.NVML_ERROR_TIMEOUT)
    gpu = Gpu.open(UUID, nvml)
    before = gpu.state()
    assert before.missing == gpu.missing == {"power_w": "NVML error 10: Timeout"}
    nvml.errors.clear()
    assert gpu.state().power_w == 312.5
    assert gpu.missing == {}
    assert before.missing == {"power_w": "NVML error 10: Timeout"}


def test_without_permission_what_is_allowed_is_told():
    gpu = opened(
        nvmlDeviceGetComputeRunningProcesses_v3=pynvml.NVML_ERROR_NO_PERMISSION,
        nvmlDeviceGetTotalEnergyConsumption=pynvml.NVML_ERROR_NO_PERMISSION,
    )
    assert gpu.other_processes() is None
    with pytest.raises(NvmlUnavailable, match=r"^no permission$"):
        gpu.energy_j()
    assert gpu.missing == {"other_processes": "no permission", "energy_j": "no permission"}
    assert gpu.state().missing == {}


def test_a_gpu_may_be_lost_midway():
    nvml = FakeNvml()
    gpu = Gpu.open(UUID, nvml)
    assert gpu.state().missing == {}
    nvml.errors["*"] = pynvml.NVML_ERROR_GPU_IS_LOST
    state = gpu.state()
    assert len(state.missing) == 9
    assert all(words.startswith("the GPU is lost: ") for words in state.missing.values())
    with pytest.raises(NvmlUnavailable, match="the GPU is lost"):
        gpu.energy_j()


def test_an_instance_of_a_divided_card_has_no_energy_of_its_own():
    nvml = FakeNvml("MIG-", nvmlDeviceGetPowerUsage=pynvml.NVML_ERROR_NOT_SUPPORTED)
    gpu = Gpu.open("MIG-" + UUID, nvml)
    assert gpu.state().missing == {"power_w": "not supported on this device"}
    with pytest.raises(NvmlUnavailable, match="MIG is on"):
        gpu.energy_j()
    assert "MIG is on" in gpu.missing["energy_j"]


def test_nor_has_a_divided_card_opened_as_a_whole():
    nvml = FakeNvml()
    nvml.mig = 1
    gpu = Gpu.open(None, nvml)
    assert gpu.facts().mig_mode is True
    with pytest.raises(NvmlUnavailable, match="MIG is on"):
        gpu.energy_j()


def test_a_card_that_knows_no_mig_has_energy():
    gpu = opened(nvmlDeviceGetMigMode=pynvml.NVML_ERROR_NOT_SUPPORTED)
    assert gpu.energy_j() == 123.456
    assert gpu.facts().missing == {"mig_mode": "not supported on this device"}


@pytest.mark.parametrize("prefix", ["nvmlClocksEventReason", "nvmlClocksThrottleReason"])
def test_every_reason_that_pynvml_names_has_its_words(prefix):
    words = {
        "ApplicationsClocksSetting": "application clocks",
        "SwPowerCap": "software power cap",
        "HwSlowdown": "hardware slowdown",
        "SyncBoost": "sync boost",
        "SwThermalSlowdown": "software thermal slowdown",
        "HwThermalSlowdown": "hardware thermal slowdown",
        "HwPowerBrakeSlowdown": "hardware power brake",
        "DisplayClockSetting": "display clocks",
    }
    for name, told in words.items():
        assert THROTTLE_REASONS[getattr(pynvml, prefix + name)] == told
    named = {getattr(pynvml, name) for name in dir(pynvml) if name.startswith(prefix)}
    named -= {getattr(pynvml, prefix + name) for name in ("None", "GpuIdle", "All")}
    assert named <= set(THROTTLE_REASONS)


def test_throttle_reasons_are_told_in_words_and_idleness_is_none():
    nvml = FakeNvml()
    gpu = Gpu.open(UUID, nvml)
    for bits, words in {
        0x1: (),
        0x4: ("software power cap",),
        0x1 | 0x8 | 0x40: ("hardware slowdown", "hardware thermal slowdown"),
        0x20 | 0x9000: ("software thermal slowdown", "unknown reason 0x9000"),
    }.items():
        nvml.reasons = bits
        assert gpu.state().throttle_reasons == words


OLD = "nvmlDeviceGetCurrentClocksThrottleReasons"
NEW = "nvmlDeviceGetCurrentClocksEventReasons"


@pytest.mark.parametrize(
    ("nvml", "asked"),
    [
        (FakeNvml(), NEW),
        (FakeNvml(without=(OLD,)), NEW),
        (FakeNvml(without=(NEW,)), OLD),
        (FakeNvml(**{NEW: pynvml.NVML_ERROR_FUNCTION_NOT_FOUND}), OLD),
    ],
)
def test_throttle_reasons_are_read_under_their_new_and_their_old_name(nvml, asked):
    nvml.reasons = 0x80
    assert Gpu.open(UUID, nvml).state().throttle_reasons == ("hardware power brake",)
    assert [name for name in nvml.calls if name in (OLD, NEW)][-1] == asked


def test_where_a_function_is_nowhere_that_is_the_reason():
    missing = Gpu.open(UUID, FakeNvml(without=(OLD, NEW))).state().missing
    assert missing == {"throttle_reasons": f"this version of nvidia-ml-py has no {OLD}"}


def test_a_failure_under_the_new_name_is_not_hidden_by_the_old_one():
    nvml = FakeNvml(**{NEW: pynvml.NVML_ERROR_NO_PERMISSION})
    assert Gpu.open(UUID, nvml).state().missing == {"throttle_reasons": "no permission"}
    assert OLD not in nvml.calls


@pytest.mark.parametrize("name", ["nvmlDeviceGetTemperature", "nvmlDeviceGetComputeRunningProcesses_v3"])
def test_what_a_driver_has_under_another_name_is_read_there(name):
    gpu = opened(**{name: pynvml.NVML_ERROR_FUNCTION_NOT_FOUND})
    assert gpu.state().temperature_c == 41
    assert gpu.other_processes() == 0


def state_with(reasons: tuple[str, ...] | None, temperature_c: int | None = None) -> DeviceState:
    return dataclasses.replace(opened().state(), throttle_reasons=reasons, temperature_c=temperature_c)


@pytest.mark.parametrize(
    "reason",
    ["hardware slowdown", "hardware thermal slowdown", "hardware power brake", "software thermal slowdown"],
)
def test_a_card_that_protects_itself_disturbs(reason):
    assert disturbing(state_with((reason,))) == reason
    assert disturbing(state_with(("software power cap", reason), 88)) == f"{reason} at 88 °C"


@pytest.mark.parametrize("reasons", [None, (), ("software power cap", "application clocks", "sync boost")])
def test_a_card_that_runs_as_it_is_set_does_not_disturb(reasons):
    assert disturbing(state_with(reasons, 88)) is None


def test_other_processes_are_counted_once_each_and_without_us():
    nvml = FakeNvml()
    gpu = Gpu.open(UUID, nvml)
    for pids, others in [([], 0), ([os.getpid()], 0), ([11, os.getpid(), 12, 11], 2), ([11], 1)]:
        nvml.pids = pids
        assert gpu.other_processes() == others


def test_the_module_needs_neither_pynvml_nor_torch():
    code = "import sys; sys.modules['pynvml'] = None; import fgbench.measure.nvml, fgbench.measure.energy"
    result = subprocess.run(
        [sys.executable, "-c", f"{code}; sys.exit('torch' in sys.modules)"], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
