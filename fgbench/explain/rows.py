"""Results as rows for programs: one per picture, model and selector."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from fgbench.datasets.images import Box, as_stored
from fgbench.explain.records import OWN, ImageResult, SelectorResult
from fgbench.explain.request import VisualizeRequest
from fgbench.explain.run import ModelResults
from fgbench.results.records import VisualizationRow


def rows(request: VisualizeRequest, results: Sequence[ModelResults]) -> Iterator[VisualizationRow]:
    """A row per model, picture and selector; a selector without a result has a row with the reason."""
    for each in results:
        for image in each.images:
            for name in each.explainer.columns:
                yield _row(request, each, image, name)


def _row(request: VisualizeRequest, results: ModelResults, image: ImageResult, name: str) -> VisualizationRow:
    loaded, explainer = results.loaded, results.explainer
    result, prediction = image.selectors.get(name), image.prediction
    own = name == OWN
    return VisualizationRow(
        image=image.path,
        height=image.size[0],
        width=image.size[1],
        orientation=image.orientation,
        model=loaded.name,
        backbone=loaded.backbone,
        weights=loaded.weights,
        selector=name,
        impl=request.impl,
        image_size=request.side,
        view=request.view,
        top_k=None if own else explainer.top_k,
        rule=None if own else request.rule,
        seen_box=_rounded(image.seen_box),
        **_selection(result, image.size, image.orientation),
        prediction=None if prediction is None else {"class": prediction.index, "probability": prediction.probability},
        reason=None if result is not None else explainer.left_out.get(name, "unknown"),
    )


def _selection(result: SelectorResult | None, size: tuple[int, int], orientation: int) -> dict[str, Any]:
    """``boxes`` are in pixels of the file as stored, all other boxes in pixels of the upright picture."""
    if result is None:
        return dict.fromkeys(
            ("grid", "scores", "equal", "best_patch", "best_box", "boxes", "upright_boxes", "boxes_are")
        )
    return {
        "grid": list(result.scores.shape),
        "scores": result.scores.tolist(),
        "equal": result.is_flat,
        "best_patch": list(result.best),
        "best_box": _rounded(result.best_box),
        "boxes": [_rounded(as_stored(box, size, orientation)) for box in result.boxes],
        "upright_boxes": [_rounded(box) for box in result.boxes],
        "boxes_are": "crops" if result.are_crops else "patches",
    }


def _rounded(box: Box) -> list[float]:
    return [round(side, 3) for side in box]
