"""Costs of operators that take functions: those of the functions that they run; flex attention by its sizes."""

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

# Operators whose eager form only calls their functions one after the other.
TRANSPARENT = frozenset(
    """
    associative_scan foreach_map hints_wrapper invoke_subgraph map_impl strict_mode switch tag_activation_checkpoint
    while_loop while_loop_stack_output wrap wrap_activation_checkpoint wrap_with_autocast wrap_with_set_grad_enabled
    """.split()
)


def form_of(name: str, operator: Any) -> Run | None:
    """The eager form of an operator, a function of its arguments; None where it is not known.

    Args:
        name: The operator's name.
        operator: The operator.

    """
    if name in FORMS:
        return FORMS[name]
    kernel = operator.py_kernels.get(torch._C.DispatchKey.CompositeExplicitAutograd) if name in TRANSPARENT else None
    return kernel if callable(kernel) else None


def needs_values(name: str, args: Sequence[Any]) -> bool:
    """Whether the work of an operator depends on values, and one of its arguments is a meta tensor without values."""
    return name in ("while_loop", "while_loop_stack_output", "switch") and tree_any(_is_meta, args)


def refuse_values(name: str) -> CannotMeasureError:
    """The error for an operator whose work depends on values of meta tensors."""
    return CannotMeasureError(
        f"the work of {name} depends on the values of tensors, and on the meta device they have none",
        do="count_flops(lambda: model(images)) counts a run on real tensors",
    )


def has_values(condition: Any) -> bool:
    """Whether a condition has a value."""
    return not _is_meta(condition)


def flex_attention_cost(count_score: Callable[[Run, tuple[Any, ...]], Cost], args: Sequence[Any]) -> Cost:
    """The cost of flex attention: that of fused attention, and of ``score_mod`` for every pair of tokens.

    A block mask counts as a dense one.

    Args:
        count_score: Counts a call of a function with arguments.
        args: Arguments of the operator: query, key, value, score_mod, block_mask, scale, kernel_options, buffers.

    """
    query, key, value, score_mod, block_mask = args[:5]
    buffers = args[7] if len(args) > 7 else ()
    # Without a mask of the caller, torch passes a mask of one block that covers everything.
    masked = block_mask is not None and not _is_empty_mask(block_mask)
    cost = attention_cost(query, key, value, mask=True if masked else None)
    device = query.device
    indices = (torch.zeros((), dtype=torch.int, device=device) for _ in range(4))
    pair = (torch.zeros((), dtype=query.dtype, device=device), *indices)
    return cost + count_score(score_mod, (*pair, *buffers)) * _pairs(query, key)


def _pairs(query: Tensor, key: Tensor) -> int:
    batch = torch.broadcast_shapes(query.shape[:1], key.shape[:1])[0]
    return int(batch * query.shape[1] * query.shape[2] * key.shape[2])


def _is_empty_mask(block_mask: Sequence[Any]) -> bool:
    function = block_mask[-1]
    return getattr(function, "__name__", "") == "noop_mask"


def _scan(
    combine: Run, init: Sequence[Any], xs: Sequence[Tensor], additional: Sequence[Any], *_: Any, **__: Any
) -> Any:
    """Call the function on every slice in turn; stack its results except for those that it carries on."""
    carried, results = list(init), []
    for index in range(xs[0].shape[0]):
        outputs = combine(*carried, *(x.select(0, index) for x in xs), *additional)
        carried = list(outputs[: len(init)])
        results.append(outputs[len(init) :])
    stacked = (None if slices[0] is None else torch.stack(slices) for slices in zip(*results, strict=True))
    return (*carried, *stacked)


def _cond(condition: Any, if_true: Run, if_false: Run, operands: Sequence[Any]) -> Any:
    return (if_true if condition else if_false)(*operands)


def _is_meta(value: Any) -> bool:
    return isinstance(value, Tensor) and value.device.type == "meta"


FORMS: dict[str, Run] = {"cond": _cond, "scan": _scan}
