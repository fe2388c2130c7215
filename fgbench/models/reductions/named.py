"""Models whose name says how their tokens are reduced."""

from __future__ import annotations

import functools

from fgbench.errors import FgbenchError
from fgbench.models.model import Model
from fgbench.models.vision_transformer import VisionTransformerModel
from fgbench.plugins.kinds import models
from fgbench.results.reduced_name import ReducedName


@functools.lru_cache(maxsize=256)
def reduced_model(name: str) -> type[Model]:
    """The class of a model whose name says how its tokens are reduced, such as ``vit+evit@0.7``.

    Raises:
        UnknownNameError: If the model is not registered.
        FgbenchError: If the model has no tokens of a plain transformer.

    """
    found = ReducedName.of(name)
    assert found is not None, "the name of a reduced model"
    base = models.load(found.model)
    if not issubclass(base, VisionTransformerModel):
        raise FgbenchError(f"model {found.model!r} has no tokens that could be reduced by", found.reduction)
    attributes = {"reduced": found, "__module__": base.__module__, "__doc__": base.__doc__}
    made: type[Model] = type(base.__name__, (base,), {**attributes, "__qualname__": base.__qualname__})
    return made
