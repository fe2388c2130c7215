"""One model and its selectors, applied to one picture at a time: scores, heat and boxes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from fgbench.errors import FgbenchError, LeftOutNotice, OnProblem
from fgbench.explain.boxes import InputGeometry, Patches, input_geometry, patches_to_crop
from fgbench.explain.loaded_model import LoadedModel, guarded
from fgbench.explain.picture import Picture
from fgbench.explain.records import OWN, ImageResult, Prediction, SelectorResult, is_flat
from fgbench.explain.request import VisualizeRequest
from fgbench.explain.scores import SelectorScores, leave_out_without_tokens, own_scores, patches_of
from fgbench.models.model import Explanation
from fgbench.models.vision_transformer import VisionTransformerModel
from fgbench.plugins.registry import selectors

HEAT_SIDE = 256  # pixels that heat is kept in: more than a cell of a picture has


class Explainer:
    """A model that is applied to pictures, with selectors on its tokens.

    Args:
        loaded: The model.
        request: Options; of ``selectors`` None means all on a plain backbone, and none beside a model's own selection.
        on_problem: Receives a problem for everything that is left out.

    Attributes:
        loaded: The model.
        columns: Names of all selectors that were asked for, in order; OWN is the model itself.
        top_k: Number of patches that selectors' crops are made around; None for a model without tokens.

    Raises:
        FgbenchError: ``top_k`` of the request is larger than the number of patches.
        UnknownNameError: A selector is not registered.
    """

    def __init__(self, loaded: LoadedModel, request: VisualizeRequest, on_problem: OnProblem) -> None:
        self.loaded, self._request, self._on_problem = loaded, request, on_problem
        names = selectors.names() if request.selectors is None and not loaded.selects else request.selectors or ()
        self.columns = [*([OWN] if loaded.selects else []), *names]
        self.top_k: int | None = None
        self._scores: SelectorScores | None = None
        self._left_out: dict[str, str] = {}
        if isinstance(loaded.model, VisionTransformerModel):
            self._scores = SelectorScores(loaded.model, names, on_problem, impl=request.impl)
            self.top_k = patches_to_crop(request.top_k, patches_of(loaded.model.encoder), "--top-k")
        else:
            self._left_out = leave_out_without_tokens(loaded.name, names, on_problem)

    @property
    def left_out(self) -> dict[str, str]:
        """Reasons by name of what has nothing to show so far."""
        return self._left_out | (self._scores.left_out if self._scores else {})

    @property
    def untrained(self) -> list[str]:
        """Names of selectors that learn and have learned nothing."""
        return self._scores.untrained if self._scores else []

    @torch.inference_mode()
    def explain(self, picture: Picture) -> ImageResult:
        """Apply the model and its selectors to one picture.

        A selector that fails is reported and left out, of this picture and of later ones.

        Args:
            picture: The picture.

        Returns:
            Results by selector, boxes in pixels of the upright picture.

        Raises:
            BrokenPluginError: The model is one of a plug-in, and fails.
        """
        request, loaded = self._request, self.loaded
        geometry = input_geometry(picture.size, request.side, request.view)
        image = picture.network_input(geometry, loaded.mean, loaded.std).to(next(loaded.model.parameters()))
        results: dict[str, SelectorResult] = {}
        prediction = None
        if loaded.selects or loaded.predicts:
            with guarded(loaded.name):
                explanation = loaded.model.explain(image)
            prediction = _predicted(explanation.logits) if loaded.predicts else None
            if loaded.selects and (own := self._own(explanation, geometry, picture)) is not None:
                results[OWN] = own
        if self._scores is not None and self._scores.names:
            assert self.top_k is not None
            by_selector, patches = self._scores.scores(image)
            for name, scores in by_selector.items():
                boxes = patches.crop_boxes(scores, self.top_k, request.rule).tolist()
                results[name] = _result(scores, patches, geometry, picture, boxes, are_crops=True)
        return ImageResult(
            path=picture.path,
            size=picture.size,
            orientation=picture.orientation,
            seen_box=geometry.seen_box,
            tile=picture.tile(),
            selectors=results,
            prediction=prediction,
        )

    def _own(self, explanation: Explanation, geometry: InputGeometry, picture: Picture) -> SelectorResult | None:
        """The model's own selection; None where it has none, which is reported once."""
        try:
            scores, patches = own_scores(self.loaded.model, explanation, geometry.size)
        except FgbenchError as error:
            if OWN not in self._left_out:
                self._on_problem(LeftOutNotice(f"left out: {self.loaded.name}'s own selection: {error}"))
            self._left_out[OWN] = str(error)
            return None
        boxes = [] if explanation.boxes is None else explanation.boxes[0].tolist()
        if explanation.selected is not None:  # a token without a place in the picture has all of it
            boxes = [box for box in boxes if box != [0, 0, geometry.size, geometry.size]]
        unique = list(dict.fromkeys(map(tuple, boxes)))
        return _result(scores, patches, geometry, picture, unique, are_crops=explanation.crops is not None)


def _result(
    scores: Tensor,
    patches: Patches,
    geometry: InputGeometry,
    picture: Picture,
    boxes: Sequence[Sequence[float]],
    *,
    are_crops: bool,
) -> SelectorResult:
    """Scores (1, G²) and boxes in pixels of the network's input → the same over the picture."""
    grid = scores[0].view(patches.grid).cpu().numpy()
    flat = is_flat(grid)
    row, column = divmod(int(grid.argmax()), patches.grid[1])
    in_picture = [] if flat else geometry.to_picture(boxes)
    return SelectorResult(
        scores=grid,
        heat=_heat(scores, patches, flat=flat),
        best=(row, column),
        best_box=geometry.to_picture([patches.box(row, column)])[0],
        boxes=in_picture,
        are_crops=are_crops,
        crops=picture.tiles(in_picture) if are_crops else (),
    )


def _heat(scores: Tensor, patches: Patches, *, flat: bool) -> NDArray[np.float32]:
    """Scores between 0 and 1 by pixel; unscaled they may be beyond what float32 holds."""
    low, high = scores.min(), scores.max()
    share = torch.zeros_like(scores) if flat else (scores - low) / (high - low)
    heat = patches.heat(share.float())
    if patches.image_size > HEAT_SIDE:
        heat = functional.adaptive_avg_pool2d(heat, HEAT_SIDE)
    pixels: NDArray[Any] = heat[0].cpu().numpy()
    return pixels


def _predicted(logits: Tensor) -> Prediction:
    probabilities = logits[0].float().softmax(dim=-1)
    index = int(probabilities.argmax())
    return Prediction(index=index, probability=float(probabilities[index]))
