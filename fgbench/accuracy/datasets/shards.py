"""WebDataset shards: tar files in which a sample is a run of neighbours that differ in their suffix."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from fgbench.accuracy.datasets.dataset import DatasetError, Split, decode
from fgbench.accuracy.datasets.files import below_root, in_one_line, read_text

INFO_FILES = ("_info.json", "info.json")
IMAGE_SUFFIXES = ("jpg", "jpeg", "png", "webp")


@dataclass(frozen=True, slots=True)
class Entry:
    """Where an encoded image lies in an uncompressed tar file."""

    shard: str
    key: str
    offset: int  # bytes
    size: int  # bytes


@dataclass(frozen=True, slots=True)
class ShardSplit(Split):
    """Images in tar files, read where they lie: any order, any process, nothing held in memory but an index."""

    root: Path
    entries: Sequence[Entry]
    targets: Sequence[int]

    def name(self, index: int) -> str:
        """The shard and the key in it."""
        return f"{self.entries[index].shard}/{self.entries[index].key}"

    def open(self, index: int) -> Image.Image:
        """Read and decode the image."""
        entry = self.entries[index]
        with (self.root / entry.shard).open("rb") as file:
            file.seek(entry.offset)
            return decode(io.BytesIO(file.read(entry.size)))


def shards_of(root: Path, split: str) -> list[str]:
    """The tar files of a split, by ``_info.json`` as timm writes it, or else by their names.

    ``split`` is a name (``train``: what the info file says, or ``train*.tar``) or a pattern (``train-*.tar``).
    """
    info = next((root / file for file in INFO_FILES if (root / file).is_file()), None)
    if info is not None:
        try:
            splits = json.loads(read_text(info))["splits"]
            if split in splits:
                return [below_root(file) for file in splits[split]["filenames"]]
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise DatasetError("not an info file of shards:", str(info), in_one_line(error)) from error
    pattern = split if split.endswith(".tar") else f"{split}*.tar"
    try:
        return sorted(below_root(str(path.relative_to(root))) for path in root.glob(pattern))
    except (ValueError, NotImplementedError):  # a pattern that leads out of the folder, or is none
        return []


def index_shards(root: Path, shards: Sequence[str], target_key: str) -> tuple[list[Entry], list[int]]:
    """Images and class ids of shards, from their headers alone; pixels are skipped.

    A sample is what has the same name up to its first dot: an image, and ``cls`` with the class id, or ``json`` with
    the class id under ``target_key`` where one is given.
    """
    entries, targets = [], []
    for shard in shards:
        try:
            with tarfile.open(root / shard, "r:") as tar:
                for key, sample in _samples(tar):
                    image = next((sample[suffix] for suffix in IMAGE_SUFFIXES if suffix in sample), None)
                    if image is None:
                        continue
                    entries.append(Entry(shard, key, image.offset_data, image.size))
                    targets.append(_class_id(tar, sample, target_key))
        except (tarfile.TarError, OSError, ValueError, KeyError, TypeError) as error:
            do = "expected an uncompressed tar file of samples: an image, and .cls or .json with its class id"
            raise DatasetError(f"cannot read shard {str(root / shard)!r}:", in_one_line(error), do) from error
    return entries, targets


def _samples(tar: tarfile.TarFile) -> Iterator[tuple[str, Mapping[str, tarfile.TarInfo]]]:
    """(key, suffix → member) of neighbours with one key."""
    current, sample = "", dict[str, tarfile.TarInfo]()
    for member in tar:
        if not member.isfile():
            continue
        folder, slash, file = member.name.rpartition("/")
        stem, dot, suffix = file.partition(".")
        if not dot or not stem:
            continue
        key = folder + slash + stem
        if key != current and sample:
            yield current, sample
            sample = {}
        current = key
        sample[suffix.lower()] = member
    if sample:
        yield current, sample


def _class_id(tar: tarfile.TarFile, sample: Mapping[str, tarfile.TarInfo], target_key: str) -> int:
    member = sample.get("json" if target_key else "cls")
    content = None if member is None else tar.extractfile(member)
    if content is None:
        raise ValueError(f"a sample of {', '.join(sample)} has no {'json' if target_key else 'cls'}")
    said: Any = json.loads(content.read())[target_key] if target_key else content.read()
    return int(said)
