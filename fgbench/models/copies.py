"""Copies of networks on other devices."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from fgbench.errors import FgbenchError

WEIGHTS = ("torchao", "bitsandbytes")  # packages whose classes of weights hold quantized numbers
FLOAT = ("FloatFunctional", "FXFloatFunctional")  # sums in float, though torch keeps them beside quantized layers


def copy_to(network: nn.Module, device: str | torch.device, name: str = "the network") -> nn.Module:
    """A copy of a network in float32; what is shared stays shared, and what is frozen stays frozen.

    Args:
        network: It stays as it is.
        device: Where the copy lives; on the meta device it has shapes alone, and no memory is taken.
        name: Of the network, in messages.

    Raises:
        FgbenchError: If layers or weights of the network are quantized.

    """
    _refuse_quantized(network, name)
    if torch.device(device).type != "meta":
        return copy.deepcopy(network).float().to(device)
    tensors: list[Tensor] = [*network.parameters(), *network.buffers()]  # each once
    return copy.deepcopy(network, {id(tensor): _on_meta(tensor) for tensor in tensors})


def _refuse_quantized(network: nn.Module, name: str) -> None:
    """Raise an error for quantized layers and weights: a row of float32 would be theirs."""
    found = [kind for kind in map(_full_name, network.modules()) if _is_quantized(kind)]
    for tensor in (*network.parameters(), *network.buffers()):
        if tensor.is_quantized or type(tensor).__module__.partition(".")[0] in WEIGHTS:
            found.append(f"{type(tensor).__name__} of {tensor.dtype}")
    if found:
        raise FgbenchError(f"{name} has quantized layers:", found[0], "return it in float and use --dtype int8")


def _is_quantized(name: str) -> bool:
    """Whether a class, by its name with its package, is one of torch's quantized layers."""
    *package, kind = name.removeprefix("__torch__.").split(".")
    return package[:1] == ["torch"] and "quantized" in package and kind not in FLOAT


def _full_name(module: nn.Module) -> str:
    """The class of a module with its package; of a scripted or traced one, the class that it was made from."""
    if isinstance(module, torch.jit.ScriptModule):
        return str(module._c._type().qualified_name())
    return f"{type(module).__module__}.{type(module).__name__}"


def _on_meta(tensor: Tensor) -> Tensor:
    dtype = torch.float32 if tensor.is_floating_point() else tensor.dtype
    empty = torch.empty_like(tensor, device="meta", dtype=dtype)
    return nn.Parameter(empty, tensor.requires_grad) if isinstance(tensor, nn.Parameter) else empty
