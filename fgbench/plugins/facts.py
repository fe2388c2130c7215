"""Facts that ``fgbench list`` shows of a plug-in of each kind, from the object or from the source of its class.

A fact is text or a whole number. Reading the source imports nothing, so that lists of fgbench's classes need no torch.
"""

from __future__ import annotations

import ast
import functools
import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

LONGEST = 200  # characters of a description
# What a model selects: the groups of models in lists, in their order.
GROUPS = {
    "none": "nothing is selected",
    "tokens": "tokens that go on through further blocks",
    "regions": "regions that the backbone reads again",
    "parts": "features of parts, weighted or joined; no token is left out",
}
PACKAGES = ("fgbench", "fgbench_selectors", "fgbench_reports")  # packages whose source is read


def selector_facts(selector: Any) -> dict[str, Any]:
    """Input, axes of the scores, and description of a selector class."""
    shape = f"({', '.join(selector.score_shape)})"
    return {"reads": _reads(selector.needs), "scores": shape, "description": first_line(selector.__doc__)}


def model_facts(model: Any) -> dict[str, Any]:
    """What a model class selects, its year, backbone, passes, selector, shapes of scores, and description."""
    return {
        "selects": model.group,
        "year": model.year or "–",
        "passes": model.passes,
        "selector": model.published_selector or "–",
        "backbone": model.default_backbone,
        "selects by": " or ".join(f"({', '.join(shape)})" for shape in model.accepts) or "–",
        "description": first_line(model.__doc__),
    }


def reduction_facts(reduction: Any) -> dict[str, Any]:
    """Blocks, share of tokens, whether a selector can score them, and description of a reduction class."""
    return {
        "blocks": " ".join(map(str, reduction.default_at)),
        "keep rate": f"{reduction.default_keep_rate:g}",
        "takes a selector": "yes" if reduction.scores_tokens else "–",
        "description": first_line(reduction.__doc__),
    }


def dataset_facts(reader: Any) -> dict[str, Any]:
    """Published counts, content of ``--data-dir``, and description of a data set's reader."""
    published = getattr(reader, "published", None)
    counts = {"classes": "", "train": "", "test": ""}
    if published is not None:
        counts = {"classes": published.classes, "train": published.train_images, "test": published.test_images}
    return {**counts, "layout": getattr(reader, "holds", ""), "description": first_line(reader.__doc__)}


def engine_facts(engine: Any) -> dict[str, Any]:
    """The devices that it runs on, its precisions, its description."""
    return {
        "devices": " ".join(engine.devices),
        "dtypes": " ".join(engine.dtypes),
        "description": first_line(engine.__doc__),
    }


def report_facts(report: Any) -> dict[str, Any]:
    """Description of a report class."""
    return {"description": first_line(report.__doc__)}


def first_line(doc: str | None) -> str:
    """The first line of a docstring, at most :data:`LONGEST` characters, without a full stop."""
    return (doc or "").strip().partition("\n")[0].rstrip(".").replace("``", "")[:LONGEST]


def _reads(needs: Any) -> str:
    """The input of a selector in words, such as ``q, k of blocks 1…L−1``.

    Args:
        needs: A ``Needs``, or an object with its attributes.

    """
    blocks = getattr(needs, "blocks", None)
    inputs = ["tokens"] if getattr(needs, "tokens", False) else []
    if blocks is not None:
        start, stop = blocks.start, blocks.stop
        first = "1" if start is None else _block(start)
        last = "L" if stop is None else _block(stop - 1)
        steps = f" in steps of {blocks.step}" if blocks.step not in (None, 1) else ""
        inputs.append(f"q, k of block {last}" if first == last else f"q, k of blocks {first}…{last}{steps}")
    return " and ".join(inputs)


