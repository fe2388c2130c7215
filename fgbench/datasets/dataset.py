"""The contract of every data set: what its splits hold, before a pixel is read."""

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
    """A data set that is missing, laid out in another way, empty, or not what was published."""


def decode(source: Path | IO[bytes]) -> Image.Image:
    """An encoded image in RGB, upright, as every command reads it: see :func:`fgbench.datasets.images.read_image`."""
    return read_image(source).image


def readable(name: str) -> str:
    r"""A file name as it can be printed and kept: bytes that are not UTF-8 stand as ``\xe9``."""
    try:
        return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    except UnicodeEncodeError:  # half a character, out of a JSON file
        return name.encode("utf-8", "backslashreplace").decode("utf-8")


class Split(ABC):
    """Images in a fixed order with their classes. Nothing is opened before it is asked for."""

    targets: Sequence[int]  # 0-based, contiguous class ids

    def __len__(self) -> int:
        return len(self.targets)

    @abstractmethod
    def name(self, index: int) -> str:
        """What a message calls the image: its path below the root, or its key."""

    @abstractmethod
    def open(self, index: int) -> Image.Image:
        """The image in RGB. Whatever is raised means that it cannot be read."""

    def parts(self, index: int) -> list[Box] | None:
        """Boxes of the discriminative parts, in pixels of the image that :meth:`open` returns; None where unknown."""
        return None

    def missing(self) -> list[str]:
        """Names of images that are not there, found without opening any."""
        return []

    def files(self) -> list[Hashable]:
        """What tells the images apart: two names of one file are one image. Their names by default."""
        return [self.name(index) for index in range(len(self))]


@dataclass(frozen=True, slots=True)
class FileSplit(Split):
    """Image files below a root, with part boxes where they are known."""

    root: Path
    paths: Sequence[str]  # relative to the root
    targets: Sequence[int]
    boxes: Mapping[str, list[Box]] | None = None  # in pixels of the file as stored, whatever its EXIF orientation

    def name(self, index: int) -> str:
        """The path below the root."""
        return readable(self.paths[index])

    def open(self, index: int) -> Image.Image:
        """Read and decode the file; see :func:`decode`."""
        return decode(self.root / self.paths[index])

    def parts(self, index: int) -> list[Box] | None:
        """The boxes of an image, none where parts are known and hidden, None where they are unknown.

        They were drawn on the pixels as stored, and are turned with the image.
        """
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
    """What the paper's Table 9 says of a data set, corrected where it is known to be misprinted."""

    classes: int
    train_images: int
    test_images: int
    misprints: tuple[str, ...] = ()  # what the table prints instead, in words


@dataclass(frozen=True, slots=True, kw_only=True)
class DataSet:
    """A data set as it lies on disk: ``train`` is all that training may see, the paper's train-val."""

    name: str
    class_names: Sequence[str]
    train: Split
    test: Split
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD
    published: Published | None = None
    notes: Sequence[str] = ()  # what a reader should know, such as class ids that were renumbered
    left_out: Sequence[str] = ()  # what lies there and is not part of it, counted and named
    # Of a run that was told nothing else: fields of the recipe, such as a small backbone for small images.
    recipe: Mapping[str, object] = field(default_factory=dict)

    @property
    def num_classes(self) -> int:
        """How many classes there are."""
        return len(self.class_names)
