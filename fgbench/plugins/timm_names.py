"""The names that timm has, and the shapes of its plain vision transformers, from a list per version: without timm.

``import timm`` takes seconds, and whoever mistypes a name waits for it in vain. The lists are made by
:mod:`fgbench.models.timm_list`; for a version without one its names are asked of timm once, and kept.
"""

from __future__ import annotations

import functools
import json
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from fgbench.backbone_shape import BackboneShape, grid_side
from fgbench.errors import BrokenPluginError, UnknownNameError
from fgbench.plugins.kinds import KINDS
from fgbench.results import cache
from fgbench.results.environment import installed_version

# A shape in a list: parameters are ``params + params_per_patch · G² + params_per_class · classes``.
SHAPE = (
    *("patch_size", "embed_dim", "depth", "num_heads", "num_prefix_tokens"),
    *("has_class_token", "params", "params_per_patch", "params_per_class"),
)


def file_of(timm_version: str) -> Path:
    """The file that is shipped for a version of timm."""
    return Path(__file__).parent / "timm" / f"{timm_version}.json"


@functools.lru_cache(maxsize=1)
def _names() -> dict[str, Any]:
    installed = installed_version("timm")
    if installed is not None:
        try:
            found: dict[str, Any] = json.loads(file_of(installed).read_text(encoding="utf-8"))
        except FileNotFoundError:
            pass
        else:
            return found
    key = {"timm": installed}
    if installed is not None and isinstance(kept := cache.read("timm", key), dict):
        return kept
    from fgbench.models.timm_list import names_of_timm

    found = names_of_timm()
    if installed is not None:
        cache.write("timm", key, found)
    return found


def backbone_names() -> list[str]:
    """Every timm architecture of the vision-transformer family that can be a backbone."""
    return list(_names()["backbones"])


def resnet_names() -> list[str]:
    """Every ResNet of timm's."""
    return [name for name in _names()["models"] if name.startswith("resnet")]


def optimizer_names() -> list[str]:
    """Every optimizer of timm's."""
    return list(_names()["optimizers"])


def is_timm_model(name: str) -> bool:
    """Whether timm has a model of this name, a plug-in's too, and weights of its tag where it has one."""
    architecture, _, tag = name.partition(".")
    if not is_of_timm(name):
        if not _is_registered(architecture):
            load_plugin_files()
        return _is_registered(architecture)
    tags = _names()["models"].get(architecture)
    return not tag or tags is None or tag in tags.split()


def is_of_timm(name: str) -> bool:
    """Whether timm itself has the architecture of this name."""
    architecture, names = name.partition(".")[0], _names()
    return architecture in names["models"] or architecture in names["deprecated"]


def load_plugin_files() -> None:
    """Import the files that ``--plugin`` named, for they may bring models to timm. Broken ones were reported."""
    for kind in KINDS:
        for name, entry in kind.registry.entries().items():
            if entry.file is not None:
                with suppress(BrokenPluginError):
                    kind.registry.load(name)


def _is_registered(architecture: str) -> bool:
    """Whether somebody has registered a model with the timm that is loaded; where none is, nobody has."""
    timm = sys.modules.get("timm")
    return timm is not None and bool(timm.is_model(architecture)) and not architecture.startswith("fgbench_")


def shape_of(name: str, image_size: int, num_classes: int, stride: int | None) -> BackboneShape | None:
    """The shape of a backbone whose blocks are the paper's; None where the list does not have it.

    Raises:
        FgbenchError: Where patches and image do not fit each other.

    """
    figures = _names()["backbones"].get(name)
    if figures is None:
        return None
    found = dict(zip(SHAPE, figures, strict=True))
    side = grid_side(name, image_size, found["patch_size"], stride or found["patch_size"])
    params = found["params"] + found["params_per_patch"] * side**2 + found["params_per_class"] * num_classes
    return BackboneShape(
        name=name,
        image_size=image_size,
        patch_size=found["patch_size"],
        grid=(side, side),
        num_prefix_tokens=found["num_prefix_tokens"],
        has_class_token=bool(found["has_class_token"]),
        embed_dim=found["embed_dim"],
        depth=found["depth"],
        num_heads=found["num_heads"],
        params=params,
        has_paper_blocks=True,
    )


def unknown_backbone(name: str, *, of_resnets: bool = False) -> UnknownNameError:
    """The error about a name that timm does not have; to be raised."""
    architecture, _, tag = name.partition(".")
    tags = _names()["models"].get(architecture, "").split()
    if tag and tags:
        return UnknownNameError("backbone", name, [f"{architecture}.{known}" for known in tags])
    return UnknownNameError("backbone", name, resnet_names() if of_resnets else backbone_names())
