"""Checks of names from the command line, before torch is imported: an unknown name is refused at once.

Plug-in files can add names. Where there are some, unknown names are checked later, when the files are loaded.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Any

from fgbench.errors import BadFunctionError, FgbenchError, UnknownNameError
from fgbench.options import DEVICES
from fgbench.plugins import timm_names
from fgbench.plugins.any_model import lacks_file, near_names, timms_name
from fgbench.plugins.facts import ClassFacts, class_facts
from fgbench.plugins.kinds import NOT_REPRODUCIBLE, engines, models, selectors
from fgbench.results.reduced_name import base_model
from fgbench_selectors.entries import Registry


def check_models(names: Iterable[str] | None, plugin_files: Sequence[str] | None = None) -> None:
    """Check names of models. A function whose file is not there is named later, where there are others beside it.

    Raises:
        UnknownNameError: If a name is not registered.
        FgbenchError: If the model cannot be reproduced, or all of them are functions whose files are not there.

    """
    names = list(names or ())
    for name in names:
        if name in NOT_REPRODUCIBLE:
            raise FgbenchError("the model cannot be reproduced yet:", name, NOT_REPRODUCIBLE[name])
    lacking = [why for name in names if (why := lacks_file(name))]
    if lacking and len(lacking) == len(names):
        raise BadFunctionError(names[0], names[0].rpartition(":")[0], lacking[0])
    check_registered(models, names, plugin_files)


def check_selectors(names: Iterable[str] | None, plugin_files: Sequence[str] | None = None) -> None:
    """Check names of selectors.

    Raises:
        UnknownNameError: If a name is not registered.

    """
    check_registered(selectors, names, plugin_files)


def check_engines(names: Iterable[str] | None, plugin_files: Sequence[str] | None = None) -> None:
    """Raise :class:`UnknownNameError` for a name that no engine has."""
    for name in () if plugin_files else names or ():
        registered_engines(name)


def engine_names() -> list[str]:
    """The names that people may type: registered ones, and those that several of these share."""
    return sorted({*engines.names(), *map(public_name, engines.names())})


def registered_engines(name: str) -> list[str]:
    """The registered names that a typed name stands for. Raises :class:`UnknownNameError`."""
    registered = engines.names()
    if name in registered:
        return [name]
    shared = [f"{name}_{device}" for device in DEVICES if f"{name}_{device}" in registered]
    if not shared:
        raise UnknownNameError("engine", name, engine_names())
    return shared


def public_name(name: str) -> str:
    """The name of an engine in rows: without the device, where the engines of several devices share one name."""
    base, _, device = name.rpartition("_")
    return base if base and device in DEVICES else name


def check_registered(registry: Registry, names: Iterable[str] | None, plugin_files: Sequence[str] | None) -> None:
    """Check names of a registry; nothing is checked where there are plug-in files.

    Raises:
        UnknownNameError: If a name is not registered.

    """
    if plugin_files:
        return
    for name in names or ():
        if not registry.knows(name):
            near = near_names(name) if registry is models else []
            raise UnknownNameError(registry.kind, name, registry.entries(), others=near)


def check_backbones(
    names: Iterable[str] | None, plugin_files: Sequence[str] | None = None, *, beside: Sequence[str] = ()
) -> None:
    """Check names of backbones.

    Args:
        names: timm's names, with a tag or without.
        plugin_files: Plug-in files, which may register models with timm.
        beside: Models that are built on the backbones; they decide which names are suggested.

    Raises:
        UnknownNameError: If timm has no such model.

    """
    entries = [*models.entries().values(), *selectors.entries().values()]
    foreign = plugin_files or not all(entry.is_own for entry in entries)
    for name in () if foreign else names or ():
        if not timm_names.is_timm_model(name):
            resnets = bool(beside) and default_backbone(beside[0]).startswith("resnet")
            raise timm_names.unknown_backbone(name, of_resnets=resnets)


def check_model_options(options: Iterable[str], names: Sequence[str], not_these: Collection[str] = ()) -> None:
    """Check options of fgbench's own models.

    Args:
        options: Names of options.
        names: Names of models.
        not_these: Options of the models that are not allowed here.

    Raises:
        FgbenchError: If a model does not have an option.

    """
    for name in names:
        facts = own_facts(models, name)
        known = set(facts.options) - {"backbone", *not_these} if facts else None
        for option in options:
            if known is not None and option not in known:
                given = "the command itself has an option for it; " if option in not_these else ""
                do = f"{given}it has: {', '.join(sorted(known))}"
                raise FgbenchError(f"model {name!r} has no option", option, do)


def default_backbone(model: str) -> str:
    """Timm's name of the backbone that a model was published with; errors as of :func:`check_models`."""
    check_models([model])
    if facts := own_facts(models, model):
        return str(facts.attributes["default_backbone"])
    if model not in models.entries() and (timms := timms_name(model)):
        return timms
    model_class: Any = models.load(model)
    return str(model_class.default_backbone)


def reads_class_token(selector: str) -> bool:
    """Whether a selector reads the row of the class token, which not every backbone has."""
    if facts := own_facts(selectors, selector):
        return bool(getattr(facts.attributes["needs"], "class_token", False))
    return bool(selectors.load(selector).needs.class_token)


def own_facts(registry: Registry, name: str) -> ClassFacts | None:
    """Facts from the source of a class of fgbench; None for plug-ins and where there is no source."""
    entry = registry.entries().get(base_model(name) if registry is models else name)
    if entry is None or not entry.is_own:
        return None
    try:
        return class_facts(entry.value)
    except LookupError:
        return None
