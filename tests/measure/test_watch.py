"""Measurements of a GPU without a GPU: a fake NVML, a fake clock, and given memory figures of torch."""

from __future__ import annotations

from types import SimpleNamespace

import pynvml
import pytest
import torch
from helpers.fake_nvml import GB, UUID, FakeNvml

from fgbench.measure import devices, point
from fgbench.measure.devices import SETTLE_S, NvidiaGpu, busy_at_start
from fgbench.measure.engines import torch_cuda
from fgbench.measure.engines.torch_cuda import TorchCuda, TorchCudaWatch
from fgbench.measure.nvml import Gpu
from fgbench.measure.point import LoadedSubject
from fgbench.measure.points import ModelSpec, RunMode
from fgbench.measure.subjects.model import ModelSubject

HOT = pynvml.nvmlClocksThrottleReasonHwThermalSlowdown
CAPPED = pynvml.nvmlClocksThrottleReasonSwPowerCap
CASE = ModelSpec(model="vit", backbone="test_vit", selector=None, impl=None, image_size=64, num_classes=10)


class Card(FakeNvml):
    """A GPU whose use, memory and clock reasons follow a script; the last entry stays."""

    def __init__(self, used=(3 * GB,), busy=(0,), reasons=(0,), **errors: int) -> None:
        super().__init__(**errors)
        self.script = {"used": list(used), "busy": list(busy), "reasons": list(reasons)}

    def next(self, name: str):
        values = self.script[name]
        return values.pop(0) if len(values) > 1 else values[0]

    def __getattr__(self, name: str):
        found = super().__getattr__(name)
        scripted = {
            "nvmlDeviceGetMemoryInfo": lambda: SimpleNamespace(used=self.next("used"), total=80 * GB),
            "nvmlDeviceGetUtilizationRates": lambda: SimpleNamespace(gpu=self.next("busy")),
            "nvmlDeviceGetCurrentClocksEventReasons": lambda: self.next("reasons"),
        }
        if name not in scripted:
            return found

        def function(*arguments):
            found(*arguments)  # it may have been told to fail
            return scripted[name]()

        return function


open_gpu = Gpu.open


def gpu_of(card: FakeNvml) -> Gpu:
    return open_gpu(UUID, card)


class Seconds:
    """A device on which every batch takes 10 ms, and its queue."""

    def __init__(self, step, glance=lambda: None) -> None:
        self.step, self.count, self.glance = step, 0, glance

    def run(self, iterations: int) -> list[float]:
        self.glance()
        return [0.010] * iterations

    def launch(self) -> None:
        self.count += 1

    def launched(self) -> int:
        return self.count

    completed = launched

    def drain(self) -> None: ...


@pytest.fixture
def on_card(monkeypatch):
    """A loaded subject whose device is a fake: what only CUDA can do is replaced, the rest is what runs there."""
    torch_memory = {"allocated": [1 * GB, 2 * GB], "reserved": [3 * GB]}

    def take(name):
        values = torch_memory[name]
        return lambda: values.pop(0) if len(values) > 1 else values[0]

    for name in ("empty_cache", "reset_peak_memory_stats"):
        monkeypatch.setattr(torch.cuda, name, lambda: None)
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", take("allocated"))
    monkeypatch.setattr(torch.cuda, "max_memory_reserved", take("reserved"))
    monkeypatch.setattr(torch_cuda, "EventClock", Seconds)
    monkeypatch.setattr(torch_cuda, "EventQueue", Seconds)
    monkeypatch.setattr(devices, "busy_at_start", lambda gpu: busy_at_start(gpu, lambda _: None))

    monkeypatch.setattr(devices, "_MEMORY_BEFORE", {})

    def subject(card: FakeNvml) -> LoadedSubject:
        monkeypatch.setattr(devices.Gpu, "open", lambda uuid: gpu_of(card))
        engine = TorchCuda(RunMode(device="cuda"), NvidiaGpu(UUID))
        engine.load = lambda _: lambda batch_size: engine.batch(lambda: None, (), tuple)
        return LoadedSubject(ModelSubject(CASE), engine, count=False)

    return subject


def test_a_point_on_a_quiet_card_has_every_figure(on_card, monkeypatch):
    monkeypatch.setattr(
        point,
        "measure_energy",
        lambda queue, read_j, now, batch: point.Energy(joules=50.0, images=100.0, energy_j_per_image=0.5),
    )
    card = Card()
    subject = on_card(card)
    card.script["used"] = [5 * GB]
    result = subject.measure(4)
    assert (result["status"], result["reason"]) == ("ok", None)
    assert (result["latency_s"], result["throughput_img_s"]) == (0.010, 400)
    assert result["peak_memory_allocated_bytes"] == 2 * GB
    assert result["peak_memory_reserved_bytes"] == 3 * GB
    assert result["device_memory_bytes"] == 2 * GB  # 5 now, 3 before this process
    assert result["seen"]["warm_up_peak_bytes"] == 1 * GB
    assert result["energy_j_per_image"] == 0.5
    assert set(result["missing"]) == {"latency_p99_s"}
    states = result["seen"]["device_states"]
    assert {state["sm_clock_hz"] for state in states} == {1_980_000_000}
    assert states[0]["power_limit_w"] == 700


