"""Run an operator on meta tensors once per signature, and repeat its result after that.

A vision transformer runs the same operators on the same shapes twelve times over, and a meta kernel written in
Python takes a tenth of a millisecond each time to say which shape comes out. Tensors without data have nothing else
to tell, so the shape is remembered.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

Remembered = Callable[[tuple[Any, ...], dict[str, Any]], Any]


class MetaReplay:
    """Runs operators; those on meta tensors alone that return new tensors, or what they wrote to, only once."""

    def __init__(self) -> None:
        self._remembered: dict[Any, Remembered] = {}

    def run(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """The operator's outputs, computed or repeated."""
        try:
            given = (_signature(args), tuple((name, _signature(value)) for name, value in kwargs.items()))
            found = self._remembered.get((func, given))
        except (TypeError, _HoldsDataError):  # an argument that cannot be a key, or holds data
            return func(*args, **kwargs)
        if found is not None:
            return found(args, kwargs)
        outputs = func(*args, **kwargs)
        left = (_signature(args), tuple((name, _signature(value)) for name, value in kwargs.items()))
        repeat = _how_to_repeat(func, args, kwargs, outputs) if left == given else None  # resize_ and the like
        if repeat is not None:
            self._remembered[func, given] = repeat
        return outputs


class _HoldsDataError(Exception):
    """A tensor holds data: its operators have to run."""


def _signature(value: Any) -> Any:
    """All that the shape of a result can depend on. The type tells 1 from 1.0 and True, which are equal keys."""
    if isinstance(value, Tensor):
        if value.device.type != "meta":
            raise _HoldsDataError
        return value.shape, value.stride(), value.dtype
    if isinstance(value, (list, tuple)):
        return tuple(map(_signature, value))
    return type(value), value


def _how_to_repeat(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], outputs: Any) -> Remembered | None:
    """A way to repeat these outputs: made anew, or the argument that was written to. None for views."""
    schema = func._schema
    if not any(output.alias_info for output in schema.returns):
        return _made_anew(outputs)
    if args and outputs is args[0] and schema.arguments[0].alias_info.is_write:
        return lambda args, kwargs: args[0]
    if outputs is kwargs.get("out"):
        return lambda args, kwargs: kwargs["out"]
    return None


def _made_anew(outputs: Any) -> Remembered | None:
    several = isinstance(outputs, (tuple, list))
    tensors = outputs if several else (outputs,)
    if any(type(tensor) is not Tensor or tensor.device.type != "meta" for tensor in tensors):
        return None
    layouts = [(tensor.shape, tensor.stride(), tensor.dtype) for tensor in tensors]

    def repeat(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        made = [torch.empty_strided(size, stride, dtype=dtype, device="meta") for size, stride, dtype in layouts]
        return type(outputs)(made) if several else made[0]

    return repeat
