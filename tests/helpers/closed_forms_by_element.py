"""Closed forms of element-wise operators, reductions, sorting and scattering, from sizes only."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from helpers.closed_forms import ATEN, Case, Draw, broadcast, count, floats, halvings
from torch.nn import functional

# Types that arguments of an element-wise operator may have; the first that an operator takes is used.
DTYPES = (torch.float32, torch.int64, torch.bool, torch.float64, torch.complex64)
SCALARS = {"Scalar": 2, "int": 1, "float": 0.5, "bool": False, "str": "floor"}
THREE = {"addcmul": 2, "addcdiv": 2, "lerp": 3}  # operations per result where it is not one


def overloads(name: str) -> Iterator[Any]:
    """Every form of an operator, in place and with ``out=``, that takes a tensor."""
    for packet in filter(None, (getattr(ATEN, name, None), getattr(ATEN, f"{name}_", None))):
        for overload in packet.overloads():
            form = getattr(packet, overload)
            kinds = [str(argument.type) for argument in form._schema.arguments]
            if "Tensor" in kinds and str(form._schema.returns[0].type) == "Tensor":
                yield form


def element_wise(name: str, form: Any) -> Case:
    """One operation, or what THREE says, for each element of all arguments broadcast together."""

    def case(d: Draw):
        schema = form._schema
        tensors = [argument for argument in schema.arguments if "Tensor" in str(argument.type)]
        operands = [argument for argument in tensors if not argument.is_out]
        shapes = d.together(len(operands))
        if name == "prelu":  # a weight for all, or one per channel
            shapes = [(d.size(), channels := d.size(), d.size()), d.one_of((1,), (channels,))]
        if name == "_prelu_kernel":  # its weights are broadcast to its values, and not the other way round
            shapes[0] = broadcast(*shapes)
        if name == "masked_fill" and len(shapes) == 3:
            shapes[2] = ()
        whole = shapes[0] if name == "prelu" else broadcast(*shapes)
        in_place = operands[0].alias_info is not None and operands[0].alias_info.is_write
        if in_place:
            shapes[0] = whole
        work = THREE.get(name, 1) * count(whole)
        return lambda: first_that_runs(form, dict(zip((o.name for o in operands), shapes, strict=True)), whole), work

    return lambda d: (lambda run, work: (run, (0, 0, work)))(*case(d))


def first_that_runs(form: Any, shapes: dict[str, tuple[int, ...]], whole: tuple[int, ...]) -> Any:
    """The operator called with the first type that it takes: some want whole numbers, or a result of another type."""
    for dtype in DTYPES:
        for result in (dtype, *DTYPES):
            positional, named = [], {}
            for argument in form._schema.arguments:
                if argument.is_out:
                    value = torch.empty(whole, dtype=result)
                elif argument.name in shapes:
                    kind = torch.bool if argument.name in ("mask", "condition") else dtype
                    value = torch.ones(shapes[argument.name]).to(kind)
                elif argument.has_default_value() and argument.name not in ("min", "max"):
                    continue
                else:
                    value = SCALARS[
                        str(argument.type).removeprefix("Optional[").removesuffix("]").replace("number", "Scalar")
                    ]
                if argument.kwarg_only:
                    named[argument.name] = value
                else:
                    positional.append(value)
            try:
                return form(*positional, **named)
            except (RuntimeError, TypeError, NotImplementedError):
                if not any(argument.is_out for argument in form._schema.arguments):
                    break
    raise AssertionError(f"no type fits {form}")


def glu(d: Draw):
    leading, half = d.shape(0, 3), d.size()
    return lambda: functional.glu(floats(*leading, 2 * half), -1), (0, 0, 2 * count(leading) * half)


def dropout(d: Draw):
    shape, trains = d.shape(), d.flag()
    return lambda: torch.native_dropout(floats(*shape), 0.5, trains), (0, 0, 2 * count(shape) if trains else 0)


def softmax(run: Callable[..., Any]) -> Case:
    def case(d: Draw):
        shape = d.shape()
        axis = d.size(0, len(shape) - 1)
        return lambda: run(floats(*shape), axis), (0, 0, 5 * count(shape))

    return case


def rms_norm(run: Callable[..., Any]) -> Case:
    def case(d: Draw):
        leading, normed = d.shape(0, 2), d.shape(1, 2)
        weight = floats(*normed) if d.flag() else None
        return lambda: run(floats(*leading, *normed), normed, weight), (0, 0, 4 * count(leading) * count(normed))

    return case


def weight_norm(d: Draw):
    given, taken = d.size(), d.shape(1, 3)
    v, g = floats(given, *taken), floats(given, *(1 for _ in taken))
    return lambda: torch._weight_norm(v, g, 0), (0, 0, 3 * given * count(taken))


def reduction(factor: int, *runs: Callable[..., Any]) -> Case:
    """``runs`` take a tensor and an axis; what is reduced may be expanded."""

    def case(d: Draw):
        shape = d.shape()
        axis = d.size(0, len(shape) - 1)
        x = floats(*shape)
        if d.flag():
            x = floats(*shape[:-1], 1).expand(shape)
        run = d.one_of(*runs)
        return lambda: run(x, axis), (0, 0, factor * count(shape))

    return case


def whole(run: Callable[..., Any]) -> Callable[..., Any]:
    return lambda x, axis: run(x)


def bincount(d: Draw):
    n = d.size()
    weights = floats(n) if d.flag() else None
    return lambda: torch.bincount(torch.ones(n, dtype=torch.long), weights), (0, 0, n)


def extremum(run: Callable[..., Any]) -> Case:
    """Of all, along an axis, of two tensors; each with a place for its result too."""

    def case(d: Draw):
        one, other = d.together(2, low=1, high=3)
        both, kind = broadcast(one, other), d.one_of("all", "out", "axis", "axis out", "two", "two out")
        after = one[1:]
        calls = {
            "all": lambda: run(floats(*one)),
            "out": lambda: run(floats(*one), out=torch.empty(())),
            "axis": lambda: run(floats(*one), 0),
            "axis out": lambda: run(floats(*one), 0, out=(floats(*after), torch.empty(after, dtype=torch.long))),
            "two": lambda: run(floats(*one), floats(*other)),
            "two out": lambda: run(floats(*one), floats(*other), out=floats(*both)),
        }
        return calls[kind], (0, 0, count(both) if "two" in kind else count(one))

    return case


def where(d: Draw):
    shapes = d.together(3)
    kind = d.one_of("three", "number", "alone", "out")
    condition, one, other = torch.ones(shapes[0], dtype=torch.bool), floats(*shapes[1]), floats(*shapes[2])
    both, three = broadcast(shapes[0], shapes[2]), broadcast(*shapes)
    runs = {
        "three": (lambda: torch.where(condition, one, other), count(three)),
        "number": (lambda: torch.where(condition, 1.0, other), count(both)),
        "out": (lambda: torch.where(condition, one, other, out=floats(*three)), count(three)),
        # Every element of the condition is looked at once to find the places, once to name them.
        "alone": (lambda: ATEN.where.default(condition), count(shapes[0])),
    }
    run, work = runs[kind]
    return run, (0, 0, work)


def sorting(run: Callable[..., Any]) -> Case:
    def case(d: Draw):
        shape = d.shape()
        axis, stable = d.size(-len(shape), len(shape) - 1), d.flag()
        work = count(shape) * halvings(max(shape[axis], 2))
        return (lambda: run(floats(*shape), dim=axis, **({"stable": True} if stable else {}))), (0, 0, work)

    return case


def topk(d: Draw):
    shape = d.shape()
    k = d.size(1, shape[-1])
    return lambda: torch.topk(floats(*shape), k), (0, 0, count(shape) * halvings(k + 1))


def bucketize(d: Draw):
    shape, boundaries = d.shape(0, 3), d.size()
    return lambda: torch.bucketize(floats(*shape), floats(boundaries)), (0, 0, count(shape) * halvings(boundaries + 1))


def searchsorted(d: Draw):
    leading, boundaries, values = d.shape(0, 2), d.size(), d.size()
    work = count(leading) * values * halvings(boundaries + 1)
    return lambda: torch.searchsorted(floats(*leading, boundaries), floats(*leading, values)), (0, 0, work)


def trace(d: Draw):
    n, m = d.size(), d.size()
    return lambda: floats(n, m).trace(), (0, 0, min(n, m))


def index_add(d: Draw):
    rows, columns, added = d.size(), d.size(), d.size()
    index = torch.zeros(added, dtype=torch.long)
    return lambda: floats(rows, columns).index_add_(0, index, floats(added, columns), alpha=2), (0, 0, added * columns)


def scatter(d: Draw):
    kind = d.one_of("write", "write out", "number", "add", "multiply a number")
    n, m = d.size(2), d.size(2)
    index = torch.zeros(d.size(1, n), d.size(1, m), dtype=torch.long)
    x, source = floats(n, m), floats(n, m)
    runs = {
        "write": (lambda: x.scatter(0, index, source), 0),
        "write out": (lambda: torch.scatter(x, 0, index, source, out=floats(n, m)), 0),
        "number": (lambda: x.scatter(0, index, 1.0), 0),
        "add": (lambda: ATEN.scatter.reduce(x, 0, index, source, reduce="add"), index.numel()),
        "multiply a number": (lambda: ATEN.scatter.value_reduce(x, 0, index, 2.0, reduce="multiply"), index.numel()),
    }
    run, work = runs[kind]
    return run, (0, 0, work)


def scatter_with(run: Callable[..., Any]) -> Case:
    def case(d: Draw):
        n, m = d.size(2), d.size(2)
        index = torch.zeros(d.size(1, n), d.size(1, m), dtype=torch.long)
        return lambda: run(floats(n, m), 0, index, floats(n, m)), (0, 0, index.numel())

    return case


def index_put(d: Draw):
    """Indices broadcast to one another, and values to the places that they name."""
    x = floats(3, 4, 5)
    adds, kind = d.flag(), d.one_of("one", "two", "behind", "mask")
    if kind == "mask":
        mask = torch.zeros(3, dtype=torch.bool)
        mask[: (true := d.size(0, 3))] = True
        indices, places = (mask,), (true, 4, 5)
    elif kind == "one":
        shape = d.shape(0, 2)
        indices, places = (torch.zeros(shape, dtype=torch.long),), (*shape, 4, 5)
    else:
        one, other = d.together(2, high=2)
        indices = (torch.zeros(one, dtype=torch.long), torch.zeros(other, dtype=torch.long))
        places = (*broadcast(one, other), 5)
        if kind == "behind":
            indices, places = (None, *indices), (3, *broadcast(one, other))
    values = torch.ones(d.one_of((), (1,), places))
    return lambda: ATEN.index_put(x, indices, values, adds), (0, 0, count(places) if adds else 0)
