"""Dynamic quantization to int8 in torch: weights once, activations in every run."""

from __future__ import annotations

import warnings
from typing import Any

from torch import nn
from torch.ao.nn.quantized.dynamic import Linear as QuantizedLinear
from torch.ao.quantization import quantize_dynamic


def quantize_linear(network: nn.Module) -> nn.Module:
    """Quantize the linear layers of a network; convolutions and products of activations stay in float32.

    Args:
        network: On the CPU.

    Returns:
        The network with other layers in their place.

    """
    layers = {name for name, module in network.named_modules() if _can_be_quantized(name, module, network)}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch names torchao as the successor, which is slower on a CPU in eager mode
        quantized: nn.Module = quantize_dynamic(network, layers, inplace=True)
    return quantized


def _can_be_quantized(name: str, module: nn.Module, network: nn.Module) -> bool:
    """Whether a module is a linear layer that nobody reads the weight of, but for a joint projection with its bias."""
    if type(module) is not nn.Linear:
        return False
    parent: Any = network.get_submodule(name.rpartition(".")[0])
    return getattr(parent, "q_bias", None) is None and not isinstance(parent, nn.MultiheadAttention)


def quantized_weights(before: int, network: nn.Module) -> dict[str, float]:
    """How much of a network is quantized.

    Args:
        before: Its number of parameters in float.
        network: The network with quantized layers.

    Returns:
        ``quantized_layers``, and ``quantized_percent`` of the parameters.

    """
    layers = [module for module in network.modules() if isinstance(module, QuantizedLinear)]
    left = sum(parameter.numel() for parameter in network.parameters())
    return {"quantized_layers": len(layers), "quantized_percent": 100 * (1 - left / before) if before else 0.0}
