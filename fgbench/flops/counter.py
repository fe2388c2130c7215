"""Count what really runs, operator by operator, on tensors that hold no data."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map_only
from torch.utils.module_tracker import ModuleTracker

from fgbench.errors import CannotMeasureError
from fgbench.flops.handlers import Cost, Handler, UncountedOperatorError, handler_for
from fgbench.flops.metacopy import meta_copy
from fgbench.flops.replay import MetaReplay
from fgbench.flops.traffic import Traffic

NO_DATA = re.compile(r"[Mm]eta tensor|register_meta")  # how torch says that a meta tensor has no values
EVERYWHERE = "Global"  # ModuleTracker's name for "outside of every module"


@dataclass(frozen=True, slots=True)
class Count:
    """The work of one run: in all, per operator (``aten::bmm``), per module (``VisionTransformer.blocks.0``)."""

    total: Cost
    by_operator: Mapping[str, Cost]
    by_module: Mapping[str, Cost] = field(default_factory=dict)
    by_label: Mapping[str, Cost] = field(default_factory=dict)  # what ran under :meth:`FlopCounter.under`
    bytes: int = 0  # that the operators move, each reading its arguments and writing its results once
    activation_bytes: int = 0  # of all tensors that the operators make; views and results in place are none

    @property
    def macs(self) -> int:
        """Multiply–adds of matrix products and convolutions."""
        return self.total.macs

    def flops(self, convention: str = "full") -> int:
        """Work in the unit of a convention, ``full`` or ``fvcore``."""
        return self.total.flops(convention)


class FlopCounter(TorchDispatchMode):
    """Adds up the cost of every operator that runs inside ``with FlopCounter() as counter:``.

    It stands below autograd, where operators arrive as they were called: fused attention or pooling as one operator,
    whatever a device would make of it, and the same in inference mode as outside of it. One that has no cost of its
    own is taken apart. Raises :class:`UncountedOperatorError` at the first one that cannot be.
    """

    def __init__(self, *, modules: bool = False) -> None:
        super().__init__()
        self._operators: dict[str, Cost] = defaultdict(Cost)
        self._modules: dict[str, Cost] = defaultdict(Cost)
        self._labels: dict[str, Cost] = defaultdict(Cost)
        self._label: str | None = None
        self._bytes = self._activation_bytes = 0
        self._known: dict[object, _Operator | None] = {}  # None: it is taken apart
        self._replay = MetaReplay()
        self._tracker = ModuleTracker() if modules else None
        self._around = ExitStack()

    def __enter__(self) -> FlopCounter:
        self._around.enter_context(torch._C._AutoDispatchBelowAutograd())
        if self._tracker is not None:
            self._around.enter_context(self._tracker)
        super().__enter__()
        return self

    def __exit__(self, *exception: Any) -> None:
        super().__exit__(*exception)
        self._around.close()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run one operator and add its cost."""
        kwargs = kwargs or {}
        if func not in self._known:
            self._known[func] = _Operator.of(func)
        operator = self._known[func]
        if operator is None:
            return self._take_apart(func, args, kwargs)
        outputs = self._replay.run(func, args, kwargs)
        inputs, returned = operator.inputs(args, kwargs), outputs if isinstance(outputs, (tuple, list)) else (outputs,)
        cost = operator.handler(inputs, returned)
        self._bytes += operator.traffic.bytes(inputs, returned)
        self._activation_bytes += operator.traffic.made_bytes(inputs, returned)
        self._operators[operator.name] += cost
        if self._tracker is not None:
            for module in self._tracker.parents - {EVERYWHERE}:
                self._modules[module] += cost
        if self._label is not None:
            self._labels[self._label] += cost
        return outputs

    def under(self, label: str, run: Callable[[], Any]) -> Any:
        """Run something and count it under a label too; several runs under one label add up."""
        outer, self._label = self._label, label
        self._labels[label] += Cost()
        try:
            return run()
        finally:
            self._label = outer

    def _take_apart(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Run what an operator consists of, each part under this counter."""
        super().__enter__()  # torch puts a mode aside while it handles an operator
        try:
            return func.decompose(*args, **kwargs)
        finally:
            super().__exit__(None, None, None)

    def result(self) -> Count:
        """What has been counted so far."""
        total = sum(self._operators.values(), Cost())
        return Count(
            total=total,
            by_operator=dict(self._operators),
            by_module=dict(sorted(self._modules.items())),
            by_label=dict(self._labels),
            bytes=self._bytes,
            activation_bytes=self._activation_bytes,
        )


@dataclass(frozen=True, slots=True)
class _Operator:
    """An operator that was met: its handler, and its arguments as the schema orders them."""

    name: str
    handler: Handler
    traffic: Traffic
    arguments: tuple[str, ...]
    defaults: tuple[Any, ...]

    @classmethod
    def of(cls, func: Any) -> _Operator | None:
        """The operator with its handler; None where it has no cost of its own, and its parts may have one."""
        schema = getattr(func, "_schema", None)
        if schema is None:  # a higher-order operator, such as flex attention
            raise UncountedOperatorError(str(func))
        try:
            handler = handler_for(schema.name)
        except UncountedOperatorError:
            if torch._C._dispatch_has_kernel_for_dispatch_key(func.name(), "CompositeImplicitAutograd"):
                return None
            raise
        arguments = schema.arguments
        return cls(
            schema.name,
            handler,
            Traffic.of(schema),
            tuple(argument.name for argument in arguments),
            tuple(argument.default_value for argument in arguments),
        )

    def inputs(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, ...]:
        """The arguments of one call in the order of the schema, those that were left out included."""
        if not kwargs:
            return args + self.defaults[len(args) :]
        rest = zip(self.arguments[len(args) :], self.defaults[len(args) :], strict=True)
        return (*args, *(kwargs.get(name, default) for name, default in rest))


def count_flops(run: nn.Module | Callable[..., Any], /, *inputs: Any, modules: bool = False, **named: Any) -> Count:
    """Count one call of a module or a function.

    A module is counted as a throw-away copy in eval mode on the meta device: no weights are copied, no memory is
    taken and the module itself is left alone; hooks that it carries run with the copy. The inputs must be what it
    takes: build it for the image size. A function runs as it is.

        count_flops(model, torch.empty(1, 3, 1024, 1024)).macs

    ``modules=True`` fills ``by_module`` too; further keywords are handed on. Raises :class:`UncountedOperatorError`
    for unknown operators, and :class:`CannotMeasureError` where a module reads the values of its tensors.
    """
    if not isinstance(run, nn.Module):
        return _count(run, inputs, named, nullcontext(), modules)
    inputs, named = tree_map_only(Tensor, lambda tensor: tensor.to("meta"), (inputs, named))
    try:  # tensors that the forward itself makes belong on the meta device too
        return _count(meta_copy(run).eval(), inputs, named, torch.device("meta"), modules)
    except RuntimeError as error:
        if not NO_DATA.search(str(error)):
            raise
        raise CannotMeasureError(
            f"{type(run).__name__} reads the values of tensors, and a copy on the meta device has none",
            do="count_flops(lambda: model(images)) counts a run on real tensors",
        ) from error


def _count(
    run: Callable[..., Any],
    inputs: tuple[Any, ...],
    named: dict[str, Any],
    place: AbstractContextManager[Any],
    modules: bool,
) -> Count:
    with torch.no_grad(), _no_fused_encoder(), place, FlopCounter(modules=modules) as counter:
        run(*inputs, **named)
    return counter.result()


@contextmanager
def _no_fused_encoder() -> Iterator[None]:
    """Keep ``nn.MultiheadAttention`` from hiding its products in one fused operator."""
    enabled = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(enabled)
