"""A sweep exports a model once for all engines, and names what cannot be exported while it measures the others."""

from __future__ import annotations

from pathlib import Path

import pytest
from helpers.sweeping import request

from fgbench.results.store import Store
from fgbench.sweep.context import open_sweep
from fgbench.sweep.sweep import Sweep

FILE = """
import torch
from torch import nn

class Bessel(nn.Module):
    def forward(self, images):
        return torch.special.bessel_j0(images.mean(dim=(2, 3)))

def good(num_classes=10):
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3, 2), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, num_classes))

def bad():
    return Bessel()
"""


@pytest.mark.slow
def test_engines_share_an_export_and_what_cannot_be_exported_is_named(pool, tmp_path):
    (tmp_path / "net.py").write_text(FILE, encoding="utf-8")
    names = [f"{tmp_path / 'net.py'}:{name}" for name in ("bad", "good")]
    problems: list = []
    asked = request(
        models=names,
        backbones=None,
        image_sizes=[32],
        batch_sizes=[1, 3],
        engines=["onnxruntime", "openvino", "torch"],
        num_classes=10,
    )
    context = open_sweep(asked, pool, problems.append)
    with Store(tmp_path / "s.db") as store:
        sweep = Sweep(context=context, store=store, pool=pool, on_problem=problems.append)
        sweep.run()
    folder = Path(context.preparations._folder.path)
    assert len(list(folder.rglob("model.onnx"))) == 1
    context.preparations.close()
    assert not folder.exists()
    said = [str(problem) for problem in problems]
    assert len(said) == 2, said
    assert all("bad" in line and "aten.special_bessel_j0" in line and "\n" not in line for line in said), said
    assert [line.count("in onnxruntime") + 2 * line.count("in openvino") for line in said] == [1, 2]
    found = [(Path(row.model).name, row.engine, row.batch_size) for row in sweep.rows]
    engines = ("onnxruntime", "openvino", "torch")
    good = [("net.py:good", engine, size) for engine in engines for size in (1, 3)]
    assert found == [("net.py:bad", "torch", 1), ("net.py:bad", "torch", 3), *good]
    for row in sweep.rows:
        assert row.latency_s > 0, row.reason
        if row.engine == "torch":
            assert row.agreement is None
            continue
        assert row.agreement["equal_top1_percent"] == 100
        assert row.agreement["largest_logit_difference"] < 1e-5
        assert row.environment["export"]["file_bytes"] > 0
        assert row.environment["export"]["opset"] == 20
