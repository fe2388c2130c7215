"""The memory that an operator moves and makes.

It reads every tensor once and writes every result once; what is neither a view nor written in place is made.
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
    """What an operator's schema says about the memory that it moves."""

    touches: bool  # anything at all
    makes: bool  # tensors that were not there before
    picks: bool  # of its first argument it reads no more than it returns
    looks_up: bool  # rows of its first argument, as many as its second one names
    saves: bool  # behind its result it returns statistics for its gradient, which a device may leave out
    may_be_view: bool  # where its result shares memory with an argument, nothing was moved
    read: tuple[bool, ...]  # by argument

    @classmethod
    def of(cls, schema: Any) -> Traffic:
        """The traffic of an operator by its schema; in-place operators are told from their twins by what they read."""
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
        """Bytes of one call: its arguments in the order of the schema, and what it returned."""
        if not self.touches or (self.may_be_view and _shares_memory(inputs[0], outputs[0])):
            return 0
        written = sum(map(held_bytes, _tensors(outputs[:1] if self.saves else outputs)))
        given = [value for value, is_read in zip(inputs, self.read, strict=True) if is_read]
        read = {id(tensor): held_bytes(tensor) for tensor in _tensors(given)}  # what is given twice is read once
        if self.picks:
            table = inputs[0]
            read[id(table)] = min(read[id(table)], written)
        if self.looks_up:
            table, places = inputs[:2]
            rows = places.numel() * table.shape[1] * table.element_size()
            read[id(table)] = min(read[id(table)], rows)
        return written + sum(read.values())

    def made_bytes(self, inputs: Sequence[Any], outputs: Sequence[Any]) -> int:
        """Bytes of the results of one call that are neither views of its arguments nor were written into them."""
        if not self.makes:
            return 0
        there = _tensors(inputs)
        made = _tensors(outputs[:1] if self.saves else outputs)
        return sum(held_bytes(tensor) for tensor in made if not any(_shares_memory(old, tensor) for old in there))


def held_bytes(tensor: Tensor) -> int:
    """Bytes of the elements that exist: along an axis that is expanded there is one."""
    if tensor.layout is not torch.strided or tensor.is_contiguous():
        return tensor.numel() * tensor.element_size()
    held = tensor.element_size()
    for size, stride in zip(tensor.shape, tensor.stride(), strict=True):
        if stride or not size:
            held *= size
    return held


def _tensors(values: Sequence[Any]) -> list[Tensor]:
    found: list[Tensor] = []
    for value in values:
        if isinstance(value, Tensor):
            found.append(value)
        elif isinstance(value, (list, tuple)):
            found += _tensors(value)
    return found


def _shares_memory(one: Any, other: Any) -> bool:
    tensors = isinstance(one, Tensor) and isinstance(other, Tensor)
    return tensors and one.untyped_storage()._cdata == other.untyped_storage()._cdata
