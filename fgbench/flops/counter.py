"""Count what really runs, operator by operator, on tensors that hold no data."""

from __future__ import annotations

import copy
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map_only
from torch.utils.module_tracker import ModuleTracker

from fgbench.flops.handlers import Cost, Handler, UncountedOperatorError, handler_for
from fgbench.flops.replay import MetaReplay

EVERYWHERE = "Global"  # ModuleTracker's name for "outside of every module"


@dataclass(frozen=True, slots=True)
class Count:
    """The work of one run: in all, per operator (``aten::bmm``), per module (``VisionTransformer.blocks.0``)."""

    total: Cost
    by_operator: Mapping[str, Cost]
    by_module: Mapping[str, Cost] = field(default_factory=dict)

    @property
    def macs(self) -> int:
        """Multiply–adds of matrix products and convolutions."""
        return self.total.macs

    def flops(self, convention: str = "full") -> int:
        """Work in the unit of a convention, ``full`` or ``fvcore``."""
        return self.total.flops(convention)


class FlopCounter(TorchDispatchMode):
    """Adds up the cost of every operator that runs inside ``with FlopCounter() as counter:``.

    Raises :class:`UncountedOperatorError` at the first operator that has no cost.
    """

    def __init__(self, *, modules: bool = False) -> None:
        super().__init__()
        self._operators: dict[str, Cost] = defaultdict(Cost)
        self._modules: dict[str, Cost] = defaultdict(Cost)
        self._known: dict[object, _Operator] = {}
        self._replay = MetaReplay()
        self._tracker = ModuleTracker() if modules else None

    def __enter__(self) -> FlopCounter:
        if self._tracker is not None:
            self._tracker.__enter__()
        super().__enter__()
        return self

    def __exit__(self, *exception: Any) -> None:
        super().__exit__(*exception)
        if self._tracker is not None:
            self._tracker.__exit__(*exception)

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run one operator and add its cost."""
        kwargs = kwargs or {}
        operator = self._known.get(func)
        if operator is None:
            operator = self._known[func] = _Operator.of(func)
        outputs = self._replay.run(func, args, kwargs)
        cost = operator.cost(args, kwargs, outputs)
        self._operators[operator.name] += cost
        if self._tracker is not None:
            for module in self._tracker.parents - {EVERYWHERE}:
                self._modules[module] += cost
        return outputs

    def result(self) -> Count:
        """What has been counted so far."""
        total = sum(self._operators.values(), Cost())
        return Count(total, dict(self._operators), dict(sorted(self._modules.items())))


@dataclass(frozen=True, slots=True)
class _Operator:
    """An operator that was met: its handler, and its arguments as the schema orders them."""

    name: str
    handler: Handler
    arguments: tuple[str, ...]
    defaults: tuple[Any, ...]

    @classmethod
    def of(cls, func: Any) -> _Operator:
        schema = getattr(func, "_schema", None)
        if schema is None:  # a higher-order operator, such as flex attention
            raise UncountedOperatorError(str(func))
        arguments = schema.arguments
        return cls(
            schema.name,
            handler_for(schema.name),
            tuple(argument.name for argument in arguments),
            tuple(argument.default_value for argument in arguments),
        )

    def cost(self, args: tuple[Any, ...], kwargs: dict[str, Any], outputs: Any) -> Cost:
        inputs = args + self.defaults[len(args) :]
        if kwargs:
            rest = zip(self.arguments[len(args) :], self.defaults[len(args) :], strict=True)
            inputs = (*args, *(kwargs.get(name, default) for name, default in rest))
        return self.handler(inputs, outputs if isinstance(outputs, (tuple, list)) else (outputs,))


def count_flops(run: nn.Module | Callable[..., Any], *inputs: Any, modules: bool = False) -> Count:
    """Count one call of a module or a function.

    A module is counted as a throw-away copy in eval mode on the meta device: no weights are copied, no memory is
    taken and the module itself is left alone; hooks that it carries run with the copy. The inputs must be what it
    takes: build it for the image size. A function runs as it is.

        count_flops(model, torch.empty(1, 3, 1024, 1024)).macs

    ``modules=True`` fills ``by_module`` too. Raises :class:`UncountedOperatorError` for unknown operators.
    """
    place: AbstractContextManager[Any] = nullcontext()
    if isinstance(run, nn.Module):
        run = meta_copy(run).eval()
        inputs = tree_map_only(Tensor, lambda tensor: tensor.to("meta"), inputs)
        place = torch.device("meta")  # tensors that the forward itself makes belong there too
    with torch.no_grad(), _no_fused_encoder(), place, FlopCounter(modules=modules) as counter:
        run(*inputs)
    return counter.result()


def meta_copy(module: nn.Module) -> nn.Module:
    """A copy of a module on the meta device; its parameters and buffers are never duplicated."""
    tensors = [*module.parameters(), *module.buffers()]
    copied = copy.deepcopy(module, {id(tensor): _to_meta(tensor) for tensor in tensors})
    return copied.requires_grad_(False)


def _to_meta(tensor: Tensor) -> Tensor:
    empty = torch.empty_like(tensor, device="meta")
    return nn.Parameter(empty, requires_grad=False) if isinstance(tensor, nn.Parameter) else empty


@contextmanager
def _no_fused_encoder() -> Iterator[None]:
    """Keep ``nn.MultiheadAttention`` from hiding its products in one fused operator."""
    enabled = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(enabled)
