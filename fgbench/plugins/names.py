"""Names that people type, looked up before anything is imported: a "no" must not take as long as loading torch.

Plug-in files can add names. Where some are given, what is unknown here is left to whoever loads them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from fgbench.errors import FgbenchError, UnknownNameError
from fgbench.plugins import timm_names
from fgbench.plugins.kinds import NOT_REPRODUCIBLE, models, selectors
from fgbench.plugins.source_facts import ClassFacts, class_facts
from fgbench_selectors.entries import Registry


def check_models(names: Iterable[str] | None, plugin_files: Sequence[str] | None = None) -> None:
    """Raise :class:`UnknownNameError` for a name that no model has, :class:`FgbenchError` for one not reproduced."""
    for name in names or ():
        if name in NOT_REPRODUCIBLE:
            raise FgbenchError("the model cannot be reproduced yet:", name, NOT_REPRODUCIBLE[name])
    check_registered(models, names, plugin_files)


def check_selectors(names: Iterable[str] | None, plugin_files: Sequence[str] | None = None) -> None:
    """Raise :class:`UnknownNameError` for a name that no selector has."""
    check_registered(selectors, names, plugin_files)


def check_engines(names: Iterable[str] | None, plugin_files: Sequence[str] | None = None) -> None:
    """Raise :class:`UnknownNameError` for a name that no engine has."""
    from fgbench.measure.engine import registered_engines

    for name in () if plugin_files else names or ():
        registered_engines(name)


def check_registered(registry: Registry, names: Iterable[str] | None, plugin_files: Sequence[str] | None) -> None:
    """Raise :class:`UnknownNameError` for a name that is not in a registry."""
    if plugin_files:
        return
    for name in names or ():
        if name not in registry.names():
            raise UnknownNameError(registry.kind, name, registry.entries())


def check_backbones(
    names: Iterable[str] | None, plugin_files: Sequence[str] | None = None, *, beside: Sequence[str] = ()
) -> None:
    """Raise :class:`UnknownNameError` for a name that timm does not have.

    Args:
        names: Names as timm has them, with a tag or without.
        plugin_files: Plug-in files, which may bring models of their own to timm.
        beside: Models that are built on the backbones, for what is suggested.

    """
    entries = [*models.entries().values(), *selectors.entries().values()]
    foreign = plugin_files or not all(entry.is_own for entry in entries)
    for name in () if foreign else names or ():
        if not timm_names.is_timm_model(name):
            resnets = bool(beside) and not default_backbone(beside[0]).startswith("vit")
            raise timm_names.unknown_backbone(name, of_resnets=resnets)


def check_model_options(options: Iterable[str], names: Sequence[str], not_these: Iterable[str] = ()) -> None:
    """Raise :class:`FgbenchError` for an option that one of fgbench's own models does not have."""
    for name in names:
        facts = own_facts(models, name)
        known = set(facts.options) - {"backbone"} if facts else None
        for option in options:
            if known is not None and option not in known - set(not_these):
                raise FgbenchError(f"model {name!r} has no option", option, f"it has: {', '.join(sorted(known))}")


def default_backbone(model: str) -> str:
    """The backbone that a model was published with. Raises what :func:`check_models` does."""
    check_models([model])
    if facts := own_facts(models, model):
        return str(facts.attributes["default_backbone"])
    kind: Any = models.load(model)
    return str(kind.default_backbone)


def reads_class_token(selector: str) -> bool:
    """Whether a selector reads the class token's row, which not every backbone has."""
    if facts := own_facts(selectors, selector):
        return bool(getattr(facts.attributes["needs"], "class_token", False))
    return bool(selectors.load(selector).needs.class_token)


def own_facts(registry: Registry, name: str) -> ClassFacts | None:
    """What the source of one of fgbench's own classes says; None for those of others, and where there is no source."""
    entry = registry.entries().get(name)
    if entry is None or not entry.is_own:
        return None
    try:
        return class_facts(entry.value)
    except LookupError:
        return None
