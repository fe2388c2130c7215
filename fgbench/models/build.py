"""Models by name: ``create_model("glsim")``, and the same as ``timm.create_model("fgbench_glsim")``."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from typing import Any

from timm.models import register_model

from fgbench.errors import FgbenchError
from fgbench.models.model import Model
from fgbench.models.options import defaults_of
from fgbench.plugins.facts import GROUPS
from fgbench.plugins.kinds import NOT_REPRODUCIBLE, models
from fgbench_selectors.selector import AXES

__all__ = ["NOT_REPRODUCIBLE", "create_model", "model_class", "model_options", "models"]

PREFIX = "fgbench_"  # of the names in timm
# Arguments that timm passes to every model and that have no meaning here.
ARGUMENTS_OF_TIMM = ("pretrained_cfg", "pretrained_cfg_overlay", "cache_dir", "scriptable", "exportable", "no_jit")
# Options that change only training or speed: a model with other values computes the same logits.
OF_TRAINING = (
    *("impl", "pretrained", "num_classes", "label_smoothing", "norm_eps", "contrastive", "margin", "beta"),
    *("dropout", "dropout_at", "head_init", "block_init", "fresh_last_block", "fresh_last_norm", "loss_heads"),
    *("loss_weight", "update_warm", "attention_dropout", "head_dropout", "early_weight", "collage", "cells"),
    *("level_weight", "selected_weight", "dropped_weight", "combiner_weight", "first_weight", "temperature"),
)

# Options of a reduction of tokens, which most models have none of: ``Model.reduction_options`` has them.
OF_REDUCTION = ("reduction", "keep_rate", "reduction_at", "reduction_selector", "reduction_options")


def model_breach(candidate: object) -> str | None:
    """Why an object is no model class, in words; None where it is one."""
    if not (isinstance(candidate, type) and issubclass(candidate, Model)):
        return "it must be a class derived from fgbench.models.model.Model"
    if candidate.flow is Model.flow:
        return "it has no method 'flow(images)'"
    if not isinstance(candidate.default_backbone, str):
        return f"its attribute 'default_backbone' must be a name, got {candidate.default_backbone!r}"
    shapes = candidate.accepts
    if not isinstance(shapes, tuple) or not all(isinstance(s, tuple) and all(a in AXES for a in s) for s in shapes):
        return f"its attribute 'accepts' must be a tuple of score shapes, tuples out of {AXES}"
    if candidate.group not in GROUPS:
        return f"its attribute 'group' must be one of {', '.join(GROUPS)}, got {candidate.group!r}"
    if not isinstance(candidate.passes, int) or not isinstance(candidate.year, int | None):
        return f"its attributes 'passes' and 'year' must be whole numbers, got {candidate.passes!r}, {candidate.year!r}"
    if not isinstance(candidate.two_impls, bool):
        return f"its attribute 'two_impls' must be True or False, got {candidate.two_impls!r}"
    model_options(candidate)  # raises where the options cannot be read
    return None


def create_model(name: str, backbone: str | None = None, **options: Any) -> Model:
    """Build a published model: ``create_model("glsim", img_size=448, num_classes=200)``.

    Args:
        name: A registered name, perhaps with a reduction of tokens: ``vit+evit@0.7``.
        backbone: timm's name of the backbone; that of the paper by default.
        options: Options of the model. All models have ``img_size`` (a side in pixels; ``vit``, ``resnet101``, networks
            of timm and functions take (height, width) too), ``num_classes``, ``impl`` (``fast`` or
            ``published``), ``pretrained`` (timm's weights for the backbone) and ``label_smoothing``; models on a vision
            transformer have ``head_init``, ``dropout`` and ``reduction``; models with a selector have ``selector`` (a
            name or an instance).

    Returns:
        The model.

    Raises:
        UnknownNameError: If the name or the backbone is unknown.
        FgbenchError: If an option is unknown, or options do not fit each other.

    """
    cls: Any = model_class(name)
    known = model_options(cls)
    for option in options:
        if option not in known:
            raise FgbenchError(f"model {name!r} has no option", option, f"it has: {', '.join(sorted(known))}")
    with models.blame(name, FgbenchError):
        model = cls(backbone, **options)
        if not isinstance(model, Model):
            raise TypeError("its class must make a fgbench.models.model.Model")
    model.options = _options_of(cls, model, backbone, options)
    return model


def _options_of(cls: type[Model], model: Model, backbone: str | None, options: Mapping[str, Any]) -> dict[str, Any]:
    """All options that change what a model computes, with their defaults."""
    left_out = (*OF_TRAINING, *OF_REDUCTION)
    values = {name: value for name, value in _defaults(cls).items() if name not in left_out}
    values |= {name: value for name, value in options.items() if name not in left_out}
    for name, value in values.items():
        own = getattr(model, name, None)
        if value is None and isinstance(own, (bool, int, float, str)):  # the value that the model chose for None
            values[name] = own
    if "selector" in values:
        values["selector"] = model.selector_name
    return {"backbone": cls.default_backbone if backbone is None else backbone, **values, **model.reduction_options}


def model_class(name: str) -> type[Model]:
    """The class of a registered model.

    Raises:
        UnknownNameError: If the name is not registered.
        FgbenchError: If the model cannot be reproduced, or a plug-in breaks.

    """
    if name in NOT_REPRODUCIBLE:
        raise FgbenchError("the model cannot be reproduced yet:", name, NOT_REPRODUCIBLE[name])
    cls: type[Model] = models.load(name)
    return cls


def model_options(cls: type[Model]) -> set[str]:
    """The names of the options of a model class, with those of its bases."""
    return set(_defaults(cls))


def _defaults(cls: type[Model]) -> dict[str, Any]:
    """The options of a model class and their defaults; those of a class override those of its bases."""
    return {name: default for name, default in defaults_of(cls, Model).items() if name != "backbone"}


def register_with_timm() -> None:
    """Register all models with timm as ``fgbench_<name>``; nothing is built or imported."""
    module = sys.modules[__name__]
    for name in models.names():
        entry = _entry_point(name)
        setattr(module, entry.__name__, register_model(entry))


def _entry_point(name: str) -> Callable[..., Model]:
    def build(pretrained: bool = False, **options: Any) -> Model:
        for argument in ARGUMENTS_OF_TIMM:
            options.pop(argument, None)
        if options.pop("in_chans", 3) != 3:
            raise FgbenchError(f"model {name!r} takes images of", "3 channels")
        return create_model(name, pretrained=pretrained, **options)

    build.__name__ = build.__qualname__ = PREFIX + name.replace("@", "_").replace("-", "_").replace(".", "_")
    build.__doc__ = f"Model {name!r} of fgbench."
    build.__module__ = __name__
    return build
