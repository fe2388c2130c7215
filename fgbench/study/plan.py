"""The plan of a study: its conditions, the runs that are left of them, and how long those take. No torch."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from fgbench.results.recipe import search_share
from fgbench.results.records import StudyRow
from fgbench.study.request import StudyRequest
from fgbench.workers.messages import Message

# Fields of a request that change neither what is trained nor how it is tested.
ASIDE = (
    *("study", "seeds", "device", "threads", "workers", "jobs", "test_batch_size", "checkpoints", "again", "plugins"),
    *("dry_run", "hour_price", "datasets", "data_dir"),
)
BYTES = 4  # of a weight in a file


@dataclass(slots=True, kw_only=True)
class Planned:
    """A condition on a data set, and how far its runs are.

    Attributes:
        told: What the planning process told of it.
        lr: The learning rate; None while it is searched.
        tried: Learning rates that were searched.
        finished: Keys of finished runs by their seeds.
        timing: Seconds of two short epochs; None where they were not taken.
    """

    told: Mapping[str, Any]
    lr: float | None
    tried: list[Message]
    finished: dict[int, str]
    timing: Mapping[str, float] | None = None

    @classmethod
    def of(cls, told: Message) -> Planned:
        """What the planning process told."""
        finished = {int(seed): str(key) for seed, key in told["finished"]}
        return cls(told=told, lr=told["lr"], tried=list(told["tried"]), finished=finished)

    @property
    def name(self) -> str:
        """The condition, with its data set."""
        return f"{self.told['dataset']}: {self.told['condition']}"

    @property
    def seeds(self) -> Sequence[int]:
        """All seeds."""
        return list(self.told["seeds"])

    @property
    def left(self) -> list[int]:
        """Seeds whose runs are not finished."""
        return [seed for seed in self.seeds if seed not in self.finished]

    @property
    def rates_left(self) -> int:
        """Learning rates that are not yet tried."""
        return 0 if len(self.told["lrs"]) == 1 or self.lr is not None else len(self.told["lrs"]) - len(self.tried)

    @property
    def weights_bytes(self) -> int:
        """Of one set of weights in a file."""
        return int(self.told["params"]) * BYTES

    def unit(self, seed: int) -> Message:
        """What a process is told to train a run; all learning rates where they are still searched."""
        rates = self.told["lrs"] if self.lr is None else [self.lr]
        return {
            "fields": self.told["fields"],
            "name_of_dataset": self.told["name_of_dataset"],
            "seeds": [seed],
            "lrs": list(rates),
        }

    def run_s(self, test_every: int) -> float | None:
        """Estimated seconds of one run; None without :attr:`timing`."""
        told = self.told
        return self._train_s(told["epochs"], told["train_images"], told["test_images"], test_every)

    def search_s(self) -> float | None:
        """Estimated seconds of the search of one learning rate."""
        told = self.told
        images, epochs = told["train_images"], told["search_epochs"]
        first = search_share(images) * images
        return self._train_s(epochs, first, images - first, epochs)

    def left_s(self, test_every: int) -> float | None:
        """Estimated seconds of all runs that are left."""
        run, search = self.run_s(test_every), self.search_s()
        if run is None or search is None:
            return None
        return len(self.left) * run + self.rates_left * search

    def _train_s(self, epochs: int, train_images: float, test_images: float, test_every: int) -> float | None:
        timing = self.timing
        if timing is None:
            return None
        tests = epochs // test_every + (epochs % test_every > 0)
        training = timing["first_s_per_train_image"] + (epochs - 1) * timing["s_per_train_image"]
        testing = timing["first_s_per_test_image"] + (tests - 1) * timing["s_per_test_image"]
        return timing["beside_s"] + epochs * timing["s_per_epoch"] + training * train_images + testing * test_images


@dataclass(slots=True, kw_only=True)
class Plan:
    """All conditions of a study on all its data sets."""

    study: str
    title: str
    request: StudyRequest
    conditions: list[Planned]
    problems: Sequence[str] = ()
    planning_s: float = 0.0
    left_out: set[tuple[int, int]] = field(default_factory=set)  # runs that failed: place of the condition, seed

    @property
    def total(self) -> int:
        """Number of runs."""
        return sum(len(condition.seeds) for condition in self.conditions)

    @property
    def finished(self) -> int:
        """Number of finished runs."""
        return sum(len(condition.finished) for condition in self.conditions)

    @property
    def seconds(self) -> float | None:
        """Estimated seconds of what is left, with as many runs at once as were timed at once."""
        each = [one.left_s(self.request.test_every) for one in self.conditions if one.left]
        known = [seconds for seconds in each if seconds is not None]
        if len(known) < len(each):
            return None
        longest = max((one.run_s(self.request.test_every) or 0.0 for one in self.conditions if one.left), default=0.0)
        return self.planning_s + max(sum(known) / self.request.jobs, longest)

    @property
    def disk_bytes(self) -> int:
        """Bytes of the runs that are left: the best and the last weights of each, and the states of those under way."""
        kept = sum(2 * len(one.left) * one.weights_bytes for one in self.conditions)
        largest = max((one.weights_bytes for one in self.conditions if one.left), default=0)
        return kept + self.request.jobs * 3 * largest

    def rows(self) -> list[dict[str, Any]]:
        """A row per condition: how many runs, and how long they take."""
        every = self.request.test_every
        return [
            {
                "study": self.study,
                "dataset": one.told["dataset"],
                "condition": one.told["condition"],
                "against": one.told["against"],
                "runs": len(one.seeds),
                "finished": len(one.finished),
                "rates_to_search": one.rates_left,
                "epochs": one.told["epochs"],
                "train_images": one.told["train_images"],
                "test_images": one.told["test_images"],
                "flops": one.told["flops"],
                "params": one.told["params"],
                "seconds_per_run": one.run_s(every),
                "seconds": one.left_s(every) if one.left else 0.0,
            }
            for one in self.conditions
        ]

    def totals(self) -> dict[str, Any]:
        """The study as a whole: runs, time, disk, money."""
        price, seconds = self.request.hour_price, self.seconds
        return {
            "study": self.study,
            "runs": self.total,
            "finished": self.finished,
            "jobs": self.request.jobs,
            "seconds": seconds,
            "disk_bytes": self.disk_bytes,
            "price": None if price is None or seconds is None else price * seconds / 3600,
        }

    def row(self, planned: Planned, seed: int, run: str) -> tuple[str, StudyRow]:
        """The row of a finished run in this study, and its key."""
        told = planned.told
        row = StudyRow(
            study=self.study,
            title=self.title,
            series=self._series(told),
            dataset=told["dataset"],
            condition=told["condition"],
            position=told["position"],
            against=told["against"],
            model=told["model"],
            image_size=told["image_size"],
            seed=seed,
            run=run,
            macs=told["macs"],
            flops=told["flops"],
            params=told["params"],
            tried=planned.tried or None,
        )
        return f"{self.study}:{row.series}:{row.dataset}:{row.condition}:{run}", row

    def _series(self, told: Mapping[str, Any]) -> str:
        """A digest of what all runs of the study share on a data set: recipe, sizes, backbones, start, images."""
        asked = {name: value for name, value in self.request.message().items() if name not in ASIDE}
        text = json.dumps([self.study, asked, told["identity"]], sort_keys=True, default=str)
        return hashlib.sha256(text.encode()).hexdigest()[:8]
