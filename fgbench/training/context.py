"""Context that all runs of a command share: data set, device, processes, store and folder of weights."""

from __future__ import annotations

import importlib.util
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator, PartialState
from accelerate.utils import DistributedDataParallelKwargs, GradientAccumulationPlugin
from timm.optim import create_optimizer_v2, list_optimizers  # type: ignore[attr-defined]  # they are exported

from fgbench.datasets.build import open_dataset
from fgbench.datasets.check import check_dataset
from fgbench.datasets.dataset import DataSet
from fgbench.errors import FgbenchError, LeftOutNotice, OnProblem
from fgbench.models.backbone import brought_by
from fgbench.models.model import Model
from fgbench.options import check_device
from fgbench.plugins.code import foreign_code
from fgbench.plugins.files import add_plugin_files
from fgbench.plugins.kinds import datasets, models, selectors
from fgbench.results.environment import cores
from fgbench.results.output import check_folder
from fgbench.results.recipe import Recipe
from fgbench.results.reduced_name import function_file
from fgbench.results.shipped import BEGUN_FROM, WEIGHTS
from fgbench.results.store import Store
from fgbench.training.config import TrainingConfig, identify, run_key
from fgbench.training.initial_weights import built_digest, file_digest
from fgbench.training.request import AccuracyRequest
from fgbench.training.rows import facts
from fgbench.training.shared_store import SharedStore
from fgbench_selectors.plugins import describe

MAX_WORKERS = 8
LAUNCH_PREFIXES = ("ACCELERATE_", "MASTER_", "RANK", "LOCAL_RANK", "WORLD_SIZE")  # of variables that a launcher sets
SHARDING = ("DEEPSPEED", "FSDP", "MEGATRON_LM")  # ways to share out a model that Accelerate's configuration may name
TRACKER_PACKAGES = {"tensorboard": ("tensorboard", "tensorboardX")}


