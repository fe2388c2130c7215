"""Read an exported file into OpenVINO without losing the order of equal elements."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def read_openvino(path: Path) -> Any:
    """Read an ONNX file, or one of OpenVINO.

    ONNX has the lower index first among equal elements of a TopK. OpenVINO reads such a TopK as one without an order
    among them, and selects other patches where scores are equal; here it is made stable.

    Args:
        path: The file.

    Returns:
        The ``openvino.Model``.

    """
    import openvino
    from openvino import opset11

    model = openvino.Core().read_model(path)
    for node in model.get_ops():
        attributes = node.get_attributes()
        if node.get_type_name() != "TopK" or attributes.get("stable"):
            continue
        named = {name: attributes[name] for name in ("axis", "mode", "sort", "index_element_type")}
        if str(named["sort"]).lower() == "none":  # in any order is in this one, too
            named["sort"] = "value"
        ordered = opset11.topk(node.input_value(0), node.input_value(1), **named, stable=True)
        ordered.set_friendly_name(node.get_friendly_name())
        for before, after in zip(node.outputs(), ordered.outputs(), strict=True):
            before.replace(after)
    model.validate_nodes_and_infer_types()
    return model
