"""Names of timm's models and shapes of its plain vision transformers, from a shipped list per version of timm.

``import timm`` takes seconds; a mistyped name is refused without it. :mod:`fgbench.models.timm_list` writes the lists.
For a version without a list, timm is imported once and its names are kept in the cache.
"""

from __future__ import annotations

import functools
import json
import pkgutil
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from fgbench.backbone_shape import BackboneShape, grid_of
from fgbench.errors import BrokenPluginError, UnknownNameError
from fgbench.plugins.kinds import KINDS
from fgbench.results import cache
from fgbench.results.environment import installed_version
from fgbench.results.image_size import ImageSize
from fgbench.results.shipped import FIGURES, SHIPPED, TAG

# Figures of a shape in a list. The number of parameters is params + params_per_patch · G² + params_per_class · classes.
SHAPE = (
    *("patch_size", "embed_dim", "depth", "num_heads", "num_prefix_tokens"),
    *("has_class_token", "params", "params_per_patch", "params_per_class"),
)


def file_of(timm_version: str) -> Path:
    """Path of the list for a version of timm."""
    return Path(__file__).parent / "timm" / f"{timm_version}.json"


@functools.lru_cache(maxsize=1)
def _names() -> dict[str, Any]:
    """The names of timm, and the backbone that fgbench registers with it."""
    names = _names_of_timm()
    models = {**names["models"], SHIPPED: TAG}
    backbones = {**names["backbones"], SHIPPED: FIGURES}
    return {**names, **{kind: dict(sorted(of.items())) for kind, of in (("models", models), ("backbones", backbones))}}


def _names_of_timm() -> dict[str, Any]:
    installed = installed_version("timm")
    if installed is not None:
        try:
            shipped: dict[str, Any] = json.loads(file_of(installed).read_text(encoding="utf-8"))
        except FileNotFoundError:
            pass
        else:
            return shipped
    key = {"timm": installed}
    if installed is not None and isinstance(cached := cache.read("timm", key), dict):
        return cached
    names: dict[str, Any] = pkgutil.resolve_name("fgbench.models.timm_list:names_of_timm")()  # which needs torch
    if installed is not None:
        cache.write("timm", key, names)
    return names


def backbone_names() -> list[str]:
    """All timm architectures of the vision-transformer family that can be backbones."""
    return list(_names()["backbones"])


def model_names() -> list[str]:
    """All architectures of timm."""
    return list(_names()["models"])


def resnet_names() -> list[str]:
    """All ResNets of timm."""
    return [name for name in _names()["models"] if name.startswith("resnet")]


def optimizer_names() -> list[str]:
    """All optimizers of timm."""
    return list(_names()["optimizers"])


def is_timm_model(name: str) -> bool:
    """Whether timm has a model of this name, with weights of its tag; models that plug-ins register count too."""
    architecture, _, tag = name.partition(".")
    if not is_of_timm(name):
        if not _is_registered(architecture):
            load_plugin_files()
        return _is_registered(architecture)
    tags = _names()["models"].get(architecture)
    return not tag or tags is None or tag in tags.split()


def is_of_timm(name: str) -> bool:
    """Whether timm itself, or fgbench, has the architecture of this name."""
    architecture, names = name.partition(".")[0], _names()
    return architecture in names["models"] or architecture in names["deprecated"]


def load_plugin_files() -> None:
    """Import all registered plug-in files, which may register models with timm. Broken files were reported before."""
    for kind in KINDS:
        for name, entry in kind.registry.entries().items():
            if entry.file is not None:
                with suppress(BrokenPluginError):
                    kind.registry.load(name)


def _is_registered(architecture: str) -> bool:
    """Whether a model is registered with timm, where timm is imported."""
    timm = sys.modules.get("timm")
    return timm is not None and bool(timm.is_model(architecture)) and not architecture.startswith("fgbench_")


def shape_of(name: str, image_size: ImageSize, num_classes: int, stride: int | None) -> BackboneShape | None:
    """The shape of a backbone whose blocks the paper's closed forms describe.

    Args:
        name: timm's name.
        image_size: Of the image, in pixels.
        num_classes: Classes of the head.
        stride: Step between patches in pixels; None for the patch size.

    Returns:
        The shape, or None where the list does not have it.

    Raises:
        FgbenchError: If patches and image do not fit each other.

    """
    figures = _names()["backbones"].get(name)
    if figures is None:
        return None
    listed = dict(zip(SHAPE, figures, strict=True))
    rows, columns = grid_of(name, image_size, listed["patch_size"], stride or listed["patch_size"])
    params = listed["params"] + listed["params_per_patch"] * rows * columns + listed["params_per_class"] * num_classes
    return BackboneShape(
        name=name,
        image_size=image_size,
        patch_size=listed["patch_size"],
        grid=(rows, columns),
        num_prefix_tokens=listed["num_prefix_tokens"],
        has_class_token=bool(listed["has_class_token"]),
        embed_dim=listed["embed_dim"],
        depth=listed["depth"],
        num_heads=listed["num_heads"],
        params=params,
        has_paper_blocks=True,
    )


def unknown_backbone(name: str, *, of_resnets: bool = False) -> UnknownNameError:
    """The error for a name that timm does not have.

    Args:
        name: The name.
        of_resnets: Whether ResNets are suggested instead of vision transformers.

    """
    architecture, _, tag = name.partition(".")
    tags = _names()["models"].get(architecture, "").split()
    if tag and tags:
        return UnknownNameError("backbone", name, [f"{architecture}.{known}" for known in tags])
    return UnknownNameError("backbone", name, resnet_names() if of_resnets else backbone_names())
