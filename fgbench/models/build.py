"""Names to models, through entry points: the built-ins are found the way everybody else's are."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from fgbench.errors import FgbenchError
from fgbench.models.model import Model
from fgbench.plugins.kinds import NOT_REPRODUCIBLE, models
from fgbench_selectors.selector import AXES

__all__ = ["NOT_REPRODUCIBLE", "create_model", "model_class", "model_options", "models"]

# Options that change training or speed alone: a file that was trained with others computes the same.
OF_TRAINING = (
    *("impl", "pretrained", "num_classes", "label_smoothing", "norm_eps", "contrastive", "margin", "beta"),
    *("dropout", "dropout_at", "head_init", "block_init", "fresh_last_block", "fresh_last_norm", "loss_heads"),
)


def model_breach(candidate: object) -> str | None:
    """Why an object is no model class, in words; None when it is one."""
    if not (isinstance(candidate, type) and issubclass(candidate, Model)):
        return "it must be a class derived from fgbench.models.model.Model"
    if candidate.flow is Model.flow:
        return "it has no method 'flow(images)'"
    if not isinstance(candidate.default_backbone, str):
        return f"its attribute 'default_backbone' must be a name, got {candidate.default_backbone!r}"
    shapes = candidate.accepts
    if not isinstance(shapes, tuple) or not all(isinstance(s, tuple) and all(a in AXES for a in s) for s in shapes):
        return f"its attribute 'accepts' must be a tuple of score shapes, tuples out of {AXES}"
    if not isinstance(candidate.two_impls, bool):
        return f"its attribute 'two_impls' must be True or False, got {candidate.two_impls!r}"
    model_options(candidate)  # raises where nobody can tell
    return None


def create_model(name: str, backbone: str | None = None, **options: Any) -> Model:
    """Build a published model: ``create_model("glsim", img_size=448, num_classes=200)``.

    Options of all: ``img_size``, ``num_classes``, ``impl`` (``fast`` or ``published``), ``pretrained`` (timm's
    weights for the backbone), ``label_smoothing``; of those on a vision transformer, ``head_init`` and ``dropout``;
    where the model selects, ``selector`` (a name or an instance). Others are the model's own.

    Raises :class:`UnknownNameError` or :class:`FgbenchError` for what does not fit.
    """
    kind: Any = model_class(name)
    known = model_options(kind)
    for option in options:
        if option not in known:
            raise FgbenchError(f"model {name!r} has no option", option, f"it has: {', '.join(sorted(known))}")
    with models.blame(name, FgbenchError):
        made = kind(backbone, **options)
        if not isinstance(made, Model):
            raise TypeError("its class must make a fgbench.models.model.Model")
    made.options = _options_of(kind, made, backbone, options)
    return made


def _options_of(kind: type[Model], made: Model, backbone: str | None, options: Mapping[str, Any]) -> dict[str, Any]:
    """All options that change what a model computes, those included that were not given."""
    found = {name: value for name, value in _defaults(kind).items() if name not in OF_TRAINING}
    found |= {name: value for name, value in options.items() if name not in OF_TRAINING}
    for name, value in found.items():
        own = getattr(made, name, None)
        if value is None and isinstance(own, (bool, int, float, str)):  # what stands for it here
            found[name] = own
    if "selector" in found:
        found["selector"] = made.selector_name
    return {"backbone": kind.default_backbone if backbone is None else backbone, **found}


def model_class(name: str) -> type[Model]:
    """The class of a registered model, or an error that says why there is none."""
    if name in NOT_REPRODUCIBLE:
        raise FgbenchError("the model cannot be reproduced yet:", name, NOT_REPRODUCIBLE[name])
    kind: type[Model] = models.load(name)
    return kind


def model_options(kind: type[Model]) -> set[str]:
    """The names of a model's options, those of its bases included."""
    return set(_defaults(kind))


def _defaults(kind: type[Model]) -> dict[str, Any]:
    """A model's options and their defaults; a class's own come before those of its bases."""
    found: dict[str, Any] = {}
    for base in kind.__mro__:
        if issubclass(base, Model) and "__init__" in vars(base):
            parameters = inspect.signature(base.__init__).parameters.values()
            own = {p.name: p.default for p in parameters if p.kind is not p.VAR_KEYWORD}
            found = {
                name: None if default is inspect.Parameter.empty else default for name, default in own.items()
            } | found
            if not any(p.kind is p.VAR_KEYWORD for p in parameters):
                break
    return {name: default for name, default in found.items() if name not in ("self", "backbone")}
