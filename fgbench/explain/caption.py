"""What has to be said below a picture: whose weights, what was shown to them, and who is missing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from fgbench.explain.records import OWN
from fgbench.explain.request import VisualizeRequest
from fgbench.explain.session import ModelResults
from fgbench.results.recipe import resized_side

SHOWN = 4  # names of pictures in one line


def warning(visits: Sequence[ModelResults]) -> str:
    """What nobody may overlook."""
    which = [visit.onlooker.backbone for visit in visits if visit.onlooker.is_random]
    if not which:
        return ""
    whose = "" if len(which) == len(visits) else f" of {', '.join(dict.fromkeys(which))}"
    return f"RANDOM WEIGHTS: nothing was learned, and the maps{whose} say nothing about the pictures."


def title(visit: ModelResults) -> str:
    """One model in a line."""
    onlooker = visit.onlooker
    return f"{onlooker.name} on {onlooker.backbone}, weights: {onlooker.weights}"


def caption(request: VisualizeRequest, visits: Sequence[ModelResults]) -> list[str]:
    """Paragraphs: models and weights, what networks were shown, what boxes are, who was left out, what to know."""
    several = len(visits) > 1
    lines = [] if several else [f"{title(visits[0])}."]
    lines.append(" ".join([_shown_to(request), *_boxes(request, visits)]))
    if request.impl == "published":
        lines.append("Scores by the published computation.")
    said: dict[str, list[str]] = {}
    for visit in visits:
        for words in _said(visit):
            said.setdefault(words, []).append(f"{visit.onlooker.name} on {visit.onlooker.backbone}")
    for words, whose in said.items():
        lines.append(words if len(whose) == len(visits) else f"{' and '.join(dict.fromkeys(whose))}: {words}")
    return lines


def _shown_to(request: VisualizeRequest) -> str:
    size = request.image_size
    if request.view == "whole":
        return f"Networks were shown the whole picture, resized to {size} × {size} pixels."
    side = resized_side(size)
    return (
        f"Networks were shown {size} × {size} pixels from the centre of the picture resized to {side} × {side}; "
        "what is pale was not seen."
    )


def _boxes(request: VisualizeRequest, visits: Sequence[ModelResults]) -> Iterator[str]:
    counts = dict.fromkeys(visit.top_k for visit in visits if visit.top_k is not None and _others(visit))
    if counts:
        numbers = " or ".join(str(count) for count in counts)
        rule = "" if request.rule == "enclosing" else ", without the last row and column, as GLSim's released code cuts"
        yield f"Boxes hold the {numbers} best patches{rule}."
    for are_crops, what in ((True, "the crops looked at again"), (False, "the patches selected")):
        whose = [
            visit.onlooker.name
            for visit in visits
            if any((own := shown.gaze.sights.get(OWN)) and own.are_crops == are_crops for shown in visit.shown)
        ]
        if whose:
            yield f"Own boxes of {', '.join(dict.fromkeys(whose))}: {what}."


def _others(visit: ModelResults) -> bool:
    return any(name != OWN for shown in visit.shown for name in shown.gaze.sights)


def _said(visit: ModelResults) -> Iterator[str]:
    reasons: dict[str, list[str]] = {}
    for name, why in visit.looking.left_out.items():
        first, _, rest = why.partition(" ")  # selectors begin with their own names; together they have one reason
        reasons.setdefault(rest if first.lower() == name.lower() else why, []).append(name)
    for why, names in reasons.items():
        whom = [f"{visit.onlooker.name}'s own selection" if name == OWN else name for name in names]
        yield f"Left out: {', '.join(whom)} ({why})."
    seen = {name for shown in visit.shown for name in shown.gaze.sights}
    for name in visit.looking.untaught:
        if name in seen:
            yield f"{name} is a selector that learns, and has learned nothing here{_what_that_means(name)}."
    for name in visit.looking.columns:
        paths = [shown.gaze.path for shown in visit.shown if (sight := shown.gaze.sights.get(name)) and sight.is_flat]
        if paths:
            some = ", ".join(paths[:SHOWN]) + (f" and {len(paths) - SHOWN} more" if len(paths) > SHOWN else "")
            whose = f"{visit.onlooker.name} itself" if name == OWN else name
            yield f"{whose} scores all patches alike, and selects nothing, in {some}."
    if any(shown.gaze.prediction for shown in visit.shown):
        yield "Below a picture: the predicted class, counted from 0, and its probability."
    yield from (f"{note[0].upper()}{note[1:]}." for note in visit.onlooker.notes)


def _what_that_means(name: str) -> str:
    return ": its untrained excitation weighs every block the same" if name == "sacm" else ""
