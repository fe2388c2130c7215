"""What was seen, as rows for programs: one per picture, model and selector."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from fgbench.explain.geometry import as_stored
from fgbench.explain.records import OWN, Box, SelectorResult
from fgbench.explain.request import VisualizeRequest
from fgbench.explain.session import ModelResults, Shown


def rows(request: VisualizeRequest, visits: Sequence[ModelResults]) -> Iterator[dict[str, Any]]:
    """A row per picture, model and selector; who has nothing to show has a row with the reason."""
    for visit in visits:
        for shown in visit.shown:
            for name in visit.looking.columns:
                yield _row(request, visit, shown, name)


def _row(request: VisualizeRequest, visit: ModelResults, shown: Shown, name: str) -> dict[str, Any]:
    gaze, sight = shown.gaze, shown.gaze.sights.get(name)
    told = gaze.prediction
    return {
        "image": gaze.path,
        "height": gaze.size[0],
        "width": gaze.size[1],
        "orientation": gaze.orientation,
        "model": visit.onlooker.name,
        "backbone": visit.onlooker.backbone,
        "weights": visit.onlooker.weights,
        "selector": name,
        "impl": request.impl,
        "image_size": request.image_size,
        "view": request.view,
        "top_k": None if name == OWN else visit.top_k,
        "rule": None if name == OWN else request.rule,
        "seen_box": _rounded(gaze.seen),
        **_selection(sight, gaze.size, gaze.orientation),
        "prediction": None if told is None else {"class": told.index, "probability": told.probability},
        "reason": None if sight is not None else visit.looking.left_out.get(name, "unknown"),
    }


def _selection(sight: SelectorResult | None, size: tuple[int, int], orientation: int) -> dict[str, Any]:
    """``boxes`` count in pixels of the file as stored, ``upright_boxes`` and all others in those of the upright one."""
    if sight is None:
        missing = "grid scores equal best_patch best_box boxes upright_boxes boxes_are"
        return dict.fromkeys(missing.split())
    return {
        "grid": list(sight.scores.shape),
        "scores": sight.scores.tolist(),
        "equal": sight.is_flat,
        "best_patch": list(sight.best),
        "best_box": _rounded(sight.best_box),
        "boxes": [_rounded(as_stored(box, size, orientation)) for box in sight.boxes],
        "upright_boxes": [_rounded(box) for box in sight.boxes],
        "boxes_are": "crops" if sight.are_crops else "patches",
    }


def _rounded(box: Box) -> list[float]:
    return [round(side, 3) for side in box]
