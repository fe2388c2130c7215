"""Models that reduce tokens as ONNX files: fixed numbers of tokens, and of ATS the most that can be."""

from __future__ import annotations

import onnxruntime
import pytest
import torch

import fgbench
from fgbench.deploy.onnx_export import INPUT, export_onnx
from fgbench.deploy.pictures import drawn_pictures
from fgbench.plugins.kinds import reductions

SIZE = 64


@pytest.mark.parametrize(
    "reduction",
    [pytest.param(name, marks=() if name in ("evit", "tome") else pytest.mark.thorough) for name in reductions.names()],
)
def test_a_reduced_vit_computes_the_same_in_onnx_runtime(reduction, tmp_path):
    torch.manual_seed(0)
    name = f"vit+{reduction}+at=2-4"
    network = fgbench.create_model(name, "test_vit", img_size=SIZE, num_classes=20).eval()
    pictures = drawn_pictures(3, SIZE, SIZE)
    path = tmp_path / "model.onnx"
    exported = export_onnx(network, pictures[:2], path)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    for images in (pictures, pictures[:1]):
        with torch.inference_mode():
            expected = network(images)
        found = torch.from_numpy(session.run(["logits"], {INPUT: images.numpy()})[0])
        assert (found - expected).abs().max() <= 1e-5 * expected.abs().max().clamp_min(1)
    assert exported.outputs[0] == "logits"
