"""What a class of fgbench's own says of itself, read from its source: nothing is imported, so a list needs no torch."""

from __future__ import annotations

import ast
import functools
import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassFacts:
    """A class as its source describes it.

    Args:
        doc: The class's docstring; empty where it has none.
        attributes: Values of class attributes that are written out, those of its bases included. A call has its
            keyword arguments as attributes, a ``slice`` is one.
        options: Parameters of ``__init__`` by name, those that it hands on to its bases included.

    """

    doc: str
    attributes: Mapping[str, Any]
    options: tuple[str, ...]

    def described(self) -> SimpleNamespace:
        """What stands in for the class where it is described."""
        return SimpleNamespace(**{**self.attributes, "__doc__": self.doc})


def class_facts(value: str) -> ClassFacts:
    """Read the source of ``package.module:Class``.

    Raises:
        LookupError: Where there is no such source, or no such class in it.

    """
    module, _, name = value.partition(":")
    attributes: dict[str, Any] = {}
    options: dict[str, None] = {}
    hands_on, doc = True, None
    for node in _with_bases(module, name):
        doc = ast.get_docstring(node) or "" if doc is None else doc
        attributes = _attributes(node) | attributes
        if hands_on and (init := _init(node)) is not None:
            options |= dict.fromkeys(init[0])
            hands_on = init[1]
    return ClassFacts(doc=doc or "", attributes=attributes, options=tuple(options))


def _with_bases(module: str, name: str) -> list[ast.ClassDef]:
    """A class and those that it derives from, as far as they are fgbench's own, in the order of their inheritance."""
    tree = _tree(module)
    found = next((node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == name), None)
    if found is None:
        raise LookupError(f"{module} defines no class {name}")
    classes = [found]
    for base in found.bases:
        if isinstance(base, ast.Name) and (home := _home(tree, module, base.id)):
            classes += _with_bases(home, base.id)
    return classes


def _home(tree: ast.Module, module: str, name: str) -> str | None:
    """The module of fgbench that defines a name which a module uses; None for what is not fgbench's."""
    for node in tree.body:
        if isinstance(node, ast.ClassDef) and node.name == name:
            return module
        if isinstance(node, ast.ImportFrom) and node.module and any(alias.name == name for alias in node.names):
            return node.module if node.module.partition(".")[0] in _ROOTS else None
    return None


_ROOTS = ("fgbench", "fgbench_selectors", "fgbench_reports")


@functools.cache
def _tree(module: str) -> ast.Module:
    root, *parts = module.split(".")
    spec = importlib.util.find_spec(root)  # of a package without dots: nothing is imported for it
    if spec is None or not spec.submodule_search_locations:
        raise LookupError(f"there is no package {root}")
    file = Path(spec.submodule_search_locations[0], *parts).with_suffix(".py")
    try:
        return ast.parse(file.read_text(encoding="utf-8"))
    except (OSError, SyntaxError, ValueError) as error:
        raise LookupError(f"the source of {module} cannot be read: {error}") from error


def _attributes(node: ast.ClassDef) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for statement in node.body:
        if isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Name):
            name, value = statement.targets[0].id, statement.value
        elif isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name) and statement.value:
            name, value = statement.target.id, statement.value
        else:
            continue
        try:
            found[name] = _evaluated(value)
        except ValueError:  # it is computed: only importing it would tell
            continue
    return found


def _evaluated(node: ast.expr) -> Any:
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
        if node.func.id == "slice":
            return slice(*map(_evaluated, node.args))
        if not node.args and all(keyword.arg for keyword in node.keywords):
            return SimpleNamespace(**{str(keyword.arg): _evaluated(keyword.value) for keyword in node.keywords})
    return ast.literal_eval(node)


def _init(node: ast.ClassDef) -> tuple[list[str], bool] | None:
    """The parameters of ``__init__``, and whether it hands others on; None where the class has none."""
    for statement in node.body:
        if isinstance(statement, ast.FunctionDef) and statement.name == "__init__":
            arguments = statement.args
            names = [argument.arg for argument in (*arguments.args[1:], *arguments.kwonlyargs)]
            return names, arguments.kwarg is not None
    return None