def _block(index: int) -> str:
    if index >= 0:
        return str(index + 1)
    return "L" if index == -1 else f"L−{-index - 1}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassFacts:
    """A class as its source describes it.

    Args:
        doc: Docstring of the class; empty where it has none.
        attributes: Literal values of class attributes, with those of its bases. A call becomes an object with its
            keyword arguments as attributes; ``slice(…)`` becomes a slice.
        options: Names of the parameters of ``__init__``, with those that it passes on to its bases.

    """

    doc: str
    attributes: Mapping[str, Any]
    options: tuple[str, ...]

    def described(self) -> SimpleNamespace:
        """An object with the docstring and the attributes of the class, for functions such as ``model_facts``."""
        return SimpleNamespace(**{**self.attributes, "__doc__": self.doc})


def class_facts(value: str) -> ClassFacts:
    """Read the source of a class.

    Args:
        value: ``package.module:Class``.

    Raises:
        LookupError: If there is no such source, or no such class in it.

    """
    module, _, name = value.partition(":")
    attributes: dict[str, Any] = {}
    options: dict[str, None] = {}
    passes_on, doc = True, None
    for node in _with_bases(module, name):
        doc = ast.get_docstring(node) or "" if doc is None else doc
        attributes = _attributes(node) | attributes
        if passes_on and (init := _init(node)) is not None:
            options |= dict.fromkeys(init[0])
            passes_on = init[1]
    return ClassFacts(doc=doc or "", attributes=attributes, options=tuple(options))


def _with_bases(module: str, name: str) -> list[ast.ClassDef]:
    """A class and the classes of fgbench that it derives from, in the order of inheritance."""
    tree = _tree(module)
    node = next((node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == name), None)
    if node is None:
        raise LookupError(f"{module} defines no class {name}")
    classes = [node]
    for base in node.bases:
        if isinstance(base, ast.Name) and (home := _home(tree, module, base.id)):
            classes += _with_bases(home, base.id)
    return classes


def _home(tree: ast.Module, module: str, name: str) -> str | None:
    """The module of fgbench that defines a name used in a module; None for names of other packages."""
    for node in tree.body:
        if isinstance(node, ast.ClassDef) and node.name == name:
            return module
        if isinstance(node, ast.ImportFrom) and node.module and any(alias.name == name for alias in node.names):
            return node.module if node.module.partition(".")[0] in PACKAGES else None
    return None


@functools.cache
def _tree(module: str) -> ast.Module:
    package, *names = module.split(".")
    spec = importlib.util.find_spec(package)  # a name without dots: nothing is imported
    if spec is None or not spec.submodule_search_locations:
        raise LookupError(f"there is no package {package}")
    file = Path(spec.submodule_search_locations[0], *names).with_suffix(".py")
    try:
        return ast.parse(file.read_text(encoding="utf-8"))
    except (OSError, SyntaxError, ValueError) as error:
        raise LookupError(f"the source of {module} cannot be read: {error}") from error


def _attributes(node: ast.ClassDef) -> dict[str, Any]:
    attributes: dict[str, Any] = {}
    for statement in node.body:
        if isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Name):
            name, value = statement.targets[0].id, statement.value
        elif isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name) and statement.value:
            name, value = statement.target.id, statement.value
        else:
            continue
        try:
            attributes[name] = _evaluated(value)
        except ValueError:  # a computed value is known only after an import
            continue
    return attributes


def _evaluated(node: ast.expr) -> Any:
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
        if node.func.id == "slice":
            return slice(*map(_evaluated, node.args))
        if not node.args and all(keyword.arg for keyword in node.keywords):
            return SimpleNamespace(**{str(keyword.arg): _evaluated(keyword.value) for keyword in node.keywords})
    return ast.literal_eval(node)


def _init(node: ast.ClassDef) -> tuple[list[str], bool] | None:
    """Names of the parameters of ``__init__``, and whether it has ``**options``; None without ``__init__``."""
    for statement in node.body:
        if isinstance(statement, ast.FunctionDef) and statement.name == "__init__":
            arguments = statement.args
            names = [argument.arg for argument in (*arguments.args[1:], *arguments.kwonlyargs)]
            return names, arguments.kwarg is not None
    return None
