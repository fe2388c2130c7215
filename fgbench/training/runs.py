"""Models searched, trained and tested, one after the other. What is finished is kept, and is not done twice."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from accelerate import PartialState

from fgbench.backbone_shape import cut_off_by, cut_off_line
from fgbench.datasets.dataset import Split
from fgbench.datasets.transforms import eval_transform
from fgbench.errors import BrokenPluginError, CannotMeasureError, LeftOutNotice
from fgbench.models.model import Model
from fgbench.results.recipe import Recipe
from fgbench.training.config import TrainingConfig, training_configs
from fgbench.training.context import TrainingContext, check_recipe
from fgbench.training.evaluation import NotFiniteError, evaluate
from fgbench.training.initial_weights import READING, load_for_test
from fgbench.training.loading import Images
from fgbench.training.metrics import Predictions
from fgbench.training.rows import Row, run_row
from fgbench.training.search import best_lr, search_parts
from fgbench.training.shared_store import CLASSES, RUNS, SEARCHED
from fgbench.training.state import Progress
from fgbench.training.train_run import Splits, blamed, fit
from fgbench.training.training import LAST, Epoch, Step, forget

CONFUSIONS = 100  # pairs that are kept of a run


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """What happens, for whoever shows it."""

    label: str  # which run
    run: int  # from 1
    runs: int
    step: Step | None = None
    epoch: Epoch | None = None  # finished
    row: Row | None = None  # finished


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """A finished run: its row, its classes, and how to build its model again."""

    config: TrainingConfig
    key: str
    row: Row
    classes: Row  # per class, and which is taken for which


@dataclass(kw_only=True)
class Runs:
    """The runs of a session. ``finished`` grows; ``stored`` of them were in the store already."""

    session: TrainingContext
    tell: Callable[[Event], None] = lambda event: None
    finished: list[Finished] = field(default_factory=list)
    stored: int = 0
    total: int = 0
    _number: int = 0

    @property
    def rows(self) -> list[Row]:
        """The rows of what is finished."""
        return [finished.row for finished in self.finished]

    def run(self) -> None:
        """Do everything that was asked for: each seed of each model in turn."""
        session = self.session
        asked = training_configs(session.request, session.dataset, session.on_problem)
        todo = [config for config in asked if self._can_be_built(config)]
        self.total = len(todo) if session.request.test_only else sum(len(config.seeds) for config in todo)
        for config in todo:
            if session.request.test_only:
                self._number += 1
                try:
                    self._test(config)
                except NotFiniteError as error:
                    session.on_problem(CannotMeasureError(f"{config.label}: {error}"))
                except BrokenPluginError as error:
                    session.on_problem(error)
                continue
            try:
                lr = config.lrs[0] if len(config.lrs) == 1 else self._search(config)
            except (NotFiniteError, BrokenPluginError) as error:  # the others may fare better
                session.on_problem(error)
                lr = None
            if lr is None:
                self._number += len(config.seeds)
                continue
            for seed in config.seeds:
                self._number += 1
                try:
                    self._train(config, lr, seed)
                except NotFiniteError as error:
                    session.on_problem(CannotMeasureError(f"{config.label}, seed {seed}: {error}"))
                except BrokenPluginError as error:
                    session.on_problem(error)

    def _can_be_built(self, config: TrainingConfig) -> bool:
        """What does not fit is known before hours are spent on the rest; a broken plug-in takes no other down."""
        check_recipe(config.recipe)
        try:
            with torch.device("meta"):
                model = config.build(self.session.dataset.num_classes)
        except BrokenPluginError as error:
            self.session.on_problem(error)
            return False
        if line := cut_off_line(config.label, {config.image_size: cut_off_by(model)}):
            self.session.on_problem(LeftOutNotice(line))
        return True

    def _search(self, config: TrainingConfig) -> float | None:
        """Train with every learning rate on a part of the training images; the rest judges.

        None where another process is at one of them: the best of the others need not be the best.
        """
        session, seed = self.session, config.seeds[0]
        epochs = session.request.search_epochs or config.recipe.epochs
        searched = replace(config, recipe=replace(config.recipe, epochs=epochs))
        parts = search_parts(session.dataset.train)
        keys = {lr: session.key(searched, lr=lr, seed=seed, split="search") for lr in config.lrs}
        rows: dict[float, Row | None] = {}
        for lr, key in keys.items():
            rows[lr] = session.shared_store.get(SEARCHED, key)
            if rows[lr] is None:
                with self._claimed(key) as mine:
                    if mine:
                        rows[lr] = session.shared_store.get(SEARCHED, key) or self._try(searched, lr, seed, key, parts)
        results: list[tuple[float, float]] = []
        for lr, key in keys.items():
            row = rows[lr] or session.shared_store.get(SEARCHED, key)  # another process may be done with it by now
            if row is None:
                said = f"{config.label} was left out: another process is searching its learning rate"
                session.on_problem(LeftOutNotice(said, do="start again when it is done"))
                return None
            if row["validation_top1_percent"] is not None:
                results.append((lr, float(row["validation_top1_percent"])))
        if not results:
            tried = ", ".join(map(str, config.lrs))
            raise NotFiniteError(f"no learning rate of {tried} works for {config.label}")
        return best_lr(results)

    def _try(self, searched: TrainingConfig, lr: float, seed: int, key: str, parts: tuple[Split, Split]) -> Row:
        """Train with one learning rate, and keep what it came to."""
        session = self.session
        row: Row = {
            "model": searched.model,
            "selector": searched.selector,
            "dataset": session.dataset.name,
            "image_size": searched.image_size,
            "seed": seed,
            "lr": lr,
            "epochs": searched.recipe.epochs,
            "validation_top1_percent": None,
            "images": len(parts[1]),
            "reason": None,
        }
        label = f"{searched.label}: search, lr {lr:g}"
        try:
            predictions, _, _ = self._fit(searched, lr, seed, key, label, parts, keep_weights=False)
            row["validation_top1_percent"] = predictions.top1_percent
        except NotFiniteError as error:  # too high a rate is a result of the search
            row["reason"] = str(error)
        row = session.shared_store.add(SEARCHED, key, row)
        self._forget(searched, key, seed, weights=True)
        return row

    def _train(self, config: TrainingConfig, lr: float, seed: int) -> None:
        session = self.session
        label = f"{config.label}, seed {seed}"
        key = session.key(config, lr=lr, seed=seed, test_every=session.request.test_every)
        if self._was_finished(config, key, label):
            self._forget(config, key, seed, weights=False)  # it may have been killed before it could
            return
        with self._claimed(key) as mine:
            if not mine:
                session.on_problem(LeftOutNotice(f"{label} is being trained by another process, and was left out"))
                return
            if self._was_finished(config, key, label):  # by another process, since it was looked for
                return
            splits = session.dataset.train, session.dataset.test
            predictions, progress, model = self._fit(config, lr, seed, key, label, splits, keep_weights=True)
            row = run_row(
                config,
                session.dataset,
                model,
                predictions,
                checkpoint=session.folder(config, key, seed) / LAST,
                flip=session.request.flip,
                trained=progress,
                lr=lr,
                seed=seed,
                begun_from=session.request.begun_from,
            )
            self._keep(config, key, row, predictions, label)
            self._forget(config, key, seed, weights=False)

    @contextmanager
    def _claimed(self, key: str) -> Iterator[bool]:
        """Whether a run is this launch's until its row is kept; False while another one is at it."""
        mine = self.session.shared_store.claim(key)
        try:
            yield mine
        finally:
            if mine:
                self.session.shared_store.release(key)

    def _forget(self, config: TrainingConfig, key: str, seed: int, *, weights: bool) -> None:
        if PartialState().is_main_process:
            with suppress(OSError):  # it only takes room
                forget(self.session.folder(config, key, seed), weights=weights)

    def _fit(
        self, config: TrainingConfig, lr: float, seed: int, key: str, label: str, splits: Splits, *, keep_weights: bool
    ) -> tuple[Predictions, Progress, Model]:
        def tell(what: Step | Epoch) -> None:
            self._say(label, **{"step" if isinstance(what, Step) else "epoch": what})

        return fit(self.session, config, lr, seed, key, label, splits, tell, keep_weights=keep_weights)

    def _test(self, config: TrainingConfig) -> None:
        """Test a checkpoint."""
        session, request = self.session, self.session.request
        assert request.checkpoint is not None
        # No training, no recipe; what earlier versions read of a file is not taken for what this one reads.
        key = session.key(replace(config, recipe=Recipe()), test_only=True, reading=READING)
        if self._was_finished(config, key, config.label):
            return
        model = config.build(session.dataset.num_classes)
        loaded = load_for_test(model, request.checkpoint, session.dataset, session.on_problem, **request.reading)
        accelerator = session.accelerator(config, model)
        images = Images(session.dataset.test, eval_transform(session.dataset, config.image_size))

        def tick(done: int) -> None:
            self._say(config.label, step=Step(epoch=1, epochs=1, phase="testing", done=done, total=len(images)))

        with blamed(config, self.session.request.dataset):
            predictions = evaluate(
                model.to(accelerator.device),
                images,
                accelerator,
                batch_size=request.test_batch_size,
                workers=session.workers,
                flip=request.flip,
                tick=tick,
            )
        row = run_row(
            config,
            session.dataset,
            model,
            predictions,
            checkpoint=request.checkpoint,
            weights=loaded.weights,
            flip=request.flip,
        )
        self._keep(config, key, row, predictions, config.label)

    def _was_finished(self, config: TrainingConfig, key: str, label: str) -> bool:
        shared_store = self.session.shared_store
        row = shared_store.get(RUNS, key)
        if row is None:
            return False
        self.stored += 1
        self._finish(config, key, row, shared_store.get(CLASSES, key) or {}, label)
        return True

    def _keep(self, config: TrainingConfig, key: str, row: Row, predictions: Predictions, label: str) -> None:
        names, shared_store = self.session.dataset.class_names, self.session.shared_store
        classes = {"classes": predictions.per_class(names), "confusions": predictions.confusions(names)[:CONFUSIONS]}
        shared_store.add(CLASSES, key, classes)
        del row["environment"]
        self._finish(config, key, shared_store.add(RUNS, key, row), classes, label)

    def _finish(self, config: TrainingConfig, key: str, row: Row, classes: Row, label: str) -> None:
        self.finished.append(Finished(config=config, key=key, row=row, classes=classes))
        self._say(label, row=row)

    def _say(self, label: str, **what: Any) -> None:
        self.tell(Event(label=label, run=max(self._number, 1), runs=self.total, **what))
