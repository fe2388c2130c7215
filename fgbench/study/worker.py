"""What a process of a study does: plan it, time an epoch of each condition, train runs."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from fgbench.datasets.dataset import DataSet
from fgbench.errors import FgbenchError
from fgbench.flops.count_models import count_model
from fgbench.models.model import Model
from fgbench.models.vision_transformer import VisionTransformerModel
from fgbench.results.store import PATIENCE_S, Store
from fgbench.study.condition import Condition, Setting, Study
from fgbench.study.published import study_of
from fgbench.study.request import StudyRequest
from fgbench.study.timing import time_epochs
from fgbench.training.config import TrainingConfig, training_configs
from fgbench.training.context import TrainingContext, check_recipe, open_training
from fgbench.training.run import train_and_test
from fgbench.training.runs import Event
from fgbench.training.shared_store import NotingStore
from fgbench.training.standing import standing
from fgbench.workers.messages import Message
from fgbench.workers.process import Tell

TELL_S = 0.5  # between words on how far a run is
BACKBONE, SIDE = "vit_base_patch16_224", 224  # of conditions that name none, on data sets without their own


def plan(tell: Tell, request: Message, store: str) -> Message:
    """The conditions of a study on its data sets, with what is known of their cost and their runs.

    Args:
        tell: Receives what is looked at.
        request: The request, as :meth:`StudyRequest.message` makes it.
        store: The file of the store.

    """
    asked = StudyRequest.of(request)
    study = study_of(asked.study, asked.plugins)
    problems: list[str] = []
    conditions: list[Message] = []
    with Store(Path(store), patience_s=PATIENCE_S) as kept:
        opened: Any = NotingStore(kept)
        for name in asked.datasets:
            tell({"what": f"reading {name}"})
            plain = asked.accuracy(study, Condition(name="", model="vit"), name)
            context = open_training(
                replace(plain, seeds=asked.seeds), opened, lambda problem: problems.append(str(problem))
            )
            planner = _Planner(asked, study, context)
            for place, condition in enumerate(study.planned(planner.setting())):
                tell({"what": f"{name}: {condition.name}"})
                with _named(study, condition):
                    conditions.append({**planner.describe(condition), "position": place})
    told = {"title": study.title, "conditions": conditions, "problems": list(dict.fromkeys(problems))}
    return {**told, "asked": opened.asked}


@contextmanager
def _named(study: Study, condition: Condition) -> Iterator[None]:
    """Name the condition in an error."""
    try:
        yield
    except FgbenchError as error:
        raise FgbenchError(f"study {study.name}, {condition.name}: {error}") from error


class _Planner:
    """Plans the conditions of a study on one data set."""

    def __init__(self, asked: StudyRequest, study: Study, context: TrainingContext) -> None:
        self.asked, self.study, self.context = asked, study, context
        self._counted: dict[str, int] = {}

    @property
    def dataset(self) -> DataSet:
        """The data set."""
        return self.context.dataset

    def setting(self) -> Setting:
        """What the conditions are made for: the data set's sizes, the backbone's patches and blocks."""
        asked = self.asked
        recipe: Mapping[str, Any] = self.dataset.recipe
        sizes = asked.image_sizes or (recipe.get("image_size", SIDE),)
        plain = self._built(self.config(Condition(name="", model="vit", image_size=sizes[0])))
        encoder = plain.encoder if isinstance(plain, VisionTransformerModel) else None
        return Setting(
            models=asked.models,
            selectors=asked.selectors,
            backbones=asked.backbones,
            reductions=asked.reductions,
            keep_rates=asked.keep_rates or (),
            image_sizes=sizes,
            side_step=encoder.patch_size if encoder else 16,
            depth=encoder.depth if encoder else 12,
            cost=self.cost,
        )

    def config(self, condition: Condition) -> TrainingConfig:
        """The configuration of a condition, with its seeds."""
        request = self.asked.accuracy(self.study, condition, self.dataset.name)
        return self._of(request, condition)

    def _of(self, request: Any, condition: Condition) -> TrainingConfig:
        dataset, asked = self.dataset, self.asked
        for name in condition.recipe.keys() & asked.recipe.keys():
            do = "leave the option out: the study compares values of it"
            raise FgbenchError(f"study {self.study.name} sets", f"--{name.replace('_', '-')}", do)
        own: Mapping[str, Any] = dataset.recipe
        seeds = asked.seeds_for(own.get("seeds", ()), len(dataset.train))
        precise = {"mixed_precision": self.context.request.recipe["mixed_precision"], **request.recipe}
        request = replace(request, seeds=tuple(seeds), recipe=precise, device=self.context.request.device)
        problems: list[FgbenchError] = []
        try:
            (config,) = training_configs(request, dataset, problems.append)
        except FgbenchError as error:
            raise (problems[0] if problems else error) from error
        check_recipe(config.recipe)
        return config

    def _built(self, config: TrainingConfig) -> Model:
        with torch.device("meta"):
            return config.build(self.dataset.num_classes).eval()

    def cost(self, condition: Condition) -> int:
        """The FLOPs of one image."""
        return int(self._cost(self.config(condition))["flops"])

    def _cost(self, config: TrainingConfig) -> Message:
        model = self._built(config)
        count = count_model(model, config.image_size)
        params = sum(each.numel() for each in model.parameters())
        return {"macs": count.macs, "flops": int(count.flops), "params": params}

    def describe(self, condition: Condition) -> Message:
        """A condition as the study's main process plans with it."""
        config, dataset = self.config(condition), self.dataset
        context = replace(self.context, request=self._request(condition, config))
        stands = standing(context, config)
        return {
            "condition": condition.name,
            "against": condition.against,
            "dataset": dataset.name,
            "name_of_dataset": self.context.request.dataset,
            "identity": dict(self.context.identity),
            "fields": asdict(replace(condition, options=dict(condition.options), recipe=dict(condition.recipe))),
            "model": config.model,
            "image_size": config.image_size,
            "seeds": list(config.seeds),
            "lrs": list(config.lrs),
            "lr": stands.lr,
            "tried": [asdict(one) for one in stands.tried],
            "finished": [[seed, key] for seed, key in stands.finished.items()],
            "epochs": config.recipe.epochs,
            "search_epochs": self.asked.search_epochs or config.recipe.epochs,
            "train_images": len(dataset.train),
            "test_images": len(dataset.test),
            **self._cost(config),
        }

    def _request(self, condition: Condition, config: TrainingConfig) -> Any:
        request = self.asked.accuracy(self.study, condition, self.dataset.name)
        recipe = {**request.recipe, "mixed_precision": self.context.request.recipe["mixed_precision"]}
        return replace(request, recipe=recipe, seeds=config.seeds, device=self.context.request.device)


