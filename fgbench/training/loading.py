"""Batches whose content depends on seed, epoch and index alone: not on processes, workers, or what ran before."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from fgbench.datasets.dataset import DatasetError, Split
from fgbench.datasets.files import in_one_line
from fgbench.datasets.transforms import Transform
from fgbench.errors import FgbenchError

UNREADABLE_SHARE = 0.01  # of a split: more is no accident any more
TRIES = 100  # images looked at in place of one that cannot be read

Item = tuple[int, Tensor | None, int, list[int]]  # index, image, target, indices that could not be read


@dataclass(frozen=True, slots=True)
class Batch:
    """Images (B, 3, S, S), their targets (B,) and places in the split; places of those that could not be read."""

    images: Tensor
    targets: Tensor
    indices: list[int]
    unreadable: list[int]

    def pin_memory(self) -> Batch:
        """The same in memory that a GPU can fetch from."""
        return Batch(self.images.pin_memory(), self.targets.pin_memory(), self.indices, self.unreadable)


class Images(Dataset[Item]):
    """A split as a network reads it. An item is asked for by (epoch, index).

    In training (``seed`` given) an image that cannot be read is replaced by the next one that can, so that steps keep
    their size; in evaluation it is left out. Both say so.
    """

    def __init__(self, split: Split, transform: Transform, seed: int | None = None) -> None:
        self.split, self.transform, self.seed = split, transform, seed

    def __len__(self) -> int:
        return len(self.split)

    def __getitem__(self, place: tuple[int, int]) -> Item:
        epoch, index = place
        if self.seed is None:
            return self._read(index)
        kept = torch.random.get_rng_state()  # with no worker processes this generator is the model's as well
        torch.default_generator.manual_seed(draw_seed(self.seed, epoch, index))
        try:
            unreadable: list[int] = []
            for ahead in range(min(TRIES, len(self))):
                found, image, target, failed = self._read((index + ahead) % len(self))
                unreadable += failed
                if image is not None:
                    return found, image, target, unreadable
        finally:
            torch.random.set_rng_state(kept)
        name, why = self.split.name(index), why_unreadable(self.split, index)
        raise DatasetError(
            f"{len(unreadable)} images in a row cannot be read, from", name, f"are they images? of the first: {why}"
        )

    def _read(self, index: int) -> Item:
        try:
            picture = self.split.open(index)
        except Exception:  # decoders raise whatever they trip over
            return index, None, 0, [index]
        return index, self.transform(picture), int(self.split.targets[index]), []


class Order:
    """Batches of (epoch, index) of one process; all processes together have each step's images exactly once."""

    def __init__(self, batches: Sequence[Sequence[int]]) -> None:
        self.batches, self.epoch = batches, 0

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        return iter([[(self.epoch, index) for index in batch] for batch in self.batches])


def draw_seed(*numbers: int) -> int:
    """One seed out of several numbers, such as seed, epoch and index."""
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> np.uint64(1))


def training_batches(
    images: int, batch_size: int, seed: int, epoch: int, *, parts: int = 1, process: int = 0, processes: int = 1
) -> list[list[int]]:
    """An epoch's micro-batches of one process: ``parts`` per step, out of a fresh order of all images.

    A step has ``batch_size`` images whatever the number of processes; what does not fill the last step is left for
    other epochs. A set smaller than a step is one step.
    """
    order = np.random.default_rng(np.random.SeedSequence([seed, epoch])).permutation(images).tolist()
    size = min(batch_size, images) // (parts * processes) * parts * processes
    if not size:
        raise FgbenchError(
            f"{images} training images cannot be shared by {processes} processes in steps of", batch_size
        )
    share = size // (parts * processes)
    batches = []
    for start in range(0, images - size + 1, size):
        step = order[start : start + size]
        own = step[process * share * parts : (process + 1) * share * parts]
        batches += [own[place : place + share] for place in range(0, len(own), share)]
    return batches


def eval_batches(images: int, batch_size: int, *, process: int = 0, processes: int = 1) -> list[list[int]]:
    """One process's share of whole batches, so that every batch is the same for any number of processes."""
    batches = [list(range(start, min(start + batch_size, images))) for start in range(0, images, batch_size)]
    return batches[process::processes]


def load(images: Images, order: Order, workers: int, *, pin: bool) -> DataLoader[Item]:
    """A loader that follows an order; its worker processes stay from epoch to epoch."""
    return DataLoader(
        images,
        batch_sampler=order,
        num_workers=workers,
        collate_fn=collate,
        persistent_workers=workers > 0,
        pin_memory=pin,
        generator=torch.Generator(),  # of what it draws for its workers, which nothing here reads
    )


def collate(items: Sequence[Item]) -> Batch:
    """Items → a batch of those that could be read."""
    read = [(index, image, target) for index, image, target, _ in items if image is not None]
    unreadable = [index for *_, failed in items for index in failed]
    if not read:
        return Batch(torch.empty(0), torch.empty(0, dtype=torch.long), [], unreadable)
    indices, images, targets = zip(*read, strict=True)
    return Batch(torch.stack(images), torch.tensor(targets), list(indices), unreadable)


def check_unreadable(split: Split, unreadable: set[int]) -> None:
    """Refuse to go on where more than 1 % of a split could not be read."""
    if len(unreadable) > UNREADABLE_SHARE * len(split):
        first, *others = sorted(unreadable)[:3]
        raise DatasetError(
            f"{len(unreadable)} of {len(split)} images cannot be read (more than {UNREADABLE_SHARE:.0%}):",
            ", ".join(split.name(index) for index in (first, *others)),
            f"mend or remove them; of the first: {why_unreadable(split, first)}",
        )


def why_unreadable(split: Split, index: int) -> str:
    """What is said while an image is read that cannot be, in one line."""
    try:
        split.open(index)
    except FgbenchError as error:
        return error.what.rstrip(":")
    except Exception as error:  # decoders of others raise whatever they trip over
        return in_one_line(error)
    return "it could be read a moment later"
