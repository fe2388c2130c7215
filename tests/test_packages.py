"""A package that is not installed is named with the extra that has it."""

from __future__ import annotations

import importlib.util

import pytest
from typer.testing import CliRunner

from fgbench.cli import app
from fgbench.errors import FgbenchError
from fgbench.packages import need, why_missing


def test_what_is_there_is_not_missing():
    assert why_missing("onnx", ["onnx", "json"]) is None
    need("onnx", "onnx")


@pytest.mark.parametrize(
    ("packages", "said"),
    [
        (["json", "no_such_package"], "no_such_package is not installed: pip install 'fgbench[onnx]'"),
        (["neither", "nor"], "neither and nor are not installed: pip install 'fgbench[onnx]'"),
    ],
)
def test_what_is_missing_is_named_with_its_extra(packages, said):
    assert why_missing("onnx", packages) == said
    with pytest.raises(FgbenchError) as caught:
        need("onnx", *packages)
    assert str(caught.value) == said


@pytest.mark.skipif(importlib.util.find_spec("tensorrt") is not None, reason="tensorrt is installed")
@pytest.mark.slow
def test_an_engine_that_is_not_installed_is_refused_and_the_others_are_measured(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    small = ("--model", "vit", "--backbones", "test_vit", "--sizes", "32", "--batch-sizes", "1", "--max-time", "0.05s")
    words = ("throughput", *small, "--engine", "tensorrt", "torch", "--threads", "1", "--format", "csv")
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 2
    assert len(result.stdout.splitlines()) == 2
    refusals = [line for line in result.stderr.splitlines() if "tensorrt" in line]
    assert refusals == [
        "fgbench: engine 'tensorrt' cannot be used: tensorrt is not installed: pip install 'fgbench[tensorrt]'"
    ]
