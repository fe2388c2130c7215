"""Training configurations: a model with its options and recipe, at one image size."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

from fgbench.datasets.dataset import DataSet, Split
from fgbench.errors import BrokenPluginError, FgbenchError, LeftOutNotice, OnProblem
from fgbench.models.backbone import is_backbone
from fgbench.models.build import create_model, model_class, model_options
from fgbench.models.checkpoints.file_kinds import SAFETENSORS, kind_of
from fgbench.models.checkpoints.files import read_metadata
from fgbench.models.checkpoints.names import written_options
from fgbench.models.model import Model
from fgbench.models.vision_transformer import VisionTransformerModel
from fgbench.plugins.kinds import models, selectors
from fgbench.results.recipe import LEARNING_RATES, Recipe, published_model_options, published_recipe, published_seeds
from fgbench.results.shipped import is_shipped
from fgbench.training.request import GIVEN_BY_COMMAND, AccuracyRequest

RECIPE_FIELDS = {field.name for field in fields(Recipe)}
IMAGE_SIZE = 224  # pixels, where neither the request nor the data set names a size
FROM_SHIPPED = "from shipped"  # the part of a data set's recipe that is for the weights of the shipped backbone


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingConfig:
    """A model with its options and recipe; a run adds a seed and a learning rate."""

    model: str
    backbone: str | None  # timm's name; None: the model's own default
    selector: str | None  # None: the model's own
    impl: str
    image_size: int  # pixels, square
    options: Mapping[str, Any]  # other options of the model
    recipe: Recipe
    lrs: tuple[float, ...]  # several are searched
    seeds: tuple[int, ...]
    begins_shipped: bool = False  # from the weights of the shipped backbone

    @property
    def label(self) -> str:
        """Model, selector and image size in a few words."""
        return " ".join(word for word in (self.model, self.selector, f"at {self.image_size}") if word)

    def build(self, num_classes: int, *, pretrained: bool = False) -> Model:
        """Build the model; its weights are drawn from torch's generator.

        Args:
            num_classes: Number of classes of the data set.
            pretrained: Whether the backbone has timm's weights, or those that are shipped.

        """
        options = dict(self.options)
        if self.selector is not None:
            options["selector"] = self.selector
        options.setdefault("label_smoothing", self.recipe.level.label_smoothing)
        return create_model(
            self.model,
            self.backbone,
            img_size=self.image_size,
            num_classes=num_classes,
            impl=self.impl,
            pretrained=pretrained,
            **options,
        )


def training_configs(request: AccuracyRequest, dataset: DataSet, on_problem: OnProblem) -> list[TrainingConfig]:
    """Configurations of a request: every image size, model and selector that fit together.

    A value of the request comes before one of the data set's own recipe, and that before one of the paper's.

    Args:
        request: The request.
        dataset: The data set, which may have a recipe of its own.
        on_problem: Receives a problem for a model and a selector that do not fit, and for a broken plug-in.

    Raises:
        UnknownNameError: A name is not known.
        FgbenchError: A model does not have an option, or no configuration is left.

    """
    configs = []
    models.try_out(request.models)
    selectors.try_out(request.selectors or ())
    for size in request.image_sizes or [_of_dataset(dataset, "image_size", IMAGE_SIZE)]:
        for name in request.models:
            try:
                kind = model_class(name)
            except BrokenPluginError as error:
                on_problem(error)
                continue
            names: Sequence[str | None] = request.selectors or [None]
            for selector in names:
                try:
                    fits = selector is None or not kind.accepts or _fits(kind, selector)
                except BrokenPluginError as error:
                    on_problem(error)
                    continue
                if selector is not None and not kind.accepts:
                    on_problem(LeftOutNotice(f"{name} has no selector, and was left out with", selector))
                elif not fits:
                    on_problem(LeftOutNotice(f"{name} cannot select by the scores of", selector))
                else:
                    configs.append(_config(request, dataset, kind, name, selector, size))
    if not configs:
        raise FgbenchError("nothing is left to train", do="'fgbench list models' shows what each one selects by")
    return configs


def _config(
    request: AccuracyRequest, dataset: DataSet, kind: type[Model], name: str, selector: str | None, size: int
) -> TrainingConfig:
    known = model_options(kind) - GIVEN_BY_COMMAND
    for option in request.model_options:
        if option not in known:
            raise FgbenchError(f"model {name!r} has no option", option, f"it has: {', '.join(sorted(known))}")
    backbone = request.backbone or _backbone(request, dataset, kind)
    begins_shipped = request.begins_shipped and is_shipped(backbone)
    own = {**dataset.recipe, **(_of_dataset(dataset, FROM_SHIPPED, {}) if begins_shipped else {})}
    fields = {key: value for key, value in own.items() if key in RECIPE_FIELDS}
    recipe = Recipe(**{**published_recipe(name, dataset.name), **fields, **request.recipe})
    lr: Any = own.get("lr")
    return TrainingConfig(
        model=name,
        backbone=backbone,
        selector=selector,
        impl=request.impl,
        image_size=size,
        options={**_published_options(name, dataset, size, request.model_options), **request.model_options},
        recipe=recipe,
        lrs=tuple(request.lrs or (LEARNING_RATES if lr is None else [lr])),
        seeds=tuple(request.seeds or _of_dataset(dataset, "seeds", published_seeds(len(dataset.train)))),
        begins_shipped=begins_shipped,
    )


def _backbone(request: AccuracyRequest, dataset: DataSet, kind: type[Model]) -> str | None:
    """The backbone where none was named: that of the data set's recipe, or the one that our own file is of."""
    if not issubclass(kind, VisionTransformerModel):
        return _name_of_dataset(dataset, f"backbone of {kind.default_backbone}")
    of_dataset = _name_of_dataset(dataset, "backbone")
    if of_dataset is None or request.checkpoint is None or kind_of(request.checkpoint) != SAFETENSORS:
        return of_dataset
    written = written_options(read_metadata(request.checkpoint)).get("backbone")
    return written if isinstance(written, str) and is_backbone(written) else of_dataset