@dataclass(frozen=True, kw_only=True)
class TrainingContext:
    """A request and everything that its runs share. Every process has one; only the main process has a store.

    Attributes:
        request: The request, with the device and the precision filled in.
        dataset: The data set, checked.
        shared_store: Rows of runs.
        identity: Names and digests of the data set, in the key of every run.
        on_problem: Receives a problem for everything that is left out.
    """

    request: AccuracyRequest
    dataset: DataSet
    shared_store: SharedStore
    identity: Mapping[str, Any]
    on_problem: OnProblem
    _codes: dict[str, str | None] = field(default_factory=dict, repr=False)

    @property
    def device(self) -> torch.device:
        """Device of this process."""
        device: torch.device = PartialState().device
        return device

    @property
    def workers(self) -> int:
        """Number of worker processes that read images."""
        if self.request.workers is not None:
            return self.request.workers
        return min(MAX_WORKERS, cores()) if self.device.type == "cuda" else 0

    def accelerator(self, config: TrainingConfig, model: Model | None = None) -> Accelerator:
        """An Accelerator for one model.

        Args:
            config: The configuration, for precision and accumulated gradients.
            model: The model that is to be trained or tested, if it is known.

        Raises:
            FgbenchError: Accelerate does not start; the message names the environment variables that are set for it.
        """
        # Processes would wait for ever for the gradient of a parameter that no loss reaches, such as a selector's where
        # the model only takes the best scores.
        learns = model is not None and model.selector is not None and any(True for _ in model.selector.parameters())
        unreached = learns or (model is not None and bool(model.without_gradient))
        handler = DistributedDataParallelKwargs(find_unused_parameters=unreached)
        tracked = {"log_with": self.request.tracker, "project_dir": str(self.request.checkpoints)}
        with _accelerate_errors():
            return Accelerator(
                cpu=self.request.device == "cpu",
                mixed_precision=config.recipe.mixed_precision,
                # Steps that are given as such are overruled by an environment variable of Accelerate's.
                gradient_accumulation_plugin=GradientAccumulationPlugin(num_steps=config.recipe.accumulate),
                kwargs_handlers=[handler],
                **(tracked if self.request.tracker else {}),
            )

    def close(self) -> None:
        """Leave the group of processes."""
        PartialState().destroy_process_group()

    def key(self, config: TrainingConfig, **more: Any) -> str:
        """Key of a run in the store.

        Args:
            config: The configuration.
            **more: Further values that the result of this run depends on, such as seed and learning rate.
        """
        request = self.request
        begun_from = WEIGHTS if config.begins_shipped else request.checkpoint
        conditions = {"begun_from": file_digest(begun_from)} if begun_from else {}
        # Another set of weights in the same file, and another way to read it, are other runs.
        conditions |= {name: value for name, value in request.reading.items() if value is not None}
        if code := self.code(config):
            conditions["foreign_code"] = code
        pretrained = request.pretrained and not config.begins_shipped  # those of the shipped backbone are the same
        return run_key(config, {**self.identity, **conditions, "pretrained": pretrained, "flip": request.flip, **more})

    def begins_pretrained(self, config: TrainingConfig) -> bool:
        """Whether the backbone of a configuration begins from timm's weights, or from the shipped ones."""
        return self.request.pretrained or config.begins_shipped

    def begun_from(self, config: TrainingConfig) -> str:
        """What weights the training of a configuration begins from."""
        return BEGUN_FROM if config.begins_shipped else self.request.begun_from

    def key_of_run(self, config: TrainingConfig, lr: float, seed: int) -> str:
        """Key of a run that is trained on all training images."""
        return self.key(config, lr=lr, seed=seed, test_every=self.request.test_every)

    def search_of(self, config: TrainingConfig) -> tuple[TrainingConfig, dict[float, str]]:
        """How learning rates are searched: the configuration with its epochs, and the key of every rate."""
        epochs = self.request.search_epochs or config.recipe.epochs
        searched = replace(config, recipe=replace(config.recipe, epochs=epochs))
        seed = config.seeds[0]
        return searched, {lr: self.key(searched, lr=lr, seed=seed, split="search") for lr in config.lrs}

    def code(self, config: TrainingConfig) -> str | None:
        """A digest of the plug-ins of a configuration, and of the network that a function builds; None without them."""
        name = repr(replace(config, recipe=Recipe()))
        if name not in self._codes:
            self._codes[name] = foreign_code(*self._foreign(config), structure=self._built(config))
        return self._codes[name]

    def foreign_facts(self, config: TrainingConfig) -> dict[str, str]:
        """What rows say of the plug-ins of a configuration, and of the file of a function; empty without them."""
        code = self.code(config)
        return {**({} if code is None else {"foreign_code": code}), **function_file(config.model)}

    def _built(self, config: TrainingConfig) -> str:
        """A digest of what a function builds, which may read files of its own; empty for all other models."""
        if not models.load(config.model).built_by:
            return ""
        pretrained = self.begins_pretrained(config)
        return built_digest(lambda: config.build(self.dataset.num_classes, pretrained=pretrained))

    def _foreign(self, config: TrainingConfig) -> Iterator[Any]:
        """Model, selector, backbone and reader of the data set, as far as they come from plug-ins."""
        named = (models, config.model), (selectors, config.selector), (datasets, self.request.dataset)
        for registry, name in named:
            if name in registry.entries() and not registry.entry(name).is_own:
                yield registry.load(name)
        yield from models.load(config.model).built_by
        if config.backbone:
            yield from brought_by(config.backbone)

    def folder(self, config: TrainingConfig, key: str, seed: int) -> Path:
        """Folder that the weights of a run are written to."""
        words = [self.dataset.name, config.model, config.selector, config.image_size, f"seed{seed}", key[:10]]
        return self.request.checkpoints / re.sub(r"[^\w.-]+", "_", "-".join(str(word) for word in words if word))


@contextmanager
def _accelerate_errors() -> Iterator[None]:
    """Turn any error of Accelerate, which reads some forty environment variables, into one line."""
    try:
        yield
    except Exception as error:
        variables = ", ".join(name for name in sorted(os.environ) if name.startswith(LAUNCH_PREFIXES))
        do = f"set for it: {variables or 'nothing'}; unset what is wrong, or start with accelerate launch"
        raise FgbenchError(f"Accelerate does not start ({describe(error)[:300]})", do=do) from error


