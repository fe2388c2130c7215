"""Count the operators that a module or a function runs, on tensors without data."""

from __future__ import annotations

import re
import sys
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map_only

from fgbench.errors import CannotMeasureError, FgbenchError
from fgbench.flops.cost import Cost
from fgbench.flops.count import Count as Count
from fgbench.flops.handlers import Handler, UncountedOperatorError, handler_for
from fgbench.flops.higher_order import flex_attention_cost, form_of, has_values, needs_values, refuse_values
from fgbench.flops.meta import MetaReplay, meta_copy
from fgbench.flops.module_paths import ModulePaths
from fgbench.flops.operators import ZERO_COST
from fgbench.flops.traffic import Traffic, held_bytes

# Words in torch's errors about a meta tensor without values, and about a tensor with values beside it.
NO_DATA = re.compile(r"[Mm]eta tensor|register_meta|on meta device|meta device type|always be on CPU")
NOT_ON_META = re.compile(r"on device (meta is not on the expected device|\w+ is not on the expected device meta)")
# Words in torch's errors about operators that cannot run while they are counted → our message and advice.
NOT_COUNTABLE = {
    "does not require grad": ("a backward pass cannot be counted", "count the forward pass alone"),
    "Creating a new Tensor subclass": (
        "tensors of a class of their own, such as a CausalBias, cannot be made while operators are counted",
        "make them before: count_flops(lambda: attend(query, key, value, bias))",
    ),
}
OUTSIDE = "outside of modules"  # label of operators that no module runs


