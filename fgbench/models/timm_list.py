"""Write the list of timm's names for :mod:`fgbench.plugins.timm_names`: ``python -m fgbench.models.timm_list``."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import timm
from timm.models import get_arch_pretrained_cfgs
from timm.models._registry import get_deprecated_models
from timm.optim import list_optimizers  # type: ignore[attr-defined]  # it is exported

from fgbench.errors import FgbenchError
from fgbench.models.backbone import backbone_names, build_on_meta
from fgbench.plugins.timm_names import SHAPE, file_of

# Image sizes and classes at which parameters are counted: two give a linear formula, the third one checks it.
SIZES, CLASSES = (224, 448, 336), (10, 210, 77)


def names_of_timm() -> dict[str, Any]:
    """The names of the installed timm; ``backbones`` have no shapes yet, which take long."""
    names = [name for name in timm.list_models() if timm.model_entrypoint(name).__module__.startswith("timm.")]
    return {
        "timm": timm.__version__,
        "models": {name: " ".join(_tags(name)) for name in names},
        "deprecated": sorted(get_deprecated_models()),
        "optimizers": sorted(list_optimizers()),
        "backbones": dict.fromkeys(name for name in backbone_names() if name in names),
    }


def _tags(name: str) -> list[str]:
    return [tagged.partition(".")[2] for tagged in get_arch_pretrained_cfgs(name) if "." in tagged]


def shape_of(name: str) -> list[int] | None:
    """The figures :data:`SHAPE` of a backbone; None where the paper's closed forms do not describe it."""
    try:
        backbones = [build_on_meta(name, size, classes) for size, classes in zip(SIZES, CLASSES, strict=True)]
        wide = build_on_meta(name, SIZES[0], CLASSES[1])
    except FgbenchError:
        return None
    first, second, third = (backbone.shape for backbone in backbones)
    if not first.has_paper_blocks:
        return None
    patches = [shape.grid[0] ** 2 for shape in (first, second, third)]
    per_class = (wide.params - first.params) / (CLASSES[1] - CLASSES[0])
    per_patch = (second.params - wide.params) / (patches[1] - patches[0])
    rest = first.params - patches[0] * per_patch - CLASSES[0] * per_class
    is_linear = rest + patches[2] * per_patch + CLASSES[2] * per_class == third.params
    figures = [first.patch_size, first.embed_dim, first.depth, first.num_heads, first.num_prefix_tokens]
    figures += [int(first.has_class_token), int(rest), int(per_patch), int(per_class)]
    assert len(figures) == len(SHAPE)
    return figures if is_linear else None


def main() -> None:
    """Write the list of the installed timm, by default beside those of other versions."""
    names = names_of_timm()
    names["backbones"] = {name: shape_of(name) for name in names["backbones"]}
    lines = [f'"{key}": {json.dumps(value, separators=(",", ":"))}' for key, value in names.items()]
    file = file_of(timm.__version__) if len(sys.argv) < 2 else Path(sys.argv[1])
    file.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
