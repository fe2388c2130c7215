"""Models look at pictures, one model after the other; what is finished is kept, however it ends."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from fgbench.errors import BrokenPluginError, FgbenchError, OnProblem
from fgbench.explain.explainer import Explainer, crop_patches
from fgbench.explain.loaded_model import LoadedModel, fitting, load_model
from fgbench.explain.picture import Picture, read_picture
from fgbench.explain.records import ImageResult
from fgbench.explain.request import VisualizeRequest
from fgbench.plugins.files import add_plugin_files
from fgbench.plugins.registry import usable_selectors

TILE_SIDE = 512  # pixels that a picture is kept in, along its longer side
MOST_CROPS = 6  # of one selection

Tile = NDArray[np.uint8]  # (h, w, 3)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """What one model saw in one picture, with the pixels to show it on."""

    gaze: ImageResult
    picture: Tile
    crops: Mapping[str, Sequence[Tile]]  # by selector; cut out of the picture itself, not of what the network was given


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelResults:
    """One model at all pictures; ``shown`` grows while it looks."""

    looking: Explainer
    top_k: int | None  # patches that selectors' crops are made around; None where no selector looks through the model
    shown: list[Shown] = field(default_factory=list)

    @property
    def onlooker(self) -> LoadedModel:
        """The model."""
        return self.looking.onlooker


@dataclass(kw_only=True)
class ExplainRun:
    """A request, what came of it so far, and whom to tell of problems."""

    request: VisualizeRequest
    on_problem: OnProblem
    tell: Callable[[str], None] = lambda _: None  # what is being done, for a progress line
    visits: list[ModelResults] = field(default_factory=list)
    _unreadable: dict[str, FgbenchError] = field(default_factory=dict)

    def run(self) -> None:
        """Have every model look at every picture. A picture that cannot be read is reported and left out.

        Raises :class:`FgbenchError` for what does not fit, before any picture is read, and where no picture is left.
        """
        request = self.request
        add_plugin_files(request.plugins, self.on_problem)
        usable_selectors(
            request.selectors or (), lambda broken: None
        )  # a name that nobody registered is no plug-in's fault
        device = device_of(request)
        broken: list[BrokenPluginError] = []
        for name, backbone in fitting(request, self.on_problem):
            self.tell(f"loading {name}")
            try:
                self._visit(load_model(request, name, backbone, device, self.on_problem))
            except BrokenPluginError as error:
                broken.append(error)
        if not any(visit.shown for visit in self.visits):
            if broken:
                raise broken[0]
            if len(request.images) == 1:
                raise self._unreadable[request.images[0]]
            raise FgbenchError("none of the pictures could be read")
        for problem in broken:
            self.on_problem(problem)
        if not any(shown.gaze.sights for visit in self.visits for shown in visit.shown):
            raise FgbenchError("nobody is left who selects anything in these pictures")

    def _visit(self, onlooker: LoadedModel) -> None:
        looking = Explainer(onlooker, self.request, self.on_problem)
        encoder: Any = getattr(onlooker.model, "encoder", None)
        top_k = crop_patches(self.request, encoder.num_patches) if looking.panel else None
        visit = ModelResults(looking=looking, top_k=top_k)
        self.visits.append(visit)
        for path in self.request.images:
            self.tell(f"{onlooker.name} on {onlooker.backbone}: {path}")
            if (picture := self._read(path)) is not None:
                gaze = looking.look(picture)
                crops = {name: tiles(picture, sight.boxes) for name, sight in gaze.sights.items() if sight.are_crops}
                whole = tile(picture.image, (0.0, 0.0, *picture.size))
                visit.shown.append(Shown(gaze=gaze, picture=whole, crops=crops))

    def _read(self, path: str) -> Picture | None:
        if path in self._unreadable:
            return None
        try:
            return read_picture(path)
        except FgbenchError as error:
            self._unreadable[path] = error
            if len(self.request.images) > 1:
                self.on_problem(error)
            return None


def device_of(request: VisualizeRequest) -> torch.device:
    """Where models run. Raises :class:`FgbenchError` for a device that is not there."""
    there = torch.cuda.is_available()
    if request.device == "cuda" and not there:
        raise FgbenchError("no CUDA device is there for", "--device cuda", "leave it out to look on the CPU")
    return torch.device(request.device or ("cuda" if there else "cpu"))


def tiles(picture: Picture, boxes: Sequence[tuple[float, ...]]) -> list[Tile]:
    """The first few boxes of a picture, cut out."""
    return [tile(picture.image, box) for box in boxes[:MOST_CROPS]]


def tile(image: Image.Image, box: tuple[float, ...]) -> Tile:
    """A box of an image (y0, x0, y1, x1, fractions of pixels included), no larger than it is shown."""
    y0, x0, y1, x1 = box
    scale = min(1.0, TILE_SIDE / max(y1 - y0, x1 - x0))
    side = (max(1, round((x1 - x0) * scale)), max(1, round((y1 - y0) * scale)))
    inside = (max(x0, 0), max(y0, 0), min(x1, image.width), min(y1, image.height))
    return np.asarray(image.resize(side, Image.Resampling.LANCZOS, box=inside))


@dataclass(frozen=True, slots=True, kw_only=True)
class ExplainResult:
    """What models saw in images."""

    visits: Sequence[ModelResults]
    interrupted: bool  # by Ctrl-C: this is what was finished before

    @property
    def num_shown(self) -> int:
        """How many images were explained, over all models."""
        return sum(len(visit.shown) for visit in self.visits)


def explain_images(
    request: VisualizeRequest,
    on_problem: OnProblem,
    *,
    progress: Callable[[str], None] = lambda _: None,
    on_interrupt: Callable[[], None] = lambda: None,
) -> ExplainResult:
    """Explain images by models and selectors.

    Args:
        request: The images and the models.
        on_problem: Gets what does not end the work: images that cannot be read, plug-ins that break.
        progress: Gets what is done now, in words.
        on_interrupt: Is called at once when Ctrl-C ends the work.

    Returns:
        The scores, boxes and crops that are finished, also after an interrupt.

    Raises:
        FgbenchError: For a request that does not fit, and where no image can be read.

    """
    run = ExplainRun(request=request, on_problem=on_problem, tell=progress)
    interrupted = False
    try:
        run.run()
    except KeyboardInterrupt:
        on_interrupt()
        interrupted = True
    return ExplainResult(visits=run.visits, interrupted=interrupted)
