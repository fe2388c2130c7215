"""Data sets and their splits: the contract that every reader fulfils, and the counts of the paper's Table 9."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from PIL import Image

from fgbench.datasets.images import Box as Box
from fgbench.datasets.images import as_upright, read_image, stored_as
from fgbench.errors import FgbenchError

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
HALF = (0.5, 0.5, 0.5)  # mean and standard deviation of DAFB and Moe in the paper's recipe


class DatasetError(FgbenchError):
    """A data set is missing, has another layout, is empty, or is not the published one."""


def decode(source: Path | IO[bytes]) -> Image.Image:
    """Decode an image to RGB, upright, as every command does; see :func:`fgbench.datasets.images.read_image`."""
    return read_image(source).image


def readable(name: str) -> str:
    r"""A file name that can be printed and stored: bytes that are not UTF-8 become ``\xe9``."""
    try:
        return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    except UnicodeEncodeError:  # a lone surrogate from a JSON file
        return name.encode("utf-8", "backslashreplace").decode("utf-8")


class Split(ABC):
    """Images in a fixed order with their classes. An image is opened when it is asked for."""

    targets: Sequence[int]  # 0-based, contiguous class ids

    def __len__(self) -> int:
        return len(self.targets)

    @abstractmethod
    def name(self, index: int) -> str:
        """Name of the image in messages: its path below the root, or its key."""

    @abstractmethod
    def open(self, index: int) -> Image.Image:
        """The image in RGB. Any exception means that it cannot be read."""

    def parts(self, index: int) -> list[Box] | None:
        """Boxes of the discriminative parts in pixels of the image that :meth:`open` returns; None where unknown."""
        return None

    def missing(self) -> list[str]:
        """Names of images that are not there; none is opened."""
        return []

    def files(self) -> list[Hashable]:
        """An identity per image, equal for two names of one file; by default the names."""
        return [self.name(index) for index in range(len(self))]


@dataclass(frozen=True, slots=True)
class FileSplit(Split):
    """Image files below a root, with boxes of their parts where they are known."""

    root: Path
    paths: Sequence[str]  # relative to the root
    targets: Sequence[int]
    boxes: Mapping[str, list[Box]] | None = None  # by path, in pixels of the stored image

    def name(self, index: int) -> str:
        """The path below the root."""
        return readable(self.paths[index])

    def open(self, index: int) -> Image.Image:
        """Read and decode the file; see :func:`decode`."""
        return decode(self.root / self.paths[index])

    def parts(self, index: int) -> list[Box] | None:
        """Boxes of an image, with its EXIF orientation applied; empty if all parts are hidden, None if unknown."""
        if self.boxes is None or not (boxes := self.boxes.get(self.paths[index], ())):
            return None if self.boxes is None else []
        stored, orientation = stored_as(self.root / self.paths[index])
        return [as_upright(box, stored, orientation) for box in boxes]

    def missing(self) -> list[str]:
        """Files that are not there."""
        # os.path.isfile is false for a name that is too long, where Path.is_file raises.
        return [readable(path) for path in self.paths if not os.path.isfile(self.root / path)]  # noqa: PTH113

    def files(self) -> list[Hashable]:
        """Device and inode, which all links to a file share; the path where there is no file."""
        return [_file_id(self.root / path) for path in self.paths]


def _file_id(path: Path) -> Hashable:
    try:
        status = path.stat()
    except OSError:
        return str(path)
    return (status.st_dev, status.st_ino) if status.st_ino else str(path)


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """Counts of a data set in the paper's Table 9, corrected where they are misprinted."""

    classes: int
    train_images: int
    test_images: int
    misprints: tuple[str, ...] = ()  # sentences on what the table prints instead


# Table 9 of the paper (GLSim): the ten data sets, with its two misprints corrected.
TABLE9 = {
    "cub": Published(classes=200, train_images=5994, test_images=5794),
    "dafb": Published(classes=3263, train_images=368_997, test_images=94_440),
    "dogs": Published(classes=120, train_images=12_000, test_images=8580),
    "flowers": Published(classes=102, train_images=2040, test_images=6149),
    "food": Published(classes=101, train_images=75_750, test_images=25_250),
    "inat17": Published(classes=5089, train_images=579_184, test_images=95_986),
    "moe": Published(classes=173, train_images=11_454, test_images=2943),
    "nabirds": Published(
        classes=555,
        train_images=23_929,
        test_images=24_633,
        misprints=("Table 9 prints 600 classes for nabirds; 555 have images",),
    ),
    "pets": Published(classes=37, train_images=3680, test_images=3669),
    "vegfru": Published(
        classes=292,
        train_images=43_800,
        test_images=116_931,
        misprints=("Table 9 prints 116,391 test images for vegfru; its list has 116,931",),
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class DataSet:
    """A data set: ``train`` is the paper's train-val, all images that training and search use."""

    name: str
    class_names: Sequence[str]
    train: Split
    test: Split
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD
    published: Published | None = None
    notes: Sequence[str] = ()  # sentences for the user, such as on renumbered class ids
    left_out: Sequence[str] = ()  # sentences on files in its folder that do not belong to it
    # Defaults of a run on this data set: fields of the recipe, such as a small backbone for small images. Those under
    # "from shipped" come before them where a run begins from the weights of the shipped backbone.
    recipe: Mapping[str, object] = field(default_factory=dict)

    @property
    def num_classes(self) -> int:
        """Number of classes."""
        return len(self.class_names)
