"""Bytes that an operator moves, and bytes of the tensors that it makes.

An operator reads every argument once and writes every result once. A result that is neither a view nor written in place
is a new tensor.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from fgbench.flops.handlers import MARKS
from fgbench.flops.operators import BAGS, EMPTY, OVERWRITING, PICKING, UNTOUCHED

SAVING = ("_norm", "_norm_legit", "_norm_legit_no_training", "_norm_no_update", *BAGS)


@dataclass(frozen=True, slots=True)
class Traffic:
    """How an operator uses memory, by its schema.

    Args:
        touches: Whether it reads or writes memory.
        makes: Whether it returns new tensors.
        picks: Whether it reads as many bytes of its first argument as it returns.
        looks_up: Whether it reads the rows of its first argument that the second argument names.
        saves: Whether it also returns statistics for its gradient, which are not counted.
        may_be_view: Whether its result can share memory with an argument; then nothing is moved.
        read: Whether it reads each argument.

    """

    touches: bool
    makes: bool
    picks: bool
    looks_up: bool
    saves: bool
    may_be_view: bool
    read: tuple[bool, ...]

    @classmethod
    def of(cls, schema: Any) -> Traffic:
        """The traffic of an operator by its schema."""
        name = schema.name.removeprefix("aten::")
        plain = name[:-1] if name.endswith("_") and not name.endswith("__") else name
        written = [argument.alias_info is not None and argument.alias_info.is_write for argument in schema.arguments]
        results = [output.alias_info for output in schema.returns]
        return cls(
            touches=not (plain in UNTOUCHED or schema.name in MARKS),
            makes=not (plain in UNTOUCHED - EMPTY or schema.name in MARKS),
            picks=plain in PICKING,
            looks_up=plain in BAGS,
            saves=plain.endswith(SAVING),
            may_be_view=any(alias is not None and not alias.is_write for alias in results),
            read=tuple(
                not (writes and argument.kwarg_only) and not (index == 0 and plain in OVERWRITING)
                for index, (argument, writes) in enumerate(zip(schema.arguments, written, strict=True))
            ),
        )

    def bytes(self, inputs: Sequence[Any], outputs: Sequence[Any]) -> int:
        """Bytes that one call moves.

        Args:
            inputs: Its arguments in the order of the schema.
            outputs: Its results.

        """
        if not self.touches or (self.may_be_view and _shares_memory(inputs[0], outputs[0])):
            return 0
        written = sum(map(held_bytes, _tensors(outputs[:1] if self.saves else outputs)))
        arguments = [value for value, is_read in zip(inputs, self.read, strict=True) if is_read]
        read = {id(tensor): held_bytes(tensor) for tensor in _tensors(arguments)}  # a tensor given twice is read once
        if self.picks:
            table = inputs[0]
            read[id(table)] = min(read[id(table)], written)
        if self.looks_up:
            table, index = inputs[:2]
            row_bytes = index.numel() * table.shape[1] * table.element_size()
            read[id(table)] = min(read[id(table)], row_bytes)
        return written + sum(read.values())

    def made_bytes(self, inputs: Sequence[Any], outputs: Sequence[Any]) -> int:
        """Bytes of the new tensors that one call returns; arguments as of :meth:`bytes`."""
        if not self.makes:
            return 0
        arguments = _tensors(inputs)
        results = _tensors(outputs[:1] if self.saves else outputs)
        return sum(
            held_bytes(tensor)
            for tensor in results
            if not any(_shares_memory(argument, tensor) for argument in arguments)
        )


def held_bytes(tensor: Tensor) -> int:
    """Bytes of the elements in memory; along an expanded axis there is one element."""
    if tensor.layout is not torch.strided or tensor.is_contiguous():
        return tensor.numel() * tensor.element_size()
    size_bytes = tensor.element_size()
    for size, stride in zip(tensor.shape, tensor.stride(), strict=True):
        if stride or not size:
            size_bytes *= size
    return size_bytes


def _tensors(values: Sequence[Any]) -> list[Tensor]:
    tensors: list[Tensor] = []
    for value in values:
        if isinstance(value, Tensor):
            tensors.append(value)
        elif isinstance(value, (list, tuple)):
            tensors += _tensors(value)
    return tensors


def _shares_memory(one: Any, other: Any) -> bool:
    tensors = isinstance(one, Tensor) and isinstance(other, Tensor)
    return tensors and one.untyped_storage()._cdata == other.untyped_storage()._cdata
