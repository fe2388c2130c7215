"""WebDataset shards: tar files in which a sample is a run of neighbours that differ in their suffix."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from fgbench.datasets.dataset import DatasetError, Split, decode, readable
from fgbench.datasets.files import below_root, in_one_line, listed, read_text
from fgbench.datasets.walk import SYSTEM_FOLDERS, image_suffixes
from fgbench.results.reading import parse_json

INFO_FILES = ("_info.json", "info.json")
FIRST_SUFFIXES = ("jpg", "jpeg", "png", "webp")  # of a sample with several images, the one that is read


@dataclass(frozen=True, slots=True)
class Entry:
    """Where an encoded image lies in an uncompressed tar file."""

    shard: str
    key: str
    offset: int  # bytes
    size: int  # bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Index:
    """What shards hold."""

    entries: list[Entry]
    targets: list[Any]  # of each entry
    left_out: list[str]  # members and samples that are no image, counted and named


@dataclass(frozen=True, slots=True)
class ShardSplit(Split):
    """Images in tar files, read where they lie: any order, any process, nothing held in memory but an index."""

    root: Path
    entries: Sequence[Entry]
    targets: Sequence[int]

    def name(self, index: int) -> str:
        """The shard and the key in it."""
        return readable(f"{self.entries[index].shard}/{self.entries[index].key}")

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
            splits = parse_json(read_text(info))["splits"]
            if split in splits:
                return [below_root(file) for file in splits[split]["filenames"]]
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise DatasetError("not an info file of shards:", str(info), in_one_line(error)) from error
    pattern = split if split.endswith(".tar") else f"{split}*.tar"
    try:
        return sorted(below_root(str(path.relative_to(root))) for path in root.glob(pattern))
    except (ValueError, NotImplementedError):  # a pattern that leads out of the folder, or is none
        return []


def index_shards(root: Path, shards: Sequence[str], target_key: str) -> Index:
    """Images and class ids of shards, from their headers alone; pixels are skipped.

    A sample is what has the same name up to its first dot: an image of any format that Pillow decodes, and ``cls``
    with the class id, or ``json`` with the class id under ``target_key`` where one is given. Samples without an image
    and members that belong to no sample are counted.
    """
    index = Index(entries=[], targets=[], left_out=[])
    without_image: list[str] = []
    strays: list[str] = []
    for shard in shards:
        try:
            with tarfile.open(root / shard, "r:") as tar:
                for key, sample in _samples(tar, strays):
                    image = _image(sample)
                    if image is None:
                        without_image.append(f"{shard}/{key}")
                        continue
                    index.entries.append(Entry(shard, key, image.offset_data, image.size))
                    index.targets.append(_class_id(tar, sample, target_key))
        except (tarfile.TarError, OSError, ValueError, KeyError, TypeError) as error:
            do = "expected an uncompressed tar file of samples: an image, and .cls or .json with its class id"
            raise DatasetError(f"cannot read shard {str(root / shard)!r}:", in_one_line(error), do) from error
    for names, one, several in (
        (without_image, "sample without an image", "samples without an image"),
        (strays, "member that belongs to no sample", "members that belong to no sample"),
    ):
        if names:
            index.left_out.append(f"left out: {len(names):,} {several if names[1:] else one}: {listed(names, 3)}")
    return index


def _image(sample: Mapping[str, tarfile.TarInfo]) -> tarfile.TarInfo | None:
    """The image of a sample."""
    others = sorted(suffix for suffix in sample if f".{suffix}" in image_suffixes())
    return next((sample[suffix] for suffix in (*FIRST_SUFFIXES, *others) if suffix in sample), None)


def _samples(tar: tarfile.TarFile, strays: list[str]) -> Iterator[tuple[str, Mapping[str, tarfile.TarInfo]]]:
    """(key, suffix → member) of neighbours with one key; names of members that have no key go to ``strays``."""
    current, sample = "", dict[str, tarfile.TarInfo]()
    for member in tar:
        if member.isdir():
            continue
        folder, slash, file = member.name.rpartition("/")
        stem, dot, suffix = file.partition(".")
        if not member.isfile() or not dot or not stem or not SYSTEM_FOLDERS.isdisjoint(folder.split("/")):
            strays.append(member.name)
            continue
        key = folder + slash + stem
        if key != current and sample:
            yield current, sample
            sample = {}
        current = key
        if suffix.lower() in sample:
            raise ValueError(f"sample {key} has two members .{suffix.lower()}")
        sample[suffix.lower()] = member
    if sample:
        yield current, sample


def _class_id(tar: tarfile.TarFile, sample: Mapping[str, tarfile.TarInfo], target_key: str) -> int:
    member = sample.get("json" if target_key else "cls")
    content = None if member is None else tar.extractfile(member)
    if content is None:
        raise ValueError(f"a sample of {', '.join(sample)} has no {'json' if target_key else 'cls'}")
    said: Any = parse_json(content.read())[target_key] if target_key else content.read()
    return int(said)
