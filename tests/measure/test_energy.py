"""Energy per image against a device whose power and pace are known."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable

import pytest
from helpers.fake_nvml import UUID, FakeNvml
from hypothesis import given, settings
from hypothesis import strategies as st

from fgbench.measure.energy import MAX_IN_FLIGHT, Energy, measure_energy
from fgbench.measure.nvml import Gpu, NvmlUnavailable

IDLE_W = 70.0


class Device:
    """A clock, a queue that takes ``latency_s`` for an iteration, and a counter that shows the energy at its last tick.

    A launch, a look at the counter and a sleep take time on the host; a launch waits while more than ``backlog_s`` of
    work is queued, as CUDA does when its own queue is full. For ``rise_s`` after the start it draws 100 W less.
    """

    def __init__(
        self,
        latency_s: float,
        *,
        power_w: float = 400.0,
        tick_s: float = 0.1,
        phase_s: float = 0.03,
        launch_s: float = 0.0,
        look_s: float = 50e-6,
        backlog_s: float = math.inf,
        rise_s: float = 0.0,
    ) -> None:
        self.latency_s, self.power_w, self.tick_s, self.phase_s = latency_s, power_w, tick_s, phase_s
        self.launch_s, self.look_s, self.backlog_s = launch_s, look_s, backlog_s
        self.rise_s = rise_s
        self.time_s = 1000.0
        self.ends_s: list[float] = []
        self.runs: list[list[float]] = []  # [start, end] of what ran without a gap
        self.looks = self.most_in_flight = 0
        self.drained = False

    def now(self) -> float:
        return self.time_s

    def sleep(self, seconds: float) -> None:
        assert seconds > 0
        self.time_s += seconds + 60e-6

    def launch(self) -> None:
        self.time_s += self.launch_s + 1e-6
        if self.runs and self.runs[-1][1] >= self.time_s:
            self.runs[-1][1] += self.latency_s
        else:
            self.runs.append([self.time_s, self.time_s + self.latency_s])
        self.ends_s.append(self.runs[-1][1])
        self.time_s = max(self.time_s, self.ends_s[-1] - self.backlog_s)
        self.most_in_flight = max(self.most_in_flight, self.launched() - self.completed())

    def launched(self) -> int:
        return len(self.ends_s)

    def completed(self) -> int:
        return bisect_right(self.ends_s, self.time_s)

    def drain(self) -> None:
        self.time_s = max([self.time_s, *self.ends_s[-1:]])
        self.drained = True

    def read_j(self) -> float:
        self.looks += 1
        self.time_s += self.look_s
        tick_s = math.floor((self.time_s - self.phase_s) / self.tick_s) * self.tick_s + self.phase_s
        busy_s = sum(max(0.0, min(end, tick_s) - start) for start, end in self.runs)
        rising_s = min(max(0.0, tick_s - 1000), self.rise_s)
        return round(IDLE_W * tick_s + (self.power_w - IDLE_W) * busy_s - 100 * rising_s, 3)

    def idle_s(self, since_s: float) -> float:
        """Seconds after the start during which the queue was empty."""
        gaps = zip(self.runs, self.runs[1:], strict=False)
        return sum(after[0] - before[1] for before, after in gaps if after[0] > 1000.0 + since_s)


def measure(device: Device, batch_size: int = 32, read_j: Callable[[], float] | None = None, **limits: float) -> Energy:
    return measure_energy(device, read_j or device.read_j, device.now, batch_size, sleep=device.sleep, **limits)


def no_figures(energy: Energy, reason: str) -> None:
    assert energy == Energy(reason=energy.reason)
    assert energy.reason is not None
    assert reason in energy.reason


def test_joules_per_image_of_a_known_device():
    energy = measure(Device(0.030))
    assert energy.reason is None
    assert energy.energy_j_per_image == pytest.approx(400 * 0.030 / 32, rel=2e-3)
    assert energy.joules == pytest.approx(400 * energy.seconds, rel=2e-3)
    assert energy.images == pytest.approx(32 * energy.seconds / 0.030, rel=2e-3)
    assert energy.tick_s == pytest.approx(0.1, abs=0.003)
    assert 5 <= energy.seconds < 5.2


@given(
    st.floats(0.3e-3, 2.0),
    st.floats(0.001, 1.5),
    st.floats(0, 1),
    st.floats(100, 700),
    st.floats(0, 0.6),
    st.floats(10e-6, 1e-3),
    st.integers(1, 512),
)
@settings(max_examples=80, deadline=None)
def test_within_a_percent_whatever_the_period_and_the_latency(
    latency_s, tick_s, phase, power_w, launch_share, look_s, batch_size
):
    device = Device(
        latency_s,
        power_w=power_w,
        tick_s=tick_s,
        phase_s=phase * tick_s,
        launch_s=min(launch_share * latency_s, 0.03),
        look_s=look_s if latency_s > 0.002 else 10e-6,
    )
    energy = measure(device, batch_size)
    assert energy.energy_j_per_image == pytest.approx(power_w * latency_s / batch_size, rel=0.01)
    assert energy.tick_s == pytest.approx(tick_s, abs=0.006 + device.launch_s)  # it is not seen during a launch
    assert energy.seconds >= 5
    assert device.idle_s(0.5) == 0
    assert device.drained


@given(st.floats(0.2, 1.0), st.floats(3.5, 20), st.floats(1.35, 1.8))
@settings(max_examples=40, deadline=None)
def test_launches_that_block_do_not_blur_the_ticks(latency_s, ticks, backlog):
    """A launch of very many kernels waits for room; the counter, unseen meanwhile, ticked long before it returns.

    Between the launches there is time to see a tick.
    """
    energy = measure(Device(latency_s, tick_s=latency_s / ticks, backlog_s=backlog * latency_s))
    assert energy.energy_j_per_image == pytest.approx(400 * latency_s / 32, rel=3e-3)


def test_where_every_launch_blocks_it_is_measured_all_the_same():
    energy = measure(Device(0.5, tick_s=0.02, backlog_s=0.2))
    assert energy.energy_j_per_image == pytest.approx(400 * 0.5 / 32, rel=0.01)


@pytest.mark.parametrize("latency_s", [20e-6, 1e-3, 0.03, 1.0])
def test_what_is_in_flight_is_bounded_and_enough(latency_s):
    device = Device(latency_s, look_s=20e-6)
    measure(device)
    most = min(MAX_IN_FLIGHT, max(2, math.ceil(0.1 / latency_s) + 1))
    assert 2 <= device.most_in_flight <= most
    assert device.idle_s(0.5) == 0


def test_a_slow_counter_is_not_read_at_every_launch():
    device = Device(0.5e-3, launch_s=0.1e-3, look_s=1e-3)
    energy = measure(device)
    assert device.looks < 0.25 * device.launched()
    assert device.idle_s(0.5) == 0
    assert energy.energy_j_per_image == pytest.approx(400 * 0.5e-3 / 32, rel=0.01)


def test_the_host_sleeps_while_enough_is_in_flight():
    device = Device(1.0)
    measure(device)
    assert device.looks < 10 / 0.002


def test_a_host_that_cannot_keep_up_is_measured_with_its_gaps():
    """20 ms to launch what takes 5 ms: the device idles for 15 ms of every 20."""
    energy = measure(Device(0.005, launch_s=0.020))
    assert energy.energy_j_per_image == pytest.approx((400 * 0.005 + IDLE_W * 0.015) / 32, rel=0.02)


def test_what_ran_before_is_not_counted():
    device = Device(0.030)
    for _ in range(1000):
        device.launch()
    device.drain()
    device.most_in_flight = 0
    assert measure(device).energy_j_per_image == pytest.approx(400 * 0.030 / 32, rel=2e-3)
    assert device.most_in_flight <= 5


def test_the_window_opens_when_the_power_has_risen():
    energy = measure(Device(0.030, tick_s=0.02, rise_s=0.4))
    assert energy.energy_j_per_image == pytest.approx(400 * 0.030 / 32, rel=2e-3)


def test_the_window_is_as_long_as_asked_for():
    energy = measure(Device(0.030), min_s=8.0)
    assert 8 <= energy.seconds < 8.2


def test_a_counter_that_never_ticks():
    device = Device(0.030)
    no_figures(measure(device, read_j=lambda: 77.0), "did not change in 20 s")
    assert device.drained
    assert device.time_s == pytest.approx(1020, abs=0.2)


def test_a_counter_that_stops_midway():
    device = Device(0.030)
    no_figures(
        measure(device, read_j=lambda: device.read_j() if device.time_s < 1003 else 1e9),
        "changed too rarely: 31 times in 20 s",
    )
    assert device.drained


def test_a_counter_whose_period_is_too_long():
    no_figures(measure(Device(0.030, tick_s=25.0)), "changed too rarely: 1 times in 20 s")
    assert measure(Device(0.030, tick_s=25.0), cap_s=60.0).tick_s == pytest.approx(25, abs=0.01)


def test_a_counter_that_goes_backwards():
    device = Device(0.030)
    no_figures(
        measure(device, read_j=lambda: device.read_j() if device.time_s < 1003 else 12.5), "went backwards, from"
    )
    assert device.drained


def test_iterations_too_long_to_be_seen_from_end_to_end():
    no_figures(measure(Device(11.0)), "no iteration was seen from end to end in 20 s")


def test_a_gpu_lost_midway_is_a_reason():
    device, nvml = Device(0.030), FakeNvml()
    gpu = Gpu.open(UUID, nvml)

    def read_j() -> float:
        nvml.energy_mj = round(1000 * device.read_j())
        if device.time_s > 1003:
            nvml.errors["*"] = nvml.NVML_ERROR_GPU_IS_LOST
        return gpu.energy_j()

    no_figures(measure(device, read_j=read_j), "cannot be read: the GPU is lost")
    assert 1003 < device.time_s < 1004
    assert device.drained


def test_nvml_counts_in_millijoules():
    device, nvml = Device(0.030), FakeNvml()
    gpu = Gpu.open(UUID, nvml)

    def read_j() -> float:
        nvml.energy_mj = round(1000 * device.read_j())
        return gpu.energy_j()

    assert measure(device, read_j=read_j).energy_j_per_image == pytest.approx(400 * 0.030 / 32, rel=2e-3)


@pytest.mark.parametrize("nvml", [FakeNvml("MIG-"), FakeNvml(nvmlDeviceGetTotalEnergyConsumption=3)])
def test_without_a_counter_nothing_is_launched(nvml):
    device = Device(0.030)
    no_figures(measure(device, read_j=Gpu.open(UUID, nvml).energy_j), "not supported on this device")
    assert device.launched() == 0


def test_an_error_of_the_queue_is_not_swallowed():
    device = Device(0.030)
    device.launch = lambda: (_ for _ in ()).throw(RuntimeError("out of memory"))
    with pytest.raises(RuntimeError, match="out of memory"):
        measure(device)


def test_other_errors_than_nvmls_are_not_taken_for_one():
    def read_j() -> float:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        measure(Device(0.030), read_j=read_j)
    assert not issubclass(ZeroDivisionError, NvmlUnavailable)