def test_a_card_that_throttles_is_measured_once_more_and_then_flagged(on_card):
    once = on_card(Card(reasons=(0, HOT, 0))).measure(1, energy=False)  # at the start, warmed, and from then on
    assert (once["status"], once["seen"]["attempts"]) == ("ok", 2)
    always = on_card(Card(reasons=(HOT,))).measure(1, energy=False)
    assert (always["status"], always["seen"]["attempts"]) == ("contended", 2)
    assert always["reason"] == "hardware thermal slowdown at 41 °C"
    assert always["throughput_img_s"] == 100


def test_the_memory_of_a_graph_is_that_of_its_capture_in_every_attempt(monkeypatch):
    """A replay takes nothing: were the peak forgotten after the warm-up, there would be no activations in it."""
    resets: list[int] = []
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: None)
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda: resets.append(1))
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda: GB)
    graph = TorchCudaWatch({}, gpu_of(Card()), None, keep_peak=True)
    graph.warmed()
    graph.warmed()
    assert len(resets) == 1
    eager = TorchCudaWatch({}, gpu_of(Card()), None)
    eager.warmed()
    assert len(resets) == 3


def test_a_power_cap_is_how_the_card_is_set(on_card):
    result = on_card(Card(reasons=(CAPPED,))).measure(1, energy=False)
    assert (result["status"], result["seen"]["attempts"]) == ("ok", 1)
    assert result["seen"]["device_states"][0]["throttle_reasons"] == ("software power cap",)


def test_a_card_that_others_use_at_the_start_is_contended(on_card):
    busy = on_card(Card(busy=(60,))).measure(1, energy=False)
    assert (busy["status"], busy["reason"]) == ("contended", "the GPU was 60 % busy with others at the start")


def test_the_worker_before_is_given_time_to_be_forgotten():
    slept: list[float] = []
    assert busy_at_start(gpu_of(Card(busy=(80, 40, 3))), slept.append) is None
    assert len(slept) == 2
    slept.clear()
    assert busy_at_start(gpu_of(Card(busy=(80,))), slept.append)
    assert sum(slept) == SETTLE_S


@pytest.mark.parametrize(
    ("card", "reason"),
    [
        (Card(**{"*": pynvml.NVML_ERROR_NO_PERMISSION}), "no permission"),
        (Card(**{"*": pynvml.NVML_ERROR_GPU_IS_LOST}), "the GPU is lost"),
        (FakeNvml(nvmlInit=pynvml.NVML_ERROR_LIBRARY_NOT_FOUND), "the NVML library (libnvidia-ml.so) is missing"),
    ],
)
def test_without_nvml_time_is_measured_and_the_rest_is_null_with_its_reason(on_card, card, reason):
    result = on_card(card).measure(2)
    assert (result["status"], result["throughput_img_s"]) == ("ok", 200)
    assert result["peak_memory_allocated_bytes"] > 0
    for field in ("device_memory_bytes", "energy_j_per_image"):
        assert result[field] is None
        assert reason in result["missing"][field]
    assert reason in result["seen"]["device_states"][0]["missing"]["sm_clock_hz"]


def test_nvml_may_fail_midway(on_card):
    card = Card()
    subject = on_card(card)
    card.errors["*"] = pynvml.NVML_ERROR_GPU_IS_LOST
    result = subject.measure(1)
    assert result["status"] == "ok"
    assert result["device_memory_bytes"] is result["energy_j_per_image"] is None
    assert "lost" in result["missing"]["device_memory_bytes"]


def test_a_second_point_of_a_process_counts_what_the_first_one_left(on_card):
    card = Card()
    on_card(card).measure(1, energy=False)
    card.script["used"] = [6 * GB]  # of which 3 were there before this process
    subject = on_card(card)
    assert subject.measure(1, energy=False)["device_memory_bytes"] == 3 * GB


def test_memory_before_the_process_that_is_not_known_is_no_zero(monkeypatch):
    for name in ("empty_cache", "reset_peak_memory_stats"):
        monkeypatch.setattr(torch.cuda, name, lambda: None)
    for name in ("max_memory_allocated", "max_memory_reserved"):
        monkeypatch.setattr(torch.cuda, name, lambda: 1)
    missing: dict[str, str] = {}
    assert TorchCudaWatch(missing, gpu_of(Card()), None).memory()["device_memory_bytes"] is None
    assert missing == {"device_memory_bytes": "NVML did not tell"}