def open_training(request: AccuracyRequest, store: Store | None, on_problem: OnProblem) -> TrainingContext:
    """Load plug-ins, open and check the data set, and choose the device.

    Args:
        request: The request.
        store: The store of the main process; None on all others.
        on_problem: Receives a notice for everything about the data set that is worth knowing.

    Raises:
        FgbenchError: The device is not there, weights cannot be written, or an option does not fit the device.
        DatasetError: The data set is missing, incomplete or laid out in another way.
    """
    add_plugin_files(request.plugins, on_problem)
    if sharded := [name for name in SHARDING if os.environ.get(f"ACCELERATE_USE_{name}", "false").lower() == "true"]:
        raise FgbenchError("models are whole on every process, not shared out by", sharded[0], "launch without it")
    if not request.test_only:
        _check_folder(request.checkpoints)
    check_device(request.device, has_cuda=torch.cuda.is_available(), doing="train")
    if request.device is None and not torch.cuda.is_available():
        request = replace(request, device="cpu")
    if request.tracker:
        _check_tracker(request.tracker)
    with _accelerate_errors():
        state = PartialState(cpu=request.device == "cpu")
    if request.threads:  # after Accelerate, which sets a number of its own for several processes on a CPU
        torch.set_num_threads(request.threads)
    if request.recipe.get("mixed_precision") == "fp16" and state.device.type == "cpu":
        # Accelerate would train in float32 and not say so.
        raise FgbenchError("a CPU does not train with", "--mixed-precision fp16", "bf16 and no are what it can")
    if "mixed_precision" not in request.recipe:  # as published, where there is the hardware for it
        precision = "fp16" if state.device.type == "cuda" else "no"
        request = replace(request, recipe={**request.recipe, "mixed_precision": precision})
    dataset = open_dataset(request.dataset, request.data_dir, request.dataset_options)
    with datasets.blame(request.dataset, FgbenchError):
        report = check_dataset(dataset, read=request.read_all)
    for note in (*report.warnings, *report.notes, report.unreadable_in_words()):
        if note:
            is_named = note.startswith(f"{dataset.name} ") or f" of {dataset.name} " in note
            on_problem(LeftOutNotice(note if is_named else f"{dataset.name}: {note}"))
    environment = facts(request.recipe["mixed_precision"])
    return TrainingContext(
        request=request,
        dataset=dataset,
        shared_store=SharedStore(store, environment, again=request.again),
        identity={**identify(dataset), "options": dict(request.dataset_options)},
        on_problem=on_problem,
    )


def _check_folder(folder: Path) -> None:
    """Refuse a folder that cannot be written to, before a model is trained."""
    try:
        check_folder(folder)
    except FgbenchError as error:
        raise FgbenchError(
            "weights cannot be kept in", str(folder), f"{error.do}; name another with --checkpoints"
        ) from error


def _check_tracker(name: str) -> None:
    """Refuse a tracker whose package is missing; Accelerate would leave it out silently."""
    if not any(importlib.util.find_spec(package) for package in TRACKER_PACKAGES.get(name, (name,))):
        raise FgbenchError("a package is not installed that is needed by", f"--tracker {name}", f"pip install {name}")


def check_recipe(recipe: Recipe) -> None:
    """Refuse a recipe that cannot be trained here.

    Raises:
        FgbenchError: timm does not have the optimizer, or the batch cannot be cut into equal parts.
    """
    if recipe.optimizer not in list_optimizers():
        raise FgbenchError("timm has no optimizer", recipe.optimizer, "for example momentum (plain SGD), sgd, adamw")
    try:
        create_optimizer_v2([torch.nn.Parameter(torch.zeros(1, 1))], opt=recipe.optimizer, lr=0.1, momentum=0.9)
    except Exception as error:  # a missing package or GPU raises errors of many types
        raise FgbenchError("timm cannot make the optimizer", recipe.optimizer, describe(error)) from error
    processes = PartialState().num_processes
    if recipe.batch_size % (recipe.accumulate * processes):
        raise FgbenchError(
            f"a batch cannot be shared equally by {processes} processes in {recipe.accumulate} parts:",
            recipe.batch_size,
            f"give a multiple of {recipe.accumulate * processes}",
        )
