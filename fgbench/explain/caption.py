"""Text below a sheet of pictures: weights, what the network is given, what boxes are, and what is left out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from fgbench.explain.records import OWN
from fgbench.explain.request import VisualizeRequest
from fgbench.explain.run import ModelResults
from fgbench.results.recipe import resized_side

SHOWN = 4  # names of pictures in one line


def warning(results: Sequence[ModelResults]) -> str:
    """A warning about random weights; empty where there are none."""
    backbones = [each.loaded.backbone for each in results if each.loaded.is_random]
    if not backbones:
        return ""
    which = "" if len(backbones) == len(results) else f" of {', '.join(dict.fromkeys(backbones))}"
    return f"RANDOM WEIGHTS: nothing was learned, and the maps{which} say nothing about the pictures."


def title(results: ModelResults) -> str:
    """Model, backbone and weights in one line."""
    loaded = results.loaded
    return f"{loaded.name} on {loaded.backbone}, weights: {loaded.weights}"


def caption(request: VisualizeRequest, results: Sequence[ModelResults]) -> list[str]:
    """Paragraphs of a caption.

    Args:
        request: Options that the pictures were explained with.
        results: Results by model, one or more.

    Returns:
        Models and weights, the part of a picture that networks are given, the meaning of boxes, and notes by model.
    """
    lines = [] if len(results) > 1 else [f"{title(results[0])}."]
    lines.append(" ".join([_network_input(request), *_boxes(request, results)]))
    if request.impl == "published":
        lines.append("Scores by the published computation.")
    models_by_note: dict[str, list[str]] = {}
    for each in results:
        for note in _notes(each):
            models_by_note.setdefault(note, []).append(f"{each.loaded.name} on {each.loaded.backbone}")
    for note, models in models_by_note.items():
        lines.append(note if len(models) == len(results) else f"{' and '.join(dict.fromkeys(models))}: {note}")
    return lines


def _network_input(request: VisualizeRequest) -> str:
    size = request.side
    if request.view == "whole":
        return f"Networks were shown the whole picture, resized to {size} × {size} pixels."
    side = resized_side(size)
    return (
        f"Networks were shown {size} × {size} pixels from the centre of the picture resized to {side} × {side}; "
        "what is pale was not seen."
    )


def _boxes(request: VisualizeRequest, results: Sequence[ModelResults]) -> Iterator[str]:
    counts = dict.fromkeys(each.explainer.top_k for each in results if _has_selectors(each))
    if counts:
        numbers = " or ".join(str(count) for count in counts)
        rule = "" if request.rule == "enclosing" else ", without the last row and column, as GLSim's released code cuts"
        yield f"Boxes hold the {numbers} best patches{rule}."
    for are_crops, meaning in ((True, "the crops looked at again"), (False, "the patches selected")):
        models = [
            each.loaded.name
            for each in results
            if any((own := image.selectors.get(OWN)) and own.are_crops == are_crops for image in each.images)
        ]
        if models:
            yield f"Own boxes of {', '.join(dict.fromkeys(models))}: {meaning}."


def _has_selectors(results: ModelResults) -> bool:
    return any(name != OWN for image in results.images for name in image.selectors)


def _notes(results: ModelResults) -> Iterator[str]:
    """Sentences on one model: what is left out, untrained or flat, and on its weights."""
    loaded, explainer = results.loaded, results.explainer
    names_by_reason: dict[str, list[str]] = {}
    for name, why in explainer.left_out.items():
        first, _, rest = why.partition(" ")  # a reason that begins with the selector's name is one for all of them
        is_its_name = first.lower() == name.replace("_", "").lower()
        names_by_reason.setdefault(rest if is_its_name else why, []).append(name)
    for why, names in names_by_reason.items():
        labels = [f"{loaded.name}'s own selection" if name == OWN else name for name in names]
        yield f"Left out: {', '.join(labels)} ({why})."
    for name in explainer.untrained:
        if results.has(name):
            effect = ": its untrained excitation weighs every block the same" if name == "sacm" else ""
            yield f"{name} is a selector that learns, and has learned nothing here{effect}."
    for name in explainer.columns:
        paths = [image.path for image in results.images if (of := image.selectors.get(name)) and of.is_flat]
        if paths:
            shown = ", ".join(paths[:SHOWN]) + (f" and {len(paths) - SHOWN} more" if len(paths) > SHOWN else "")
            label = f"{loaded.name} itself" if name == OWN else name
            yield f"{label} scores all patches alike, and selects nothing, in {shown}."
    if any(image.prediction for image in results.images):
        yield "Below a picture: the predicted class, counted from 0, and its probability."
    yield from (f"{note[0].upper()}{note[1:]}." for note in loaded.notes)
