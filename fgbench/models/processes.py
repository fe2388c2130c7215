"""Training in several processes: what depends on the whole batch is computed from the images of all of them."""

from __future__ import annotations

import torch
from torch import Tensor, distributed


def is_shared() -> bool:
    """Whether several processes train together."""
    return distributed.is_available() and distributed.is_initialized()


def of_all_processes(tensor: Tensor) -> Tensor:
    """The tensors (B, …) of all processes, one after another; in a single process the tensor itself."""
    if not is_shared():
        return tensor
    tensors = [torch.empty_like(tensor) for _ in range(distributed.get_world_size())]
    distributed.all_gather(tensors, tensor.contiguous())
    return torch.cat(tensors)
