"""Our models under timm's roof: ``import fgbench.models`` makes ``timm.create_model("fgbench_glsim")`` work."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from timm.models import register_model

from fgbench.errors import FgbenchError
from fgbench.models.build import create_model
from fgbench.models.model import Model
from fgbench.plugins.kinds import models

PREFIX = "fgbench_"

# What timm hands to every model that it builds, and which has no meaning here.
OF_TIMM = ("pretrained_cfg", "pretrained_cfg_overlay", "cache_dir", "scriptable", "exportable", "no_jit")


def register_with_timm() -> None:
    """Register every model that can be found under ``fgbench_<name>``; nothing is built or imported."""
    module = sys.modules[__name__]
    for name in models.names():
        entry = _entry_point(name)
        setattr(module, entry.__name__, register_model(entry))


def _entry_point(name: str) -> Callable[..., Model]:
    def build(pretrained: bool = False, **options: Any) -> Model:
        for option in OF_TIMM:
            options.pop(option, None)
        if options.pop("in_chans", 3) != 3:
            raise FgbenchError(f"model {name!r} takes images of", "3 channels")
        return create_model(name, pretrained=pretrained, **options)

    build.__name__ = build.__qualname__ = PREFIX + name.replace("@", "_").replace("-", "_").replace(".", "_")
    build.__doc__ = f"Model {name!r} of fgbench."
    build.__module__ = __name__
    return build
