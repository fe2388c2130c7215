"""Batches of images. They depend on seed, epoch and index alone, not on the number of processes or workers."""

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

UNREADABLE_SHARE = 0.01  # largest share of a split that may be unreadable
TRIES = 100  # images that are tried in place of one that cannot be read

Item = tuple[int, Tensor | None, int, list[int]]  # index, image, target, indices that could not be read


@dataclass(frozen=True, slots=True)
class Batch:
    """Images (B, 3, S, S), their targets (B,) and indices in the split, and indices of unreadable images."""

    images: Tensor
    targets: Tensor
    indices: list[int]
    unreadable: list[int]

    def pin_memory(self) -> Batch:
        """The batch in memory that a GPU can fetch from."""
        return Batch(self.images.pin_memory(), self.targets.pin_memory(), self.indices, self.unreadable)


class Images(Dataset[Item]):
    """A split as a network reads it; an item has the key (epoch, index).

    In training an image that cannot be read is replaced by the next one that can, so that steps keep their size; in
    evaluation it is left out. Items list the indices of unreadable images.

    Args:
        split: The split.
        transform: Function from an image to a tensor.
        seed: Seed of the run, for training; None for evaluation.
    """

    def __init__(self, split: Split, transform: Transform, seed: int | None = None) -> None:
        self.split, self.transform, self.seed = split, transform, seed

    def __len__(self) -> int:
        return len(self.split)

    def __getitem__(self, place: tuple[int, int]) -> Item:
        epoch, index = place
        if self.seed is None:
            return self._read(index)
        state = torch.random.get_rng_state()  # without worker processes the model uses the same generator
        torch.default_generator.manual_seed(draw_seed(self.seed, epoch, index))
        try:
            unreadable: list[int] = []
            for ahead in range(min(TRIES, len(self))):
                found, image, target, failed = self._read((index + ahead) % len(self))
                unreadable += failed
                if image is not None:
                    return found, image, target, unreadable
        finally:
            torch.random.set_rng_state(state)
        name, why = self.split.name(index), why_unreadable(self.split, index)
        raise DatasetError(
            f"{len(unreadable)} images in a row cannot be read, from", name, f"are they images? of the first: {why}"
        )

    def _read(self, index: int) -> Item:
        try:
            picture = self.split.open(index)
        except Exception:  # decoders raise errors of any type
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
    """A seed from several numbers, such as seed, epoch and index."""
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> np.uint64(1))


def training_batches(
    images: int, batch_size: int, seed: int, epoch: int, *, parts: int = 1, process: int = 0, processes: int = 1
) -> list[list[int]]:
    """Micro-batches of one process in one epoch, from a new order of all images.

    Images that do not fill the last step are left out of this epoch. A split smaller than a step is one step.

    Args:
        images: Number of images.
        batch_size: Number of images in a step, over all processes.
        seed: Seed of the run.
        epoch: Number of the epoch.
        parts: Number of micro-batches in a step.
        process: Number of the process, from 0.
        processes: Number of processes.

    Returns:
        Indices of the images of every micro-batch.

    Raises:
        FgbenchError: There are fewer images than micro-batches in a step.
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
    """Batches of one process: whole ones, so that every batch is the same for any number of processes."""
    batches = [list(range(start, min(start + batch_size, images))) for start in range(0, images, batch_size)]
    return batches[process::processes]


def load(images: Images, order: Order, workers: int, *, pin: bool) -> DataLoader[Item]:
    """A loader of batches in an order; its worker processes are kept from epoch to epoch."""
    return DataLoader(
        images,
        batch_sampler=order,
        num_workers=workers,
        collate_fn=collate,
        persistent_workers=workers > 0,
        pin_memory=pin,
        generator=torch.Generator(),  # so that the loader does not draw from the model's generator
    )


def collate(items: Sequence[Item]) -> Batch:
    """A batch of the items that could be read."""
    read = [(index, image, target) for index, image, target, _ in items if image is not None]
    unreadable = [index for *_, failed in items for index in failed]
    if not read:
        return Batch(torch.empty(0), torch.empty(0, dtype=torch.long), [], unreadable)
    indices, images, targets = zip(*read, strict=True)
    return Batch(torch.stack(images), torch.tensor(targets), list(indices), unreadable)


def check_unreadable(split: Split, unreadable: set[int]) -> None:
    """Refuse a split of which too many images cannot be read.

    Args:
        split: The split.
        unreadable: Indices of images that could not be read.

    Raises:
        DatasetError: They are more than 1 % of the split.
    """
    if len(unreadable) > UNREADABLE_SHARE * len(split):
        first, *others = sorted(unreadable)[:3]
        raise DatasetError(
            f"{len(unreadable)} of {len(split)} images cannot be read (more than {UNREADABLE_SHARE:.0%}):",
            ", ".join(split.name(index) for index in (first, *others)),
            f"mend or remove them; of the first: {why_unreadable(split, first)}",
        )


def why_unreadable(split: Split, index: int) -> str:
    """The error of reading an image, in one line."""
    try:
        split.open(index)
    except FgbenchError as error:
        return error.what.rstrip(":")
    except Exception as error:  # decoders of others raise whatever they trip over
        return in_one_line(error)
    return "it could be read a moment later"
