"""All runs of a request, one after the other: searched, trained and tested. A finished run is not repeated."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from accelerate import PartialState

from fgbench.backbone_shape import cut_off_by, cut_off_line
from fgbench.datasets.transforms import eval_transform
from fgbench.errors import BrokenPluginError, CannotMeasureError, LeftOutNotice
from fgbench.models.model import Model
from fgbench.results.decoding import decode
from fgbench.results.recipe import Recipe
from fgbench.results.records import AccuracyRow, Record
from fgbench.training.config import TrainingConfig, training_configs
from fgbench.training.context import TrainingContext, check_recipe
from fgbench.training.evaluation import NotFiniteError, evaluate
from fgbench.training.initial_weights import READING, load_weights_to_test
from fgbench.training.loading import Images
from fgbench.training.metrics import Predictions
from fgbench.training.rows import Row, predictions_row, run_row
from fgbench.training.search import Subset, best_lr, search_subsets
from fgbench.training.shared_store import CLASSES, PREDICTIONS, RUNS, SEARCHED
from fgbench.training.standing import Tried
from fgbench.training.state import Progress
from fgbench.training.train_run import Run, plugin_errors, train_run
from fgbench.training.training import LAST, Epoch, Step, remove_files

CONFUSIONS = 100  # most pairs of classes that are kept of a run


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """A step, a finished epoch or a finished run, to be shown."""

    label: str  # of the run
    run: int  # from 1
    runs: int
    step: Step | None = None
    epoch: Epoch | None = None  # finished
    row: AccuracyRow | None = None  # finished


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """A finished run: its configuration, from which the model can be built again, and its rows."""

    config: TrainingConfig
    key: str
    row: AccuracyRow
    classes: Row  # accuracy by class, and the classes that are taken for others
    tried: Sequence[Tried] = ()  # learning rates that were searched


@dataclass(kw_only=True)
class Runs:
    """The runs of a request.

    Attributes:
        context: The request, the data set, the store and the device.
        tell: Receives every event.
        finished: Finished runs, those of the store among them; it grows while runs are trained.
        stored: Number of finished runs that the store had.
        total: Number of runs that were asked for.
    """

    context: TrainingContext
    tell: Callable[[Event], None] = lambda event: None
    finished: list[Finished] = field(default_factory=list)
    stored: int = 0
    total: int = 0
    _number: int = 0
    _tried: tuple[Tried, ...] = ()  # of the configuration that is trained now

    @property
    def rows(self) -> list[AccuracyRow]:
        """Rows of the finished runs."""
        return [finished.row for finished in self.finished]

    def run(self) -> None:
        """Train, or test, each seed of each configuration in turn.

        A run that fails by itself (figures that are not finite, a broken plug-in) is reported, and the others go on.

        Raises:
            FgbenchError: No configuration is left, a recipe cannot be trained, or a file of weights does not fit.
            CannotMeasureError: A run does not fit into the memory of the GPU.
            DatasetError: Too many images cannot be read.
        """
        context = self.context
        configs = training_configs(context.request, context.dataset, context.on_problem)
        configs = [config for config in configs if self._can_be_built(config)]
        test_only = context.request.test_only
        self.total = len(configs) if test_only else sum(len(config.seeds) for config in configs)
        for config in configs:
            if test_only:
                self._number += 1
                with self._run_errors(config.label):
                    self._test(config)
            else:
                self._train_seeds(config)

    def _can_be_built(self, config: TrainingConfig) -> bool:
        """Build a model without weights, so that errors are found before the first run is trained."""
        check_recipe(config.recipe)
        try:
            with torch.device("meta"):
                model = config.build(self.context.dataset.num_classes)
        except BrokenPluginError as error:
            self.context.on_problem(error)
            return False
        if line := cut_off_line(config.label, {config.image_size: cut_off_by(model)}):
            self.context.on_problem(LeftOutNotice(line))
        return True

    @contextmanager
    def _run_errors(self, label: str) -> Iterator[None]:
        """Report an error that ends one run alone."""
        try:
            yield
        except NotFiniteError as error:
            self.context.on_problem(CannotMeasureError(f"{label}: {error}"))
        except BrokenPluginError as error:
            self.context.on_problem(error)

    def _train_seeds(self, config: TrainingConfig) -> None:
        self._tried = ()
        try:
            lr = config.lrs[0] if len(config.lrs) == 1 else self._search(config)
        except (NotFiniteError, BrokenPluginError) as error:
            self.context.on_problem(error)
            lr = None
        if lr is None:
            self._number += len(config.seeds)
            return
        for seed in config.seeds:
            self._number += 1
            with self._run_errors(f"{config.label}, seed {seed}"):
                self._train(config, lr, seed)

    def _search(self, config: TrainingConfig) -> float | None:
        """The best learning rate; None where another process is still training with one of them."""
        context, seed = self.context, config.seeds[0]
        searched, keys = context.search_of(config)
        subsets = search_subsets(context.dataset.train)
        rows: dict[float, Row | None] = {}
        for lr, key in keys.items():
            rows[lr] = context.shared_store.get(SEARCHED, key)
            if rows[lr] is None:
                with self._claimed(key) as is_claimed:
                    if is_claimed:
                        stored = context.shared_store.get(SEARCHED, key)
                        rows[lr] = stored or self._try_lr(searched, lr, seed, key, subsets)
        results: list[tuple[float, float]] = []
        for lr, key in keys.items():
            row = rows[lr] or context.shared_store.get(SEARCHED, key)  # another process may have finished it by now
            if row is None:
                message = f"{config.label} was left out: another process is searching its learning rate"
                context.on_problem(LeftOutNotice(message, do="start again when it is done"))
                return None
            top1 = row["validation_top1_percent"]
            self._tried += (Tried(lr=lr, validation_top1_percent=top1),)
            if top1 is not None:
                results.append((lr, float(top1)))
        if not results:
            tried = ", ".join(map(str, config.lrs))
            raise NotFiniteError(f"no learning rate of {tried} works for {config.label}")
        return best_lr(results)

    def _try_lr(self, searched: TrainingConfig, lr: float, seed: int, key: str, subsets: tuple[Subset, Subset]) -> Row:
        """Train with one learning rate, and keep the accuracy."""
        context = self.context
        row: Row = {
            "model": searched.model,
            "selector": searched.selector,
            "dataset": context.dataset.name,
            "image_size": searched.image_size,
            "seed": seed,
            "lr": lr,
            "epochs": searched.recipe.epochs,
            "validation_top1_percent": None,
            "images": len(subsets[1]),
            "reason": None,
        }
        run = Run(
            config=searched,
            lr=lr,
            seed=seed,
            key=key,
            label=f"{searched.label}: search, lr {lr:g}",
            train_split=subsets[0],
            test_split=subsets[1],
            keep_weights=False,
        )
        try:
            predictions, _, _ = self._train_run(run)
            row["validation_top1_percent"] = predictions.top1_percent
        except NotFiniteError as error:  # too high a rate is a result of the search
            row["reason"] = str(error)
        row = context.shared_store.add(SEARCHED, key, row)
        self._remove_files(searched, key, seed, weights=True)
        return row

    def _train(self, config: TrainingConfig, lr: float, seed: int) -> None:
        context = self.context
        label = f"{config.label}, seed {seed}"
        key = context.key_of_run(config, lr, seed)
        if self._is_stored(config, key, label):
            self._remove_files(config, key, seed, weights=False)  # the process may have been killed before it did so
            return
        with self._claimed(key) as is_claimed:
            if not is_claimed:
                context.on_problem(LeftOutNotice(f"{label} is being trained by another process, and was left out"))
                return
            if self._is_stored(config, key, label):  # another process finished it before the claim
                return
            run = Run(
                config=config,
                lr=lr,
                seed=seed,
                key=key,
                label=label,
                train_split=context.dataset.train,
                test_split=context.dataset.test,
            )
            predictions, progress, model = self._train_run(run)
            row = run_row(
                config,
                context.dataset,
                model,
                predictions,
                checkpoint=context.folder(config, key, seed) / LAST,
                flip=context.request.flip,
                trained=progress,
                lr=lr,
                seed=seed,
                begun_from=context.begun_from(config),
            )
            self._keep(config, key, row, predictions, label)
            self._remove_files(config, key, seed, weights=False)

    def _train_run(self, run: Run) -> tuple[Predictions, Progress, Model]:
        def tell(event: Step | Epoch) -> None:
            self._tell(run.label, **{"step" if isinstance(event, Step) else "epoch": event})

        return train_run(self.context, run, tell)

    @contextmanager
    def _claimed(self, key: str) -> Iterator[bool]:
        """Claim a run while the block runs; False where another process has claimed it."""
        is_claimed = self.context.shared_store.claim(key)
        try:
            yield is_claimed
        finally:
            if is_claimed:
                self.context.shared_store.release(key)

    def _remove_files(self, config: TrainingConfig, key: str, seed: int, *, weights: bool) -> None:
        if PartialState().is_main_process:
            with suppress(OSError):  # files that are left only take room
                remove_files(self.context.folder(config, key, seed), weights=weights)

    def _test(self, config: TrainingConfig) -> None:
        """Test a file of weights."""
        context, request = self.context, self.context.request
        assert request.checkpoint is not None
        # The recipe does not matter. READING is in the key because earlier versions read some files in another way.
        key = context.key(replace(config, recipe=Recipe()), test_only=True, reading=READING)
        if self._is_stored(config, key, config.label):
            return
        model = config.build(context.dataset.num_classes)
        report = load_weights_to_test(model, request.checkpoint, context.dataset, context.on_problem, **request.reading)
        accelerator = context.accelerator(config, model)
        images = Images(context.dataset.test, eval_transform(context.dataset, config.image_size))

        def tick(done: int) -> None:
            self._tell(config.label, step=Step(epoch=1, epochs=1, phase="testing", done=done, total=len(images)))

        with plugin_errors(config, request.dataset):
            predictions = evaluate(
                model.to(accelerator.device),
                images,
                accelerator,
                batch_size=request.test_batch_size,
                workers=context.workers,
                flip=request.flip,
                tick=tick,
            )
        row = run_row(
            config,
            context.dataset,
            model,
            predictions,
            checkpoint=request.checkpoint,
            weights=report.weights,
            flip=request.flip,
        )
        self._keep(config, key, row, predictions, config.label)

    def _is_stored(self, config: TrainingConfig, key: str, label: str) -> bool:
        """Whether the store has the run; then it is added to the finished ones."""
        shared_store = self.context.shared_store
        row = shared_store.get(RUNS, key)
        if row is None:
            return False
        self.stored += 1
        kept = decode(AccuracyRow, {**row, "run": key})  # rows of earlier versions lack the key
        self._finish(config, key, kept, shared_store.get(CLASSES, key) or {}, label)
        return True

    def _keep(self, config: TrainingConfig, key: str, row: AccuracyRow, predictions: Predictions, label: str) -> None:
        names, shared_store = self.context.dataset.class_names, self.context.shared_store
        classes = {"classes": predictions.per_class(names), "confusions": predictions.confusions(names)[:CONFUSIONS]}
        shared_store.add(CLASSES, key, classes)
        kept = predictions_row(row, key, self.context.dataset.test, predictions)
        shared_store.add(PREDICTIONS, key, _without_environment(kept))
        fields = _without_environment(row) | {"run": key}
        stored = shared_store.add(RUNS, key, fields, **self.context.foreign_facts(config))
        self._finish(config, key, decode(AccuracyRow, stored), classes, label)

    def _finish(self, config: TrainingConfig, key: str, row: AccuracyRow, classes: Row, label: str) -> None:
        self.finished.append(Finished(config=config, key=key, row=row, classes=classes, tried=self._tried))
        self._tell(label, row=row)

    def _tell(self, label: str, **event: Any) -> None:
        self.tell(Event(label=label, run=max(self._number, 1), runs=self.total, **event))


def _without_environment(row: Record) -> Row:
    """A row as the store takes it, which keeps environments by themselves."""
    return {name: value for name, value in row.as_dict().items() if name != "environment"}
