"""Operators that take functions: each is counted by the functions that it runs, fused attention by its sizes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_any

from fgbench.errors import CannotMeasureError
from fgbench.flops.attention import attention_cost
from fgbench.flops.cost import Cost

Run = Callable[..., Any]

# Their eager form calls the functions that they are given one after the other, and hides no arithmetic of its own.
TRANSPARENT = frozenset(
    """
    associative_scan foreach_map hints_wrapper invoke_subgraph map_impl strict_mode switch tag_activation_checkpoint
    while_loop while_loop_stack_output wrap wrap_activation_checkpoint wrap_with_autocast wrap_with_set_grad_enabled
    """.split()
)


def form_of(name: str, operator: Any) -> Run | None:
    """What an operator of that name runs when it is called with its arguments; None where that is not known."""
    if name in FORMS:
        return FORMS[name]
    kernel = operator.py_kernels.get(torch._C.DispatchKey.CompositeExplicitAutograd) if name in TRANSPARENT else None
    return kernel if callable(kernel) else None


def needs_values(name: str, args: Sequence[Any]) -> bool:
    """Whether the work depends on values that tensors on the meta device do not have."""
    return name in ("while_loop", "while_loop_stack_output", "switch") and tree_any(_is_meta, args)


def refuse_values(name: str) -> CannotMeasureError:
    """The error for an operator whose work follows from values that are not there."""
    return CannotMeasureError(
        f"the work of {name} depends on the values of tensors, and on the meta device they have none",
        do="count_flops(lambda: model(images)) counts a run on real tensors",
    )


def has_values(condition: Any) -> bool:
    """Whether a condition can be read."""
    return not _is_meta(condition)


def flex_attention_cost(count_score: Callable[[Run, tuple[Any, ...]], Cost], args: Sequence[Any]) -> Cost:
    """As fused attention, and per pair what ``score_mod`` computes; a block mask counts as a dense one.

    Args:
        count_score: Counts a function that is called with arguments.
        args: The operator's: query, key, value, score_mod, block_mask, scale, kernel_options, further buffers.

    """
    query, key, value, score_mod, block_mask = args[:5]
    buffers = args[7] if len(args) > 7 else ()
    # A mask that nobody asked for is one block; torch makes it with a size that holds everything.
    masked = block_mask is not None and not _is_empty_mask(block_mask)
    cost = attention_cost(query, key, value, mask=True if masked else None)
    place = {"device": query.device}
    one = (torch.zeros((), dtype=query.dtype, **place), *(torch.zeros((), dtype=torch.int, **place) for _ in range(4)))
    pairs = _pairs(query, key)
    return cost + count_score(score_mod, (*one, *buffers)) * pairs


def _pairs(query: Tensor, key: Tensor) -> int:
    batch = torch.broadcast_shapes(query.shape[:1], key.shape[:1])[0]
    return int(batch * query.shape[1] * query.shape[2] * key.shape[2])


def _is_empty_mask(block_mask: Sequence[Any]) -> bool:
    function = block_mask[-1]
    return getattr(function, "__name__", "") == "noop_mask"


def _scan(
    combine: Run, init: Sequence[Any], xs: Sequence[Tensor], additional: Sequence[Any], *_: Any, **__: Any
) -> Any:
    """The function on one slice after the other; its results beside the carried ones are stacked."""
    carried, results = list(init), []
    for index in range(xs[0].shape[0]):
        found = combine(*carried, *(x.select(0, index) for x in xs), *additional)
        carried = list(found[: len(init)])
        results.append(found[len(init) :])
    stacked = (None if parts[0] is None else torch.stack(parts) for parts in zip(*results, strict=True))
    return (*carried, *stacked)


def _cond(condition: Any, if_true: Run, if_false: Run, operands: Sequence[Any]) -> Any:
    return (if_true if condition else if_false)(*operands)


def _is_meta(value: Any) -> bool:
    return isinstance(value, Tensor) and value.device.type == "meta"


FORMS: dict[str, Run] = {"cond": _cond, "scan": _scan}
