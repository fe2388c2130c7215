"""Tensors without data: throw-away copies of modules on the meta device, and operators that run there once.

A vision transformer runs the same operators on the same shapes in every block, and a meta kernel written in Python
takes a tenth of a millisecond to compute the shape of its result. Only the shape matters, so it is remembered.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.utils._pytree import tree_leaves

from fgbench.errors import FgbenchError

WRAPPERS = (nn.DataParallel, nn.parallel.DistributedDataParallel)

Repeat = Callable[[tuple[Any, ...], dict[str, Any]], Any]  # arguments → outputs like those of an earlier call


def meta_copy(module: nn.Module) -> nn.Module:
    """A copy of a module on the meta device. Its tensors – parameters, buffers, attributes – are not duplicated.

    Raises:
        FgbenchError: For a torch.jit module, and for parameters without a shape.

    """
    if isinstance(module, WRAPPERS):
        module = module.module  # an image on the meta device cannot be scattered over devices
    modules = list(module.modules())
    for inner in modules:
        if isinstance(inner, torch.jit.ScriptModule):
            raise FgbenchError(
                "a torch.jit module cannot be counted:", type(inner).__name__, "count its Python original"
            )
    tensors = [leaf for inner in modules for leaf in tree_leaves(vars(inner)) if isinstance(leaf, Tensor)]
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


class MetaReplay:
    """Runs operators. The result of an operator on meta tensors is repeated when it is called with the same shapes.

    This holds for operators that return new tensors, or the tensor that they wrote to. All others run every time.
    """

    def __init__(self) -> None:
        self._repeats: dict[Any, Repeat] = {}

    def run(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """The outputs of an operator for these arguments, computed or repeated."""
        try:
            before = (_signature(args), tuple((name, _signature(value)) for name, value in kwargs.items()))
            repeat = self._repeats.get((func, before))
        except (TypeError, _HoldsDataError):  # an argument that cannot be a key, or holds data
            return func(*args, **kwargs)
        if repeat is not None:
            return repeat(args, kwargs)
        outputs = func(*args, **kwargs)
        after = (_signature(args), tuple((name, _signature(value)) for name, value in kwargs.items()))
        repeat = _repeat_for(func, args, kwargs, outputs) if after == before else None  # resize_ changes arguments
        if repeat is not None:
            self._repeats[func, before] = repeat
        return outputs


class _HoldsDataError(Exception):
    """A tensor holds data: its operators have to run."""


def _signature(value: Any) -> Any:
    """Everything that the shape of a result can depend on. The type separates 1, 1.0 and True, which are equal keys."""
    if isinstance(value, Tensor):
        if value.device.type != "meta":
            raise _HoldsDataError
        return value.shape, value.stride(), value.dtype
    if isinstance(value, (list, tuple)):
        return tuple(map(_signature, value))
    return type(value), value


def _repeat_for(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], outputs: Any) -> Repeat | None:
    """A function that repeats these outputs: new tensors, or the argument that was written to. None for views."""
    schema = func._schema
    if not any(output.alias_info for output in schema.returns):
        return _new_tensors_like(outputs)
    if args and outputs is args[0] and schema.arguments[0].alias_info.is_write:
        return lambda args, kwargs: args[0]
    if outputs is kwargs.get("out"):
        return lambda args, kwargs: kwargs["out"]
    return None


def _new_tensors_like(outputs: Any) -> Repeat | None:
    is_sequence = isinstance(outputs, (tuple, list))
    tensors = outputs if is_sequence else (outputs,)
    if any(type(tensor) is not Tensor or tensor.device.type != "meta" for tensor in tensors):
        return None
    layouts = [(tensor.shape, tensor.stride(), tensor.dtype) for tensor in tensors]

    def repeat(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        new = [torch.empty_strided(size, stride, dtype=dtype, device="meta") for size, stride, dtype in layouts]
        return type(outputs)(new) if is_sequence else new[0]

    return repeat
