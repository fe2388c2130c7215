"""Check whether a data set is complete, and whether it equals the published one."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping
from dataclasses import dataclass

from fgbench.datasets.dataset import DataSet, DatasetError, Split
from fgbench.datasets.files import listed

Progress = Callable[[int, int], None]  # images opened, images in all


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckReport:
    """Findings about a data set that can be used."""

    warnings: tuple[str, ...] = ()  # differences from the published one; figures may not be comparable
    notes: tuple[str, ...] = ()
    unreadable: tuple[str, ...] = ()  # names of images that cannot be read; empty where no image was opened

    def unreadable_in_words(self) -> str | None:
        """``2 images cannot be read: a.jpg, b.jpg``, with the first eight names; None where there are none."""
        if not self.unreadable:
            return None
        return f"{_images(len(self.unreadable))} cannot be read: {listed(self.unreadable)}"


def check_dataset(dataset: DataSet, *, read: bool = False, progress: Progress | None = None) -> CheckReport:
    """Check a data set.

    Args:
        dataset: The data set.
        read: Whether every image is opened, which takes minutes for large data sets.
        progress: Receives the number of images opened and of all.

    Returns:
        The findings. Images that cannot be read are listed; the caller decides whether a run can do without them.

    Raises:
        DatasetError: A split is empty, images are missing, class ids are not 0…n−1, or a class has no training image.
    """
    for role, split in _splits(dataset):
        if not len(split):
            raise DatasetError(f"{dataset.name} has no {role} images", do="its list or folder is empty")
        if missing := split.missing():
            of = f"{len(missing):,} of {len(split):,} {role} images of {dataset.name} are missing:"
            raise DatasetError(of, listed(missing), "unpack the archive anew, or correct the list")
    ids = {role: split.files() for role, split in _splits(dataset)}
    repeats = (*_repeats(dataset, ids), *_two_classes(dataset, ids))
    notes = (*dataset.notes, *dataset.left_out, *_class_notes(dataset), *repeats)
    warnings, misprints = _compared(dataset)
    unreadable = tuple(_unreadable(dataset, progress)) if read else ()
    return CheckReport(warnings=warnings, notes=(*notes, *misprints), unreadable=unreadable)


def _splits(dataset: DataSet) -> tuple[tuple[str, Split], ...]:
    return ("training", dataset.train), ("test", dataset.test)


def _class_notes(dataset: DataSet) -> Iterator[str]:
    known = set(range(dataset.num_classes))
    for role, split in _splits(dataset):
        if beyond := sorted(set(split.targets) - known):
            do = f"{dataset.num_classes:,} classes have the ids 0…{dataset.num_classes - 1}"
            raise DatasetError(f"the {role} images of {dataset.name} have the class id", beyond[0], do)
    if untrained := [dataset.class_names[index] for index in sorted(known - set(dataset.train.targets))]:
        raise DatasetError(f"{_classes(len(untrained))} of {dataset.name} without a training image:", listed(untrained))
    if untested := [dataset.class_names[index] for index in sorted(known - set(dataset.test.targets))]:
        yield f"{_classes(len(untested))} without a test image: {listed(untested)}"


def _repeats(dataset: DataSet, ids: Mapping[str, list[Hashable]]) -> Iterator[str]:
    """Sentences on repeated names, and on several names of one file; copies of a file are not found."""
    names: dict[str, set[str]] = {}
    files: dict[str, dict[Hashable, str]] = {}
    for role, split in _splits(dataset):
        names[role], files[role] = set(), {}
        linked = []
        for index, file in enumerate(ids[role]):
            name = split.name(index)
            if files[role].setdefault(file, name) != name and name not in names[role]:
                linked.append(name)
            names[role].add(name)
        if repeats := len(split) - len(names[role]):
            yield f"{_images(repeats)} of {role} listed more than once"
        if linked:
            yield f"{_images(len(linked))} of {role} under a second name of the same file: {listed(linked)}"
    if common := sorted(names["training"] & names["test"]):
        yield f"{_images(len(common))} both in training and in test: {listed(common)}"
    shared = files["training"].keys() & files["test"].keys()
    if linked := sorted(name for file in shared if (name := files["test"][file]) not in names["training"]):
        yield f"{_images(len(linked))} of test in training, too, under another name: {listed(linked)}"


def _two_classes(dataset: DataSet, ids: Mapping[str, list[Hashable]]) -> Iterator[str]:
    """A sentence on files with two classes, under two names or in two splits."""
    first: dict[Hashable, tuple[str, int]] = {}
    pairs = []
    for role, split in _splits(dataset):
        for index, (file, target) in enumerate(zip(ids[role], split.targets, strict=True)):
            name, class_id = first.setdefault(file, (split.name(index), target))
            if class_id != target:
                classes = dataset.class_names[class_id], dataset.class_names[target]
                pairs.append(f"{name} is {classes[0]} and {split.name(index)} is {classes[1]}")
    if pairs:
        yield f"{_images(len(pairs))} with two classes: {listed(pairs, 3)}"


def _compared(dataset: DataSet) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Sentences on differences from Table 9, and on misprints of Table 9."""
    if (published := dataset.published) is None:
        return (), ()
    counts = (
        ("classes", dataset.num_classes, published.classes),
        ("training images", len(dataset.train), published.train_images),
        ("test images", len(dataset.test), published.test_images),
    )
    warnings = tuple(
        f"{dataset.name} has {here:,} {what} here and {in_paper:,} in the paper"
        for what, here, in_paper in counts
        if here != in_paper
    )
    return warnings, published.misprints


def _unreadable(dataset: DataSet, progress: Progress | None) -> Iterator[str]:
    total, opened = len(dataset.train) + len(dataset.test), 0
    for _, split in _splits(dataset):
        for index in range(len(split)):
            try:
                split.open(index)
            except Exception:  # decoders raise errors of any type
                yield split.name(index)
            opened += 1
            if progress is not None:
                progress(opened, total)


def _images(count: int) -> str:
    return "1 image" if count == 1 else f"{count:,} images"


def _classes(count: int) -> str:
    return "1 class" if count == 1 else f"{count:,} classes"
