"""Layers with weights are quantized, products of activations are not."""

from __future__ import annotations

import onnx
import onnxruntime
import openvino
import pytest
import torch
from torch import nn

from fgbench.deploy.onnx_export import INPUT, export_onnx
from fgbench.deploy.pictures import CALIBRATED, drawn_pictures
from fgbench.deploy.quantize import calibration, layers_with_weights, quantize_onnx, quantize_openvino
from fgbench.deploy.quantize_torch import quantize_linear


class Attending(nn.Module):
    """A convolution, a product of activations with each other, and a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.head = nn.Conv2d(3, 8, 8, 8), nn.Linear(8, 5)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        x = self.conv(images).flatten(2)
        return self.head((x @ (x.transpose(1, 2) @ x).softmax(dim=-1)).mean(dim=-1))


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    torch.manual_seed(0)
    network, path = Attending().eval(), tmp_path_factory.mktemp("exported") / "model.onnx"
    export_onnx(network, drawn_pictures(2, 32, 32), path)
    with torch.inference_mode():
        return network, path, network(drawn_pictures(4, 32, 32)).numpy()


def near(found, truth) -> bool:
    """Not the same, since it is quantized, and not far off."""
    return 0 < abs(found - truth).max() < 0.3 * abs(truth).max()


def test_onnxruntime(exported, tmp_path):
    _, path, truth = exported
    facts = quantize_onnx(path, tmp_path / "int8.onnx", drawn_pictures(8, 32, 32, CALIBRATED))
    assert facts["int8_file_bytes"] == (tmp_path / "int8.onnx").stat().st_size
    model = onnx.load(tmp_path / "int8.onnx")
    weights = [tensor for tensor in model.graph.initializer if tensor.data_type == onnx.TensorProto.INT8]
    assert sorted(len(tensor.dims) for tensor in weights if len(tensor.dims) > 1) == [2, 4]
    made = {output: node for node in model.graph.node for output in node.output}
    products = [node for node in model.graph.node if node.op_type == "MatMul" and node.name]
    quantized = [[made.get(name) and made[name].op_type for name in node.input] for node in products]
    assert sum(kinds.count("DequantizeLinear") == 2 for kinds in quantized) <= 1, "only the linear layer, if at all"
    session = onnxruntime.InferenceSession(str(tmp_path / "int8.onnx"), providers=["CPUExecutionProvider"])
    assert near(session.run(["logits"], {INPUT: drawn_pictures(4, 32, 32).numpy()})[0], truth)
    assert len(layers_with_weights(onnx.load(path))) == 2


def test_openvino(exported, tmp_path):
    _, path, truth = exported
    facts = quantize_openvino(path, tmp_path / "int8.xml", drawn_pictures(8, 32, 32, CALIBRATED))
    assert facts["int8_file_bytes"] > 0
    model = openvino.Core().read_model(tmp_path / "int8.xml")
    kinds = [str(node.get_element_type()) for node in model.get_ops() if node.get_type_name() == "Constant"]
    assert any("8" in kind for kind in kinds)
    compiled = openvino.Core().compile_model(model, "CPU")
    assert near(compiled({INPUT: drawn_pictures(4, 32, 32).numpy()})["logits"], truth)


def test_torch(exported):
    network, _, truth = exported
    quantized = quantize_linear(Attending().eval())
    assert not isinstance(quantized.head, nn.Linear)
    assert isinstance(quantized.conv, nn.Conv2d)
    quantized.conv.load_state_dict(network.conv.state_dict())
    with torch.inference_mode():
        assert quantized(drawn_pictures(4, 32, 32)).shape == truth.shape


def test_calibration_is_said():
    pictures, words = calibration(torch.zeros(1, 3, 32, 48))
    assert pictures.shape == (32, 3, 32, 48)
    assert words == "32 drawn pictures (synthetic, split train, seed 20)"
