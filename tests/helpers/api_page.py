"""The text of docs/api.md: every public name with its signature and the first paragraph of its docstring."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
import textwrap
from collections.abc import Iterator
from typing import Any

MODULES = {
    "fgbench": "Count work, build models, measure, load and save weights.",
    "fgbench_selectors": "The selectors, and what they read. Only torch is needed.",
    "fgbench_reports.report": "The contract of reports: what they are filled from, and what they are made of.",
}
# What plug-ins are derived from, and what examples of them import: a summary of the module, and its names.
CONTRACTS = {
    "fgbench.models.model": ("The contract of models.", "Explanation", "Model"),
    "fgbench.models.vision_transformer": ("The base of models on a vision transformer.", "VisionTransformerModel"),
    "fgbench.models.pyramid": ("The stages of a backbone, for models that read several of them.", "Pyramid"),
    "fgbench.models.reductions.reduction": ("The contract of token reductions.", "BlockView", "Reduction"),
    "fgbench.models.token_ops": ("A function for token reductions.", "take"),
    "fgbench.datasets.dataset": ("The contract of data sets.", "DataSet", "FileSplit", "Split"),
    "fgbench.datasets.reader": ("The frame of a function that reads a data set.", "Reader", "reads"),
    "fgbench.datasets.files": ("Functions for readers of data sets.", "renumber", "rows"),
    "fgbench.measure.engine": ("The contract of engines.", "Batch", "Engine"),
    "fgbench.measure.subject": ("What an engine runs.", "Subject"),
    "fgbench_selectors.conformance": ("The test of a selector's contract.", "check_selector"),
    "fgbench_reports.tables.column": ("Columns of tables in reports.", "Cell", "Column"),
    "fgbench_reports.tables.numbers": ("A function that prints numbers in reports.", "four_digits"),
}
INTRODUCTION = """# API

The public functions and classes. B is the batch, H the heads, N the tokens, G the patches per side of the grid, d the
size of a head; [glossary.md](glossary.md) has the words. The sections after `fgbench_reports.report` have what plug-ins
are derived from; [CONTRIBUTING.md](../CONTRIBUTING.md) has an example of each. All other names may change.