def _accuracy(request: Message, unit: Message) -> Any:
    """The request of one run."""
    asked = StudyRequest.of(request)
    study = study_of(asked.study, asked.plugins)
    condition = Condition(**unit["fields"])
    made = asked.accuracy(study, condition, unit["name_of_dataset"])
    return replace(made, seeds=tuple(unit["seeds"]), lrs=tuple(unit["lrs"]))


def estimate(tell: Tell, request: Message, unit: Message) -> Message:
    """Time two short epochs of a condition: what a run takes beside and in its epochs."""
    return time_epochs(_accuracy(request, unit), partial(_tell_step, tell))


def train(tell: Tell, request: Message, unit: Message, store: str | None) -> Message:
    """Train the run of one seed, after the search of a learning rate where there are several.

    Of several processes that train it together, the main one alone has a store.
    """
    problems: list[str] = []
    last = 0.0

    def progress(event: Event) -> None:
        nonlocal last
        now = time.monotonic()
        if event.epoch is not None:
            tell({"label": event.label, "epoch": asdict(event.epoch)})
        elif event.step is not None and now - last > TELL_S:
            last = now
            _tell_step(tell, event.label, event.step)

    made = _accuracy(request, unit)
    result = train_and_test(
        made,
        None if store is None else Path(store),
        progress=progress,
        on_problem=lambda problem: problems.append(str(problem)),
    )
    if result.failure is not None:
        raise result.failure
    runs: Sequence[Mapping[str, Any]] = [
        {"run": run.key, "row": run.row.as_dict(), "tried": [asdict(one) for one in run.tried]}
        for run in result.finished
    ]
    return {"runs": runs, "stored": result.stored, "problems": list(dict.fromkeys(problems))}


def _tell_step(tell: Tell, label: str, step: Any) -> None:
    tell({"label": label, "step": asdict(step)})


REQUESTS = {"plan": plan, "estimate": estimate, "train": train}
