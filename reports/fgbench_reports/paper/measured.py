"""Accuracies that were measured here on the paper's terms: its selectors, its backbones, its options."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from fgbench.results.paper import MODEL_SELECTORS, published_backbones
from fgbench.results.recipe import Recipe, published_model_options, published_recipe
from fgbench.results.records import AccuracyRow
from fgbench.results.shipped import BEGUN_FROM
from fgbench_reports.choose.configurations import Accuracy, accuracies
from fgbench_reports.dataset_subset import tested_on
from fgbench_reports.paper.names import MODELS
from fgbench_reports.sweep_rows import as_text, first_notes

Key = tuple[str, str, int]  # model, data set, image size
UNKNOWN_START = "Rows do not tell what weights training began from; the paper's were pre-trained on ImageNet-21k."
# Starts that are not the paper's, in words.
OTHER_STARTS = {"random": "random weights", BEGUN_FROM: "the shipped weights of a small backbone"}
SGD = ("momentum", "sgd")  # timm's names
AUGMENTATIONS = {"strong": "flip, random erasing, TrivialAugment"}  # by level; all others flip alone
REGULARIZATION = {
    "minimal": "none",
    "weak": "label smoothing",
    "medium": "label smoothing, stochastic depth",
    "strong": "label smoothing, stochastic depth",
}


def as_published(rows: Iterable[AccuracyRow]) -> dict[Key, Accuracy]:
    """Of every model, data set and size the mean over seeds whose recipe is nearest the paper's, most seeds first.

    A test of mirrored images too is not what the paper did, and is left out. So is one of a part of a data set, which
    has a name that no table asks for: see :mod:`fgbench_reports.dataset_subset`.
    """
    nearest: dict[Key, Accuracy] = {}
    for one in accuracies(row for row in rows if not row.flip):
        key = (one.model, one.dataset, one.image_size)
        if _comparable(one) and (key not in nearest or _distance(one) < _distance(nearest[key])):
            nearest[key] = replace(one, options={})
    return nearest


def _comparable(one: Accuracy) -> bool:
    if one.model not in MODELS or one.selector != MODEL_SELECTORS.get(one.model):
        return False
    if one.backbone not in published_backbones(one.model):
        return False
    return one.options in ({}, published_model_options(one.model, one.dataset, one.image_size))


def _distance(one: Accuracy) -> tuple[bool, int, int, int]:
    own_options = one.options != published_model_options(one.model, one.dataset, one.image_size)
    missed = len(deviations(one.model, one.dataset, one.recipe)) + (one.begun_from in OTHER_STARTS)
    return own_options, missed, -one.runs, -(one.recipe.get("epochs") or 0)


def left_out_notes(rows: Iterable[AccuracyRow], datasets: Collection[str]) -> list[str]:
    """What was tested on a part of these data sets, and stands in no table of them."""
    parts = {tested_on(row): None for row in rows if row.dataset in datasets and tested_on(row) != row.dataset}
    return [f"Tested on a part of the paper's data set, and left out: {'; '.join(parts)}."] if parts else []


def deviation_notes(shown: Sequence[Accuracy]) -> list[str]:
    """How what is shown was trained where that is not how the paper trained it."""
    said: dict[str, list[str]] = {}
    for one in shown:
        found = deviations(one.model, one.dataset, one.recipe)
        if found:
            words = "; ".join(f"{name.lower()}: {as_text(value)}" for name, value in found.items())
            said.setdefault(words, []).append(f"{one.model} on {one.dataset} at {one.image_size}")
    lines = [f"Not trained as published: {_listed(places)} – {words}." for words, places in said.items()]
    for start, words in OTHER_STARTS.items():
        begun = [f"{one.model} on {one.dataset} at {one.image_size}" for one in shown if one.begun_from == start]
        lines += [f"Trained from {words}, the paper's from ImageNet-21k's: {_listed(begun)}."] if begun else []
    return [*first_notes(lines, "recipe"), *([UNKNOWN_START] if any(one.begun_from is None for one in shown) else [])]


def _listed(places: Sequence[str]) -> str:
    left = len(places) - 4
    return ", ".join(places[:4]) + (f" and {left} more" if left > 0 else "")


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
