"""All models of a request, applied to all of its pictures, one model after the other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch

from fgbench.errors import BrokenPluginError, FgbenchError, OnProblem
from fgbench.explain.explainer import Explainer
from fgbench.explain.loaded_model import LoadedModel, load_model, models_that_fit, sized
from fgbench.explain.picture import Picture, read_picture
from fgbench.explain.records import ImageResult
from fgbench.explain.request import VisualizeRequest
from fgbench.models.any_network import AnyNetwork
from fgbench.options import check_device
from fgbench.plugins.files import add_plugin_files
from fgbench.plugins.kinds import models
from fgbench.plugins.registry import usable_selectors
from fgbench.plugins.timm_names import shape_of


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelResults:
    """Results of one model for all pictures that could be read; ``images`` grows while it runs."""

    explainer: Explainer
    images: list[ImageResult] = field(default_factory=list)

    @property
    def loaded(self) -> LoadedModel:
        """The model."""
        return self.explainer.loaded

    def has(self, name: str) -> bool:
        """Whether a selector has a result for at least one picture."""
        return any(name in image.selectors for image in self.images)


@dataclass(kw_only=True)
class ExplainRun:
    """A request and its results so far; what is finished is kept, also where the run is interrupted.

    Attributes:
        request: Pictures, models, selectors and options.
        on_problem: Receives a problem for everything that is left out.
        tell: Receives a line of text about the step under way.
        results: Results by model, in the order in which models run.
    """

    request: VisualizeRequest
    on_problem: OnProblem
    tell: Callable[[str], None] = lambda _: None
    results: list[ModelResults] = field(default_factory=list)
    _unreadable: dict[str, FgbenchError] = field(default_factory=dict)

    def run(self) -> None:
        """Apply every model to every picture. A picture that cannot be read is reported and left out.

        Raises:
            FgbenchError: Options or models do not fit, which is found before a picture is read; or no picture can be
                read; or no model has a selection for any picture.
        """
        request = self.request
        add_plugin_files(request.plugins, self.on_problem)
        usable_selectors(request.selectors or (), lambda broken: None)  # refuses names that are not registered
        models.try_out(request.models)
        self.request = request = sized(request)
        device = device_of(request)
        broken: list[BrokenPluginError] = []
        for name, backbone in models_that_fit(self.request, self.on_problem):
            self.tell(f"loading {name}")
            try:
                self._run_model(load_model(request, name, backbone, device, self.on_problem))
            except BrokenPluginError as error:
                broken.append(error)
        if not any(results.images for results in self.results):
            if broken:
                raise broken[0]
            if len(request.images) == 1:
                raise self._unreadable[request.images[0]]
            raise FgbenchError("none of the pictures could be read")
        for problem in broken:
            self.on_problem(problem)
        if not any(image.selectors for results in self.results for image in results.images):
            networks = [results.explainer.loaded for results in self.results]
            others = [loaded.backbone for loaded in networks if isinstance(loaded.model, AnyNetwork)]
            plain = [name for name in others if shape_of(name, self.request.side, 1, None) is not None]
            do = f"selectors read it as a backbone: --model vit --backbones {plain[0]}" if plain else ""
            raise FgbenchError("no model has a selection for any of these pictures", do=do)

    def _run_model(self, loaded: LoadedModel) -> None:
        explainer = Explainer(loaded, self.request, self.on_problem)
        results = ModelResults(explainer=explainer)
        self.results.append(results)
        for path in self.request.images:
            self.tell(f"{loaded.name} on {loaded.backbone}: {path}")
            if (picture := self._read(path)) is not None:
                results.images.append(explainer.explain(picture))

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
    """The device that models run on: the one that was asked for, else CUDA where there is one.

    Raises:
        FgbenchError: CUDA was asked for, and there is no such device.
    """
    has_cuda = torch.cuda.is_available()
    check_device(request.device, has_cuda=has_cuda, doing="run")
    return torch.device(request.device or ("cuda" if has_cuda else "cpu"))


@dataclass(frozen=True, slots=True, kw_only=True)
class ExplainResult:
    """Results of all models for all images."""

    request: VisualizeRequest  # with the image size that was chosen
    results: Sequence[ModelResults]
    interrupted: bool  # by Ctrl-C: this is what was finished before

    @property
    def num_shown(self) -> int:
        """How many images were explained, over all models."""
        return sum(len(results.images) for results in self.results)


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
    return ExplainResult(request=run.request, results=run.results, interrupted=interrupted)
