"""Static post-training quantization to int8, calibrated on drawn pictures.

Layers with weights are quantized: convolutions and products with a constant matrix. Products of activations, which are
attention and selection, stay in float32: a selector compares scores that lie close to each other.
"""

from __future__ import annotations

import contextlib
import io
import logging
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from fgbench.deploy.onnx_export import INPUT, bytes_of, data_of
from fgbench.deploy.openvino_model import read_openvino
from fgbench.deploy.pictures import CALIBRATED, SEED, drawn_pictures
from fgbench.packages import need

CALIBRATION_PICTURES = 32
LARGE = 1.5 * 2**30  # bytes; a file of ONNX holds 2 GB, and the rest lies beside it
LAYERS = ("Conv", "Gemm", "MatMul")


def calibration(images: Tensor) -> tuple[Tensor, str]:
    """The pictures that a network of such images (B, 3, S, S) is calibrated on, and what they are, in words."""
    height, width = (int(side) for side in images.shape[-2:])
    pictures = drawn_pictures(CALIBRATION_PICTURES, height, width, CALIBRATED)
    return pictures, f"{CALIBRATION_PICTURES} drawn pictures (synthetic, split {CALIBRATED}, seed {SEED})"


def quantize_onnx(source: Path, target: Path, pictures: Tensor) -> dict[str, Any]:
    """Quantize an ONNX file by ONNX Runtime: weights by channel, activations by tensor.

    Args:
        source: The file in float32.
        target: The file in int8.
        pictures: (n, 3, S, S) in float32.

    Returns:
        Facts: seconds and bytes.

    Raises:
        FgbenchError: If a package is not installed.

    """
    need("onnx", "onnx", "onnxruntime")
    import onnx
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Pictures(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self.rest: Iterator[NDArray[Any]] = iter(pictures.numpy())

        def get_next(self) -> dict[str, NDArray[Any]] | None:
            picture = next(self.rest, None)
            return None if picture is None else {INPUT: picture[np.newaxis]}

    start = time.monotonic()
    prepared, is_large = target.with_suffix(".prepared.onnx"), bytes_of(source) > LARGE
    beside: dict[str, Any] = {"save_as_external_data": True, "all_tensors_to_one_file": True} if is_large else {}
    quant_pre_process(str(source), str(prepared), skip_symbolic_shape=True, **beside)
    quantize_static(
        str(prepared),
        str(target),
        Pictures(),
        quant_format=QuantFormat.QDQ,
        op_types_to_quantize=list(LAYERS),
        nodes_to_quantize=layers_with_weights(onnx.load(str(prepared), load_external_data=False)),
        per_channel=True,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        reduce_range=not _has_dot_products(),
        use_external_data_format=is_large,
    )
    for file in (prepared, *data_of(prepared)):
        file.unlink()
    return {"quantize_s": time.monotonic() - start, "int8_file_bytes": bytes_of(target)}


def quantize_openvino(source: Path, target: Path, pictures: Tensor) -> dict[str, Any]:
    """Quantize an ONNX file for OpenVINO by NNCF.

    Args:
        source: The file in float32.
        target: The ``.xml`` file of OpenVINO; its weights lie beside it.
        pictures: (n, 3, S, S) in float32.

    Returns:
        Facts: seconds and bytes.

    Raises:
        FgbenchError: If a package is not installed.

    """
    need("openvino", "openvino", "nncf")
    import nncf
    import openvino

    start = time.monotonic()
    model = read_openvino(source)
    products = [
        node.get_friendly_name()
        for node in model.get_ops()
        if node.get_type_name() == "MatMul" and not any(map(_is_constant, node.inputs()))
    ]
    nncf.set_log_level(logging.ERROR)
    with contextlib.redirect_stdout(io.StringIO()):  # its progress bars
        quantized = nncf.quantize(
            model,
            nncf.Dataset([picture[np.newaxis] for picture in pictures.numpy()]),
            subset_size=len(pictures),
            model_type=nncf.ModelType.TRANSFORMER,
            ignored_scope=nncf.IgnoredScope(names=products) if products else None,
        )
    openvino.save_model(quantized, target, compress_to_fp16=False)
    size = target.stat().st_size + target.with_suffix(".bin").stat().st_size
    return {"quantize_s": time.monotonic() - start, "int8_file_bytes": size}


def layers_with_weights(model: Any) -> list[str]:
    """The names of the nodes of an ONNX model that multiply by a constant."""
    constants = {tensor.name for tensor in model.graph.initializer}
    constants |= {node.output[0] for node in model.graph.node if node.op_type == "Constant"}
    return [
        node.name
        for node in model.graph.node
        if node.op_type in LAYERS and any(name in constants for name in node.input[:2])
    ]


def _is_constant(entry: Any) -> bool:
    """Whether an input of an OpenVINO node is a constant, converted or transposed perhaps."""
    node = entry.get_source_output().get_node()
    while node.get_type_name() in ("Convert", "Transpose", "Reshape"):
        node = node.input(0).get_source_output().get_node()
    return bool(node.get_type_name() == "Constant")


def _has_dot_products() -> bool:
    """Whether the processor sums products of bytes without overflow; others need a bit of reserve."""
    try:
        flags = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return False
    return any(flag in flags for flag in ("avx512_vnni", "avx_vnni", "asimddp"))