def _name_of_dataset(dataset: DataSet, key: str) -> str | None:
    name: str | None = _of_dataset(dataset, key, None)
    return name


def _of_dataset(dataset: DataSet, key: str, otherwise: Any) -> Any:
    return dataset.recipe.get(key, otherwise)


def _fits(kind: type[Model], selector: str) -> bool:
    return selectors.load(selector).score_shape in kind.accepts


def _published_options(name: str, dataset: DataSet, size: int, given: Mapping[str, Any]) -> dict[str, Any]:
    """What the papers change of a model for a data set; patches of a crop only where there is one."""
    return {} if given.get("crops") is False else published_model_options(name, dataset.name, size)


def run_key(config: TrainingConfig, conditions: Mapping[str, Any]) -> str:
    """Key of a run: a digest of everything that could change its result, except the machine and fgbench's code.

    Args:
        config: The configuration; its learning rates and seeds are not in the key.
        conditions: Data set, seed, learning rate, first weights and whatever else the result depends on.

    """
    trained = {**asdict(config), "lrs": None, "seeds": None}
    del trained["begins_shipped"]  # the conditions have the digest of the weights
    identity = {"trained": trained, "around": dict(conditions)}  # two mappings: both have "options"
    return hashlib.sha256(json.dumps(identity, sort_keys=True, default=str).encode()).hexdigest()


def identify(dataset: DataSet) -> dict[str, Any]:
    """Digests of a data set's classes, image names and targets; pixels are not read."""
    return {
        "name": dataset.name,
        "classes": hashlib.sha256(_as_bytes("\n".join(dataset.class_names))).hexdigest()[:16],
        "train": _digest(dataset.train),
        "test": _digest(dataset.test),
    }


def _digest(split: Split) -> str:
    digest = hashlib.sha256()
    for index, target in enumerate(split.targets):
        digest.update(_as_bytes(f"{split.name(index)}\t{target}\n"))
    return digest.hexdigest()[:16]


def _as_bytes(text: str) -> bytes:
    """Bytes of a text that may be a file name, or hold half a character from a JSON file."""
    try:
        return text.encode(errors="surrogateescape")
    except UnicodeEncodeError:
        return text.encode(errors="surrogatepass")
