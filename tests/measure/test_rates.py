"""The rates of a device: of matrix products and of copies."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from fgbench.errors import FgbenchError
from fgbench.measure.devices import Cpu
from fgbench.measure.engines.torch_cpu import TorchCpu
from fgbench.measure.engines.torch_cuda import TorchCuda
from fgbench.measure.points import RunMode
from fgbench.measure.rates import copy_rate, matrix_rate, open_torch, typical_s

ONE = RunMode(threads=1)
CPU = TorchCpu(ONE, Cpu())


@pytest.fixture(autouse=True)
def same_threads_as_before():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize(("rate", "sides"), [(1e11, [1024]), (1e12, [1024, 4096])])
def test_the_rate_of_matrix_products_is_that_of_the_first_side_that_takes_long_enough(monkeypatch, rate, sides):
    assert matrix_rate(CPU) > 0
    seen = []

    def seconds(_, side: int) -> float:
        seen.append(side)
        return 2 * side**3 / rate

    monkeypatch.setattr("fgbench.measure.rates._product_s", seconds)
    assert matrix_rate(CPU) == pytest.approx(rate)
    assert seen == sides


def test_the_fastest_product_counts_on_a_cpu(monkeypatch):
    times = iter([9.0, 0.5, *[0.3, 0.2, 0.4] * 100])
    clock = SimpleNamespace(run=lambda iterations: [next(times) for _ in range(iterations)])
    monkeypatch.setattr(TorchCpu, "clock", lambda *_: clock)
    assert typical_s(CPU, lambda: None) == 0.2


def test_the_median_product_counts_on_a_gpu():
    assert TorchCuda.typical(None, [0.3, 0.2, 0.4]) == 0.3


def test_copies_have_a_rate(monkeypatch):
    monkeypatch.setattr(TorchCpu, "copied_elements", 2**16)
    assert 1e8 < copy_rate(CPU) < 1e13


def test_rates_are_the_devices_whatever_engine_runs_on_it():
    assert isinstance(open_torch(replace(ONE, engine="another")), TorchCpu)
    with pytest.raises(FgbenchError, match="torch does not multiply matrices in 'int8'"):
        open_torch(replace(ONE, dtype="int8"))
