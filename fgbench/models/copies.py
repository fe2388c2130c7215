"""Copies of networks on other devices."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn


def copy_to(network: nn.Module, device: str | torch.device) -> nn.Module:
    """A copy of a network in float32; what is shared stays shared, and what is frozen stays frozen.

    Args:
        network: It stays as it is.
        device: Where the copy lives; on the meta device it has shapes alone, and no memory is taken.

    """
    if torch.device(device).type != "meta":
        return copy.deepcopy(network).float().to(device)
    tensors: list[Tensor] = [*network.parameters(), *network.buffers()]  # each once
    return copy.deepcopy(network, {id(tensor): _on_meta(tensor) for tensor in tensors})


def _on_meta(tensor: Tensor) -> Tensor:
    dtype = torch.float32 if tensor.is_floating_point() else tensor.dtype
    empty = torch.empty_like(tensor, device="meta", dtype=dtype)
    return nn.Parameter(empty, tensor.requires_grad) if isinstance(tensor, nn.Parameter) else empty
