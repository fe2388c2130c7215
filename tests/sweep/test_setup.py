"""The setup that sweeps share, and the GPU that their workers open."""

from __future__ import annotations

import sys

import pytest
from helpers.fake_nvml import UUID, FakeNvml

from fgbench.measure.engines.torch_cuda import TorchCuda
from fgbench.measure.points import RunMode
from fgbench.results.records import Status
from fgbench.sweep.setup import IN_KEY, key_facts, measure_rates
from fgbench.sweep.worker import Worker
from fgbench.workers.pool import WorkerFailed

MODE = {"device": "cuda"}
POINT = {"selector": "gls", "impl": "fast", "image_size": 32, "batch_size": 1}


class Pool:
    """Workers that answer from a table, and hand on what they are asked."""

    def __init__(self, **answers):
        self.answers, self.asked = answers, []

    def fork(self):
        return self

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def ask(self, do, limit_s, tick, **arguments):
        tick()
        self.asked.append((do, arguments["uuid"]))
        if isinstance(self.answers[do], WorkerFailed):
            raise self.answers[do]
        return self.answers[do]


def test_rates_are_measured_on_the_gpu_of_the_sweep_while_the_claim_is_renewed():
    pool, ticks = Pool(rate={"flop_s": 2.0}, copies={"bytes_s": 3.0}), []
    rates = measure_rates(pool, RunMode(device="cuda"), UUID, lambda: ticks.append(1))
    assert (rates.flop_s, rates.bytes_s, rates.why, rates.why_no_copies) == (2.0, 3.0, None, None)
    assert pool.asked == [("rate", UUID), ("copies", UUID)]
    assert len(ticks) == 2


def test_one_rate_that_cannot_be_measured_leaves_the_other():
    pool = Pool(rate={"flop_s": 2.0}, copies=WorkerFailed(Status.OOM, "no room"))
    rates = measure_rates(pool, RunMode(), None, lambda: None)
    assert (rates.flop_s, rates.bytes_s, rates.why) == (2.0, None, None)
    assert rates.why_no_copies == "the rate of copies could not be measured: no room"


def test_a_key_has_every_fact_also_where_the_environment_lacks_it():
    facts = key_facts({"torch": "2.x", "time": "now", "engine": "mine"}, "engine")
    assert set(facts) == {*IN_KEY, "engine"}
    assert (facts["torch"], facts["engine"], facts["driver"]) == ("2.x", "mine", None)


class Card(TorchCuda):
    """An engine of a GPU that is not there."""

    def __init__(self, mode, device):
        self.mode, self.device = mode, device

    def limit_memory(self):
        pass


@pytest.mark.parametrize(
    ("do", "arguments"),
    [
        ("rate", {}),
        ("copies", {}),
        ("measure_selection", {**POINT, "cap_s": 1.0}),
        ("measure_backends", {"maps": 12, "num_tokens": 5, "cap_s": 1.0}),
    ],
)
def test_a_worker_opens_the_gpu_that_it_is_told_and_not_the_first(do, arguments, monkeypatch):
    nvml = FakeNvml()
    monkeypatch.setitem(sys.modules, "pynvml", nvml)
    monkeypatch.setattr("fgbench.measure.devices.SETTLE_S", 0.0)
    monkeypatch.setattr("fgbench.measure.devices._MEMORY_BEFORE", {})
    monkeypatch.setattr("fgbench.measure.engine_registry.find_engine", lambda name, device: (Card, device))
    opened = []
    for name in ("matrix_rate", "copy_rate"):
        monkeypatch.setattr(f"fgbench.sweep.worker.{name}", opened.append)
    monkeypatch.setattr("fgbench.sweep.worker.measure_selection", lambda subject, engine, *_: opened.append(engine))
    monkeypatch.setattr("fgbench.sweep.worker.measure_kernels", lambda engine, *_: opened.append(engine))
    Worker(messages=None).requests[do](**arguments, mode=MODE, uuid=UUID)
    assert opened[0].device.busy == "the GPU was 97 % busy with others at the start"
    assert "nvmlDeviceGetHandleByUUID" in nvml.calls
    assert nvml.opened_index is None
