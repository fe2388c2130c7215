"""A module without its data: a throw-away copy on the meta device."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.utils._pytree import tree_leaves

from fgbench.errors import FgbenchError

WRAPPERS = (nn.DataParallel, nn.parallel.DistributedDataParallel)


def meta_copy(module: nn.Module) -> nn.Module:
    """A copy of a module on the meta device; its tensors – parameters, buffers, plain attributes – are not duplicated.

    Raises :class:`FgbenchError` where a copy cannot be had or would not show what runs.
    """
    if isinstance(module, WRAPPERS):
        module = module.module  # an image on the meta device cannot be scattered over others
    parts = list(module.modules())
    for part in parts:
        if isinstance(part, torch.jit.ScriptModule):
            raise FgbenchError(
                "a torch.jit module cannot be counted:", type(part).__name__, "count its Python original"
            )
    tensors = [leaf for part in parts for leaf in tree_leaves(vars(part)) if isinstance(leaf, Tensor)]
    if any(is_lazy(tensor) for tensor in tensors):
        raise FgbenchError(
            "a module whose parameters have no shape yet cannot be counted:",
            type(module).__name__,
            "run it once, so that its lazy layers meet their input",
        )
    copied = copy.deepcopy(module, {id(tensor): _to_meta(tensor) for tensor in tensors})
    return copied.requires_grad_(False)


def _to_meta(tensor: Tensor) -> Tensor:
    empty = torch.empty_like(tensor, device="meta")
    return nn.Parameter(empty, requires_grad=False) if isinstance(tensor, nn.Parameter) else empty
