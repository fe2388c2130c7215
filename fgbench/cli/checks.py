"""Checks before torch is loaded: names that are not known, files that are not there."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path

from fgbench.errors import FgbenchError, no_checkpoint


def check_names(
    *,
    models: Sequence[str] | None = None,
    selectors: Sequence[str] | None = None,
    backbones: Sequence[str] | None = None,
    engines: Sequence[str] | None = None,
    plugins: Sequence[str] | None = None,
) -> None:
    """Refuse names of models, selectors, backbones and engines that are not known.

    Args:
        models: Names that were typed; None where none was.
        selectors: The same.
        backbones: The same; they are what the models are built on.
        engines: The same.
        plugins: Plug-in files. Where there are any, they may have names that are not known yet.

    Raises:
        UnknownNameError: With the nearest and the known names.
        FgbenchError: For a model that cannot be reproduced yet.

    """
    from fgbench.plugins.names import check_backbones, check_engines, check_models, check_selectors

    check_models(models, plugins)
    check_selectors(selectors, plugins)
    check_engines(engines, plugins)
    check_backbones(backbones, plugins, beside=models or ())


def check_model_options(options: Iterable[str], models: Sequence[str], not_these: Collection[str] = ()) -> None:
    """Refuse options that one of fgbench's own models does not have, and those that the command has others for."""
    from fgbench.plugins.names import check_model_options as check

    check(options, models, not_these)


def check_dataset(name: str, options: Mapping[str, str], plugins: Sequence[str] | None = None) -> None:
    """Refuse a data set that is not known, and options that one of fgbench's own does not have."""
    from fgbench.datasets.build import check_options

    check_options(name, options, plugins)


def check_optimizer(name: str | None) -> None:
    """Refuse an optimizer that timm does not have."""
    from fgbench.plugins.timm_names import optimizer_names

    if name is not None and name not in optimizer_names():
        raise FgbenchError("timm has no optimizer", name, "for example momentum (plain SGD), sgd, adamw")


def check_checkpoint(path: Path | None) -> None:
    """Refuse a file of weights where there is nothing at all; what is there is looked at by its reader."""
    try:
        is_there = path is None or os.path.lexists(path)
    except ValueError:  # a null character
        return
    if path is not None and not is_there:
        raise no_checkpoint(path)
