"""Functions that return networks are called in workers of their own: one that ends its worker costs nothing else."""

from __future__ import annotations

import pytest
from helpers.sweeping import sweep

from fgbench.errors import FgbenchError

FILE = """
import os
import time

import torch
from torch import nn

def good():
    torch.manual_seed(0)
    return nn.Sequential(nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(12, 10))

def ends():
    os._exit(7)

def raises():
    raise RuntimeError("no weights here")

def nothing():
    return 7

class Odd:
    def __call__(self):
        return good()

odd = Odd()

class Scaled(nn.Sequential):
    def forward(self, images):
        return super().forward(images) * self.factor

def scaled(factor):
    network = Scaled(*good())
    network.factor = factor
    return network

def nan():
    return scaled(float("nan"))

def infinite():
    return scaled(float("inf"))

def sleeps():
    time.sleep(1000)

def of_some_sizes(img_size):
    if img_size == 48:
        os._exit(7)
    return good()
"""
OPTIONS = {"backbones": None, "image_sizes": [32], "batch_sizes": [2]}


def names(folder, *functions: str) -> list[str]:
    (folder / "net.py").write_text(FILE)
    return [f"{folder / 'net.py'}:{function}" for function in functions]


@pytest.mark.slow
def test_each_function_that_fails_has_a_line_and_the_others_are_measured(pool, tmp_path):
    problems: list = []
    models = names(tmp_path, "ends", "good", "raises", "nothing", "odd")
    models.append(f"{tmp_path / 'nowhere.py'}:net")
    rows = sweep(pool, tmp_path / "s.db", problems, models=models, **OPTIONS).rows
    assert [(row.model, row.latency_s is not None) for row in rows] == [(models[1], True), (models[4], True)]
    said = list(map(str, problems))
    assert len(said) == 4, said
    assert all("\n" not in line for line in said)
    for words, line in zip(("exit", "no weights here", "nn.Module", "no file with a function"), said, strict=True):
        assert words in line


@pytest.mark.slow
def test_a_function_that_ends_its_worker_at_one_size_is_measured_at_the_others(pool, tmp_path):
    problems: list = []
    (name,) = names(tmp_path, "of_some_sizes")
    rows = sweep(pool, tmp_path / "s.db", problems, models=[name], **OPTIONS | {"image_sizes": [32, 48, 64]}).rows
    assert [row.image_size for row in rows] == [32, 64]
    assert [str(problem) for problem in problems] == [
        f"{name!r} cannot be built at 48: the worker left with exit code 7"
    ]


def test_where_none_is_left_each_is_named(pool, tmp_path):
    problems: list = []
    with pytest.raises(FgbenchError, match="must return an nn"):
        sweep(pool, tmp_path / "s.db", problems, models=names(tmp_path, "raises", "nothing"), **OPTIONS)
    assert len(problems) == 1
    assert "no weights here" in str(problems[0])


@pytest.mark.slow
def test_an_export_has_more_memory_than_the_model_may_take(pool, tmp_path):
    """The limit is that of what is measured: loading torch's exporter alone takes more."""
    (row,) = sweep(
        pool,
        tmp_path / "s.db",
        models=names(tmp_path, "good"),
        engines=["onnxruntime"],
        memory_limit_bytes=64 * 2**20,
        **OPTIONS,
    ).rows
    assert row.environment["export"]["file_bytes"] > 0
    assert row.environment["model_file"] == str(tmp_path / "net.py")
    assert row.status != "oom" or "export" not in row.reason


@pytest.mark.slow
@pytest.mark.parametrize(("function", "kind"), [("nan", "NaN"), ("infinite", "infinity")])
def test_logits_that_are_not_finite_have_no_time(pool, tmp_path, function, kind):
    engines = ["torch", "onnxruntime"]
    rows = sweep(pool, tmp_path / "s.db", models=names(tmp_path, function), engines=engines, **OPTIONS).rows
    assert [(row.status, row.latency_s) for row in rows] == [("error", None), ("error", None)]
    reasons = {row.engine: row.reason for row in rows}
    assert reasons["torch"] == f"wrong output: its logits are not finite ({kind})"
    assert reasons["onnxruntime"].endswith(f"the logits of torch in float32 are not finite ({kind})")
    assert not any("agreement" in row.environment["missing"] for row in rows)


@pytest.mark.slow
def test_the_time_of_a_point_bounds_the_building_of_a_model(pool, tmp_path):
    (name,) = names(tmp_path, "sleeps")
    with pytest.raises(FgbenchError) as raised:
        sweep(pool, tmp_path / "s.db", models=[name], **OPTIONS | {"timeout_s": 2.0})
    assert str(raised.value) == f"{name!r} cannot be built at 32: no result within 2 s"
