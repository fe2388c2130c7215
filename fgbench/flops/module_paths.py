"""Paths of the modules that run now, below the modules that called them."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import accumulate, chain
from types import TracebackType
from typing import Any
from weakref import WeakKeyDictionary

from torch import nn
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook
from torch.utils.hooks import RemovableHandle


class ModulePaths:
    """Follows calls of modules inside of ``with ModulePaths() as paths:``.

    A path follows the calls: a module that two parents share has a path under each of them. A module that its caller
    does not contain has the name that an outer caller has for it, or the name of its class. A module in a list counts
    for the list too, though the list is never called, so that no module has more work than the one that contains it.

    Attributes:
        running: Paths of all modules that run now, with those of the modules that contain them.
        innermost: Class of the innermost module that runs; None outside of modules.

    """

    def __init__(self) -> None:
        self._stack: list[tuple[nn.Module, str]] = []
        self._names: WeakKeyDictionary[nn.Module, dict[int, str]] = WeakKeyDictionary()
        self._outermost: dict[int, tuple[nn.Module, str]] = {}  # keeps the modules, so that their ids stay theirs
        self._handles: list[RemovableHandle] = []
        self.running: frozenset[str] = frozenset()
        self.innermost: str | None = None

    def __enter__(self) -> ModulePaths:
        self._handles = [
            register_module_forward_pre_hook(self._enter_module),
            register_module_forward_hook(self._leave_module, always_call=True),
        ]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for handle in self._handles:
            handle.remove()
        self._stack.clear()
        self._update()

    def _enter_module(self, module: nn.Module, inputs: Any) -> None:
        self._stack.append((module, self._path(module)))
        self._update()

    def _leave_module(self, module: nn.Module, inputs: Any, output: Any) -> None:
        while self._stack:  # modules of a call that ended with an exception may still be there
            ended, _ = self._stack.pop()
            if ended is module:
                break
        self._update()

    def _update(self) -> None:
        self.running = frozenset(outer for _, path in self._stack for outer in _with_outer(path))
        self.innermost = type(self._stack[-1][0]).__name__ if self._stack else None

    def _path(self, module: nn.Module) -> str:
        kind = type(module).__name__
        if not self._stack:
            return self._outermost_path(module, kind)
        caller_path = self._stack[-1][1]
        for holder, _ in reversed(self._stack):
            name = self._names_in(holder).get(id(module))
            if name == "":
                return caller_path if holder is self._stack[-1][0] else f"{caller_path}.{kind}"
            if name is not None:
                return f"{caller_path}.{name}"
        return f"{caller_path}.{kind}"

    def _outermost_path(self, module: nn.Module, kind: str) -> str:
        """The name of the class; further modules of the class get numbers."""
        if id(module) not in self._outermost:
            taken = {path for _, path in self._outermost.values()}
            number = 1
            while (path := kind if number == 1 else f"{kind}#{number}") in taken:
                number += 1
            self._outermost[id(module)] = (module, path)
        return self._outermost[id(module)][1]

    def _names_in(self, holder: nn.Module) -> dict[int, str]:
        """Names of modules inside a holder by their id; of several names the one that the holder itself calls."""
        names = self._names.get(holder)
        if names is None:
            names = self._names[holder] = {}
            for name, module in chain(_own_modules(holder), holder.named_modules()):
                names.setdefault(id(module), name)
        return names


def _own_modules(holder: nn.Module, before: str = "") -> Iterator[tuple[str, nn.Module]]:
    """The modules that a holder can call by name: its children, and the children of lists, which are never called."""
    for name, module in holder.named_children():
        yield before + name, module
        if type(module).forward is nn.Module.forward:
            yield from _own_modules(module, f"{before}{name}.")


def _with_outer(path: str) -> Iterator[str]:
    """``a``, ``a.b`` and ``a.b.c`` of ``a.b.c``."""
    return accumulate(path.split("."), "{}.{}".format)
