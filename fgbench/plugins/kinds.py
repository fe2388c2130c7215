"""The kinds of plug-ins, their registries and their contracts. Nothing heavy is imported."""

from __future__ import annotations

import functools
import inspect
import pkgutil
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import FunctionType, ModuleType
from typing import Any

from fgbench.plugins import facts
from fgbench_selectors.entries import Entry, Registry
from fgbench_selectors.plugins import derived_from
from fgbench_selectors.registry import selectors

__all__ = [
    "KINDS",
    "NOT_REPRODUCIBLE",
    "Kind",
    "datasets",
    "engines",
    "kind_of",
    "models",
    "reductions",
    "reports",
    "selectors",
]


def _named(path: str) -> Any:
    """The object of a path as entry points have it; a contract is imported where the first plug-in is held to it."""
    return pkgutil.resolve_name(path)


def _classes_of(path: str) -> Callable[[ModuleType], list[Any]]:
    """A function from a module to its classes that derive from the class of this path."""
    return derived_from(lambda: _named(path))


def _breach_by(path: str) -> Callable[[object], str | None]:
    """The check of a contract that has this path."""

    def breach(candidate: object) -> str | None:
        why: str | None = _named(path)(candidate)
        return why

    return breach


def _dataset_functions(module: ModuleType) -> list[Any]:
    """Public functions of a module that are annotated as returning a DataSet, with or without ``@reads``."""
    reader = getattr(sys.modules.get("fgbench.datasets.reader"), "Reader", FunctionType)
    functions = [value for value in vars(module).values() if isinstance(value, (FunctionType, reader))]
    return [
        value
        for value in dict.fromkeys(functions)
        if value.__module__ == module.__name__ and not value.__name__.startswith("_") and _returns_dataset(value)
    ]


def _returns_dataset(function: Any) -> bool:
    annotation = inspect.unwrap(function).__annotations__.get("return")
    name = annotation if isinstance(annotation, str) else getattr(annotation, "__qualname__", "")
    return str(name).rpartition(".")[2] == "DataSet"


# Models that cannot be built, and why. Commands refuse their names with the reason.
NOT_REPRODUCIBLE = {
    "tpskg": "TPSKG (peak suppression and knowledge guidance): its formulas are not established; no code was published",
    "dualtr": "Dual-TR (two parallel transformers): its assembly of tokens in and between layers is not established; "
    "no code was published",
    "deit-net": "DeiT-NeT (the tree of ViT-NeT on a DeiT): the tokens that the tree reads, its width, its depth and "
    "the training are not established; no code was published. On a Swin it is vitnet",
}

models = Registry(
    "fgbench.models",
    "model",
    _breach_by("fgbench.models.build:model_breach"),
    _classes_of("fgbench.models.model:Model"),
)
models.others = lambda name: _named("fgbench.plugins.any_model:any_model")(name)  # it is imported when it is asked
reductions = Registry(
    "fgbench.reductions",
    "reduction",
    _breach_by("fgbench.models.reductions.reduction:reduction_breach"),
    _classes_of("fgbench.models.reductions.reduction:Reduction"),
)
datasets = Registry(
    "fgbench.datasets", "dataset", _breach_by("fgbench.datasets.build:dataset_breach"), _dataset_functions
)
engines = Registry(
    "fgbench.engines",
    "engine",
    _breach_by("fgbench.measure.engine:engine_breach"),
    _classes_of("fgbench.measure.engine:Engine"),
)
reports = Registry(
    "fgbench.reports",
    "report",
    _breach_by("fgbench_reports.report:report_breach"),
    _classes_of("fgbench_reports.report:Report"),
    earlier_names={"bought": "accuracy_vs_cost", "found": "selector_quality", "work": "flops"},
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """One kind of plug-in.

    Args:
        registry: The objects by name.
        must_be: The required definition in a plug-in file, in words.
        home: The module that a plug-in file has to import to define one.
        facts: Returns the facts that ``fgbench list`` shows.
        needs_torch: Whether it imports torch.

    """

    registry: Registry
    must_be: str
    home: str
    facts: Callable[[Any], dict[str, Any]]
    needs_torch: bool

    @property
    def group(self) -> str:
        """The entry-point group."""
        return self.registry.group


KINDS = (
    Kind(
        registry=selectors,
        must_be="a class derived from fgbench_selectors.Selector",
        home="fgbench_selectors.selector",
        facts=facts.selector_facts,
        needs_torch=True,
    ),
    Kind(
        registry=models,
        must_be="a class derived from fgbench.models.model.Model",
        home="fgbench.models.model",
        facts=facts.model_facts,
        needs_torch=True,
    ),
    Kind(
        registry=reductions,
        must_be="a class derived from fgbench.models.reductions.reduction.Reduction",
        home="fgbench.models.reductions.reduction",
        facts=facts.reduction_facts,
        needs_torch=True,
    ),
    Kind(
        registry=datasets,
        must_be="a function annotated '-> DataSet'",
        home="fgbench.datasets.dataset",
        facts=facts.dataset_facts,
        needs_torch=False,
    ),
    Kind(
        registry=engines,
        must_be="a class derived from fgbench.measure.engine.Engine",
        home="fgbench.measure.engine",
        facts=facts.engine_facts,
        needs_torch=False,
    ),
    Kind(
        registry=reports,
        must_be="a class derived from fgbench_reports.report.Report",
        home="fgbench_reports.report",
        facts=facts.report_facts,
        needs_torch=False,
    ),
)


def kind_of(group: str) -> Kind:
    """The kind of an entry-point group."""
    return next(kind for kind in KINDS if kind.group == group)


def _vet(kind: Kind, entries: Sequence[Entry]) -> Mapping[str, str]:
    from fgbench.plugins.trial import why_not

    return why_not(kind, entries)


for _kind in KINDS:
    _kind.registry.vet = functools.partial(_vet, _kind)