class FlopCounter(TorchDispatchMode):
    """Adds up the cost of every operator that runs inside ``with FlopCounter() as counter:``.

    It is called below autograd, where operators arrive as they were called: fused attention or pooling is one operator
    on every device, in inference mode too. An operator without a cost of its own is decomposed; compiled modules run
    eagerly.

    Args:
        modules: Whether work is also counted per module.
        backward: Whether backward passes are counted too. Operators arrive as autograd records them then: fused
            attention as its products and softmax.

    Raises:
        UncountedOperatorError: In the block, at the first operator without a cost that cannot be decomposed.

    """

    supports_higher_order_operators = True

    def __init__(self, *, modules: bool = False, backward: bool = False) -> None:
        super().__init__()
        self._backward = backward
        self._operators: dict[str, Cost] = defaultdict(Cost)
        self._modules: dict[str, Cost] = defaultdict(Cost)
        self._labels: dict[str, Cost] = defaultdict(Cost)
        self._classes: dict[str, Cost] = defaultdict(Cost)
        self._label: str | None = None
        self._bytes = self._activation_bytes = 0
        self._known: dict[object, _Operator | None] = {}  # None: it is decomposed
        self._replay = MetaReplay()
        self._paths = ModulePaths() if modules else None
        self._around = ExitStack()
        self._is_eager = False

    def __enter__(self) -> FlopCounter:
        if not self._backward:
            self._around.enter_context(torch._C._AutoDispatchBelowAutograd())
        if self._paths is not None:
            self._around.enter_context(self._paths)
        self._stay_eager()
        super().__enter__()
        return self

    def __exit__(self, *exception: Any) -> None:
        super().__exit__(*exception)
        self._around.close()
        self._is_eager = False

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run one operator and add its cost."""
        kwargs = kwargs or {}
        self._stay_eager()
        if isinstance(func, torch._ops.HigherOrderOperator):
            return self._run_higher_order(func, args, kwargs)
        if any(map(_dispatches_itself, types)):
            return NotImplemented  # it runs other operators instead, and these are counted
        if func not in self._known:
            self._known[func] = _Operator.of(func, backward=self._backward)
        operator = self._known[func]
        if operator is None:
            return self._decompose(func.decompose, args, kwargs)
        inputs = operator.inputs(args, kwargs)
        operator.refuse_layouts(inputs)
        outputs = self._replay.run(func, args, kwargs)
        returned = outputs if isinstance(outputs, (tuple, list)) else (outputs,)
        cost = operator.handler(inputs, returned)
        self._bytes += operator.traffic.bytes(inputs, returned)
        self._activation_bytes += operator.traffic.made_bytes(inputs, returned)
        self._add(operator.name, cost)
        return outputs

    def _add(self, name: str, cost: Cost) -> None:
        self._operators[name] += cost
        if self._paths is not None:
            for path in self._paths.running:
                self._modules[path] += cost
            self._classes[self._paths.innermost or OUTSIDE] += cost
        if self._label is not None:
            self._labels[self._label] += cost

    def _stay_eager(self) -> None:
        """Run compiled code eagerly, because a compiled graph hides its operators.

        The compiler is not imported here, which takes seconds; it may be imported while a count runs.
        """
        if not self._is_eager and "torch._dynamo" in sys.modules:
            self._is_eager = True
            self._around.enter_context(torch.compiler.set_stance("force_eager"))

    def _run_higher_order(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Run an operator that takes functions, and count the operators of these functions."""
        name = func.name()
        if name == "flex_attention":
            arguments = (*args, *kwargs.values())
            self._add(name, flex_attention_cost(self._cost_of, arguments))
            outputs = func(*args, **kwargs)
            self._bytes += sum(map(held_bytes, (*arguments[:3], outputs[0])))
            self._activation_bytes += held_bytes(outputs[0])
            return outputs
        form = form_of(name, func)
        if form is None:
            raise UncountedOperatorError(name)
        if needs_values(name, args):
            raise refuse_values(name)
        if name == "cond" and not has_values(args[0]):
            self._compare_branches(*args[1:4])
            args = (True, *args[1:])
        return self._decompose(form, args, kwargs)

    def _compare_branches(self, if_true: Any, if_false: Any, operands: Sequence[Any]) -> None:
        """Raise an error unless both branches cost the same: on the meta device the condition has no value."""
        if self._cost_of(if_true, operands) != self._cost_of(if_false, operands):
            raise refuse_values("cond")

    def _cost_of(self, run: Callable[..., Any], arguments: Sequence[Any]) -> Cost:
        """The cost of a function by itself; it is not added to this count."""
        with FlopCounter() as counter:
            run(*arguments)
        return counter.result().total

    def under(self, label: str, run: Callable[[], Any]) -> Any:
        """Run a function and count it under a label too; several runs under one label add up.

        Args:
            label: Key of :attr:`Count.by_label`.
            run: A function without arguments.

        Returns:
            The result of the function.

        """
        outer, self._label = self._label, label
        self._labels[label] += Cost()
        try:
            return run()
        finally:
            self._label = outer

    def _decompose(self, run: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Run the operators that an operator consists of under this counter."""
        super().__enter__()  # torch switches a mode off while it handles an operator
        try:
            return run(*args, **kwargs)
        finally:
            super().__exit__(None, None, None)

    def result(self) -> Count:
        """The count so far."""
        total = sum(self._operators.values(), Cost())
        return Count(
            total=total,
            by_operator=dict(self._operators),
            by_module=dict(sorted(self._modules.items())),
            by_label=dict(self._labels or self._classes),
            bytes=self._bytes,
            activation_bytes=self._activation_bytes,
        )


@dataclass(frozen=True, slots=True)
class _Operator:
    """An operator: its handler, and its arguments in the order of the schema."""

    name: str
    handler: Handler
    traffic: Traffic
    arguments: tuple[str, ...]
    defaults: tuple[Any, ...]

    @classmethod
    def of(cls, func: Any, *, backward: bool = False) -> _Operator | None:
        """The operator with its handler; None where it has no cost of its own and can be decomposed."""
        schema = func._schema
        try:
            handler = handler_for(schema.name, backwards=backward)
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

    def refuse_layouts(self, inputs: Sequence[Any]) -> None:
        """Raise an error for nested and sparse tensors, whose sizes do not give the work, unless it is zero."""
        for value in inputs:
            for tensor in value if isinstance(value, (tuple, list)) else (value,):
                if not isinstance(tensor, Tensor):
                    break
                if tensor.is_nested or tensor.layout is not torch.strided:
                    if self.name.removeprefix("aten::") in ZERO_COST:
                        return
                    kind = "nested" if tensor.is_nested else str(tensor.layout).removeprefix("torch.")
                    raise UncountedOperatorError(f"{self.name} on {kind} tensors")

    def inputs(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, ...]:
        """The arguments of one call in the order of the schema, with the defaults of those that were left out."""
        if not kwargs:
            return args + self.defaults[len(args) :]
        rest = zip(self.arguments[len(args) :], self.defaults[len(args) :], strict=True)
        return (*args, *(kwargs.get(name, default) for name, default in rest))


def _dispatches_itself(cls: type) -> bool:
    """Whether a class of tensors replaces operators; fake tensors do not, they are like meta tensors."""
    dispatch = getattr(cls, "__torch_dispatch__", None)
    return dispatch not in (Tensor.__torch_dispatch__, torch._C._disabled_torch_dispatch_impl) and not issubclass(
        cls, FakeTensor
    )


def count_flops(run: nn.Module | Callable[..., Any], /, *inputs: Any, modules: bool = True, **named: Any) -> Count:
    """Count one call of a module or a function: ``count_flops(model, torch.empty(1, 3, 1024, 1024)).macs``.

    A module is counted as a throw-away copy in eval mode on the meta device: weights are not copied, and the module is
    not changed. Hooks of the module run with the copy. A function runs as it is.

    Args:
        run: The module or function.
        inputs: Its arguments. A module must be built for the size of its images.
        modules: Whether work is also counted per module.
        named: Its keyword arguments.

    Returns:
        The count.

    Raises:
        FgbenchError: If ``run`` cannot be called.
        UncountedOperatorError: If an operator has no cost.
        CannotMeasureError: If a module reads the values of its tensors.

    """
    if isinstance(run, nn.Module) and type(run).__name__ == "OptimizedModule":  # of torch.compile
        run = cast("nn.Module", run._orig_mod)
    if not callable(run):
        raise FgbenchError("a module or a function is counted, not", run)
    if not isinstance(run, nn.Module):
        return _count(run, inputs, named, nullcontext(), modules)
    try:
        inputs, named = tree_map_only(Tensor, lambda tensor: tensor.to("meta"), (inputs, named))
        # Tensors that the forward itself makes belong on the meta device too.
        return _count(meta_copy(run).eval(), inputs, named, torch.device("meta"), modules)
    except (RuntimeError, ValueError, TypeError) as error:
        if NOT_ON_META.search(str(error)):
            does = "holds or is given tensors where a copy on the meta device does not find them"
        elif not NO_DATA.search(str(error)):
            raise
        elif isinstance(error, ValueError):
            does = "runs only on tensors that have values, and a copy on the meta device has none"
        else:
            does = "reads the values of tensors, and a copy on the meta device has none"
        raise CannotMeasureError(
            f"{type(run).__name__} {does}",
            do="count_flops(lambda: model(images)) counts a run on real tensors",
        ) from error


def _count(
    run: Callable[..., Any],
    inputs: tuple[Any, ...],
    named: dict[str, Any],
    place: AbstractContextManager[Any],
    modules: bool,
) -> Count:
    with torch.no_grad(), _as_written(), place, FlopCounter(modules=modules) as counter:
        try:
            if _has_stages(run):
                run.on_step = counter.under  # type: ignore[attr-defined]
            run(*inputs, **named)
        except RuntimeError as error:
            for message, (what, do) in NOT_COUNTABLE.items():
                if message in str(error):
                    raise CannotMeasureError(what, do=do) from error
            raise
    return counter.result()


def _has_stages(run: Callable[..., Any]) -> bool:
    """Whether ``run`` is a model of fgbench. Their module imports timm; it is not imported for this question."""
    models = sys.modules.get("fgbench.models.model")
    return models is not None and isinstance(run, models.Model)


@contextmanager
def _as_written() -> Iterator[None]:
    """A context without the fast path of ``nn.MultiheadAttention``, which hides its products, and without a warning."""
    enabled = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with warnings.catch_warnings():
            # Compiled modules fire global hooks twice: for themselves and for the module that they wrap.
            warnings.filterwarnings("ignore", message="Using `torch.compile.module.` when there are global hooks")
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(enabled)
