"""Accuracies that were measured here on the paper's terms: its selectors, its backbones, its options."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace

from fgbench.results.recipe import published_model_options
from fgbench.results.records import AccuracyRow
from fgbench_reports.choose.configurations import PAPER_BACKBONES, VIT_B16, Accuracy, accuracies
from fgbench_reports.dataset_subset import tested_on
from fgbench_reports.paper.names import MODELS, SELECTORS
from fgbench_reports.paper.settings import deviations
from fgbench_reports.sweep_rows import as_text, first_notes

Key = tuple[str, str, int]  # model, data set, image size
UNKNOWN_START = "Rows do not tell what weights training began from; the paper's were pre-trained on ImageNet-21k."


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
    if one.model not in MODELS or one.selector != SELECTORS.get(one.model):
        return False
    if one.backbone not in PAPER_BACKBONES.get(one.model, VIT_B16):
        return False
    return one.options in ({}, published_model_options(one.model, one.dataset, one.image_size))


def _distance(one: Accuracy) -> tuple[bool, int, int, int]:
    own_options = one.options != published_model_options(one.model, one.dataset, one.image_size)
    missed = len(deviations(one.model, one.dataset, one.recipe)) + (one.begun_from == "random")
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
    random = [f"{one.model} on {one.dataset} at {one.image_size}" for one in shown if one.begun_from == "random"]
    lines += [f"Trained from random weights, the paper's from ImageNet-21k's: {_listed(random)}."] if random else []
    return [*first_notes(lines, "recipe"), *([UNKNOWN_START] if any(one.begun_from is None for one in shown) else [])]


def _listed(places: Sequence[str]) -> str:
    left = len(places) - 4
    return ", ".join(places[:4]) + (f" and {left} more" if left > 0 else "")
