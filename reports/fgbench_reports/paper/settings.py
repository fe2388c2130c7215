"""The settings of Table 10, as the paper has them for a model and as a recipe has them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from fgbench.results.recipe import Recipe, published_recipe

SGD = ("momentum", "sgd")  # timm's names
AUGMENTATIONS = {"strong": "flip, random erasing, TrivialAugment"}  # by level; all others flip alone
REGULARIZATION = {
    "minimal": "none",
    "weak": "label smoothing",
    "medium": "label smoothing, stochastic depth",
    "strong": "label smoothing, stochastic depth",
}


class Setting(NamedTuple):
    """What a run did, and whether the paper did otherwise; None where the run's row does not tell."""

    here: str | None
    differs: bool


def settings(model: str, dataset: str, recipe: Mapping[str, Any]) -> dict[str, Setting]:
    """The settings of Table 10 that one recipe fixes, by their names there."""
    published = Recipe(**published_recipe(model, dataset))
    optimizer, level = recipe.get("optimizer"), recipe.get("augreg")
    return {
        "Optimizer": Setting("SGD" if optimizer in SGD else _text(optimizer), optimizer not in (None, *SGD)),
        "Batch size": _number(recipe.get("batch_size"), published.batch_size),
        "Weight decay": _number(recipe.get("weight_decay"), published.weight_decay),
        "Epochs": _number(recipe.get("epochs"), published.epochs),
        "LR Schedule": _schedule(recipe.get("warmup_steps"), published.warmup_steps),
        "Augmentations": Setting(_of_level(AUGMENTATIONS, level, "flip"), level not in (None, published.augreg)),
        "Regularization": Setting(_of_level(REGULARIZATION, level, None), level in ("minimal", "weak")),
    }


def deviations(model: str, dataset: str, recipe: Mapping[str, Any]) -> dict[str, str]:
    """The settings that are not the paper's, and what they are here."""
    found = settings(model, dataset, recipe)
    return {name: str(setting.here) for name, setting in found.items() if setting.differs}


def _number(value: Any, published: float) -> Setting:
    return Setting(None if value is None else f"{value:g}", value not in (None, published))


def _schedule(steps: Any, published: int) -> Setting:
    return Setting(None if steps is None else f"cosine, {steps:g} steps of warm-up", steps not in (None, published))


def _of_level(words: Mapping[str, str], level: Any, otherwise: str | None) -> str | None:
    return None if level is None else words.get(level, otherwise or str(level))


def _text(value: Any) -> str | None:
    return None if value is None else str(value)
