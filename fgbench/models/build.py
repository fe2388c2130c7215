"""Names to models, through entry points: the built-ins are found the way everybody else's are."""

from __future__ import annotations

import inspect
from contextlib import nullcontext
from typing import Any

from fgbench.errors import FgbenchError
from fgbench.models.model import Model
from fgbench_selectors.entries import OWN_DISTRIBUTION, Registry
from fgbench_selectors.plugins import blame

# What cannot be built yet, and why: listed, so that nobody searches for it in vain.
NOT_REPRODUCIBLE = {
    "tpskg": "TPSKG (peak suppression and knowledge guidance): its formulas are not established; no code was published",
}


def model_breach(candidate: object) -> str | None:
    """Why an object is no model class, in words; None when it is one."""
    if not (isinstance(candidate, type) and issubclass(candidate, Model)):
        return "it must be a class derived from fgbench.models.model.Model"
    if candidate.flow is Model.flow:
        return "it has no method 'flow(images)'"
    return None


models = Registry("fgbench.models", "model", model_breach)


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
    origin = models.entries()[name].origin
    with nullcontext() if origin == OWN_DISTRIBUTION else blame(name, origin, FgbenchError):
        made = kind(backbone, **options)
    assert isinstance(made, Model)
    return made


def model_class(name: str) -> type[Model]:
    """The class of a registered model, or an error that says why there is none."""
    if name in NOT_REPRODUCIBLE:
        raise FgbenchError("the model cannot be reproduced yet:", name, NOT_REPRODUCIBLE[name])
    kind: type[Model] = models.load(name)
    return kind


def model_options(kind: type[Model]) -> set[str]:
    """The names of a model's options, those of its bases included."""
    found: set[str] = set()
    for base in kind.__mro__:
        if issubclass(base, Model) and "__init__" in vars(base):
            parameters = inspect.signature(base.__init__).parameters.values()
            found |= {p.name for p in parameters if p.kind is not p.VAR_KEYWORD} - {"self", "backbone"}
            if not any(p.kind is p.VAR_KEYWORD for p in parameters):
                break
    return found