A test compares this page with the code. `FGBENCH_UPDATE_SNAPSHOTS=1 pytest tests/test_docs.py` writes it anew.
"""


def public_names(module: str) -> list[str]:
    """The public names of a module, sorted."""
    names = CONTRACTS[module][1:] if module in CONTRACTS else importlib.import_module(module).__all__
    return sorted(names, key=str.lower)


def api_page() -> str:
    """The text of the page."""
    parts = [INTRODUCTION]
    for module, summary in {**MODULES, **{module: told[0] for module, told in CONTRACTS.items()}}.items():
        parts.append(f"## {module}\n\n{summary}\n")
        public = importlib.import_module(module)
        parts += [entry(name, getattr(public, name)) for name in public_names(module)]
    return "\n".join(parts)


def entry(name: str, value: Any) -> str:
    """A name with its signature and its docstring; of a class, its fields and public methods as well."""
    if inspect.ismodule(value):  # a package that can be called is called as its function
        value = getattr(importlib.import_module(f"{value.__name__}.{name}"), name)
    if not (inspect.isclass(value) or inspect.isfunction(value)):
        return f"### {name}\n\n{constant(value)}\n"
    called = "" if getattr(value, "_is_protocol", False) else f"```python\n{name}{signature(value)}\n```\n"
    lines = [f"### {name}\n", *([called] if called else []), f"{paragraph(value)}\n", *sections(value)]
    if inspect.isclass(value):
        told = fields(value)
        members = [f"- `{method}`: {paragraph(member)}" for method, member in methods(value)]
        lines += ["Fields:\n", *told, ""] if told else []
        lines += [*(["Methods:\n"] if told and members else []), *members, ""] if members else []
    return "\n".join(lines)


def fields(kind: type) -> list[str]:
    """The public fields and class attributes whose meaning a comment tells, behind them or above."""
    source = textwrap.dedent(inspect.getsource(kind))
    lines = source.splitlines()
    found = []
    for node in ast.parse(source).body[0].body:
        if not (isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)) or node.target.id[0] == "_":
            continue
        behind = lines[node.end_lineno - 1].encode()[node.end_col_offset :].decode().partition("#")[2]
        first = node.lineno - 1
        while lines[first - 1].strip().startswith("#"):
            first -= 1
        above = " ".join(line.strip(" #") for line in lines[first : node.lineno - 1])
        if comment := (behind or above).strip():
            annotation = re.sub(r"^ClassVar\[(.*)\]$", r"\1", ast.unparse(node.annotation))
            default = f" = {ast.unparse(node.value)}" if node.value is not None else ""
            found.append(f"- `{node.target.id}: {annotation}{default}`: {marked(comment)}")
    return found


def sections(value: Any) -> Iterator[str]:
    """The sections of a docstring, such as Args and Returns, as lists."""
    doc = inspect.getdoc(value) or ""
    for title, body in re.findall(r"^(Args|Returns|Yields|Raises|Attributes):\n((?:[ ]+.*\n?|\n)+)", doc, re.MULTILINE):
        entries = [" ".join(part.split()) for part in re.split(r"\n(?= {4}\S)", f"\n{body.rstrip()}") if part.strip()]
        named = [re.sub(r"^(\*{0,2}\w+): ", r"`\1`: ", marked(part)) for part in entries]
        yield f"{title}:\n\n" + "".join(f"- {part}\n" for part in named)


def constant(value: Any) -> str:
    """What a name holds that is neither a function nor a class."""
    if type(value).__module__.startswith("fgbench"):
        return f"A `{type(value).__name__}`: {paragraph(type(value))}"
    names = [f"`{one.__name__}`" for one in getattr(value, "__args__", ())]
    return f"One of {', '.join(names)}." if names else f"`{value!r}`"


def signature(value: Any) -> str:
    """The parameters with their types and defaults, on lines of their own where one line is too long."""
    own = inspect.isclass(value) and isinstance(vars(value).get("__signature__"), property)  # that of its objects
    found = inspect.signature(value.__init__ if own else value)
    parameters: list[str] = []
    for parameter in found.parameters.values():
        if parameter.name == "self":
            continue
        if parameter.kind is parameter.KEYWORD_ONLY and not any(text.startswith("*") for text in parameters):
            parameters.append("*")
        stars = {parameter.VAR_POSITIONAL: "*", parameter.VAR_KEYWORD: "**"}.get(parameter.kind, "")
        text = f"{stars}{parameter.name}{annotated(parameter.annotation)}"
        has_default = parameter.default is not parameter.empty
        equals = " = " if parameter.annotation is not parameter.empty else "="
        parameters.append(f"{text}{equals}{shown(parameter.default)}" if has_default else text)
    returned = "" if inspect.isclass(value) else annotated(found.return_annotation).replace(": ", " -> ", 1)
    line = f"({', '.join(parameters)}){returned}"
    if len(line) < 90:
        return line
    return "(\n" + "".join(f"    {parameter},\n" for parameter in parameters) + f"){returned}"


def annotated(annotation: Any) -> str:
    if annotation is inspect.Parameter.empty:
        return ""
    return f": {annotation if isinstance(annotation, str) else getattr(annotation, '__name__', annotation)}"


def shown(default: Any) -> str:
    return "…" if repr(default).startswith("<") else repr(default)


def paragraph(value: Any) -> str:
    """The first paragraph of a docstring, in Markdown."""
    return marked((inspect.getdoc(value) or "").partition("\n\n")[0])


def marked(text: str) -> str:
    """A text of a docstring, its roles and double quotes as code of Markdown."""
    text = re.sub(r":\w+:`~?\.?([^`]+)`", lambda match: f"`{match[1]}`", text).replace("``", "`")
    return " ".join(text.split())


def methods(kind: type) -> Iterator[tuple[str, Any]]:
    """The public methods and properties that a class defines itself."""
    for name, member in vars(kind).items():
        function = member.fget if isinstance(member, property) else getattr(member, "__func__", member)
        if not name.startswith("_") and inspect.isfunction(function) and inspect.getdoc(function):
            call = name if isinstance(member, property) else f"{name}{signature(function)}"
            yield re.sub(r",? \)", ")", re.sub(r"\s+", " ", call).replace("( ", "(")), function
