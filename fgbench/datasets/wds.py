"""``wds/…``: WebDataset shards on a disk, indexed so that their images can be read in any order.

A shard is a tar file in which a sample is a run of neighbours that differ in their suffix.
"""

from __future__ import annotations

import io
import re
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from fgbench.datasets.dataset import DataSet, DatasetError, Split, decode, readable
from fgbench.datasets.files import below_root, found, in_one_line, listed, read_text
from fgbench.datasets.timm_readers import TEST_SPLITS, number_labels
from fgbench.datasets.walk import SYSTEM_FOLDERS, image_suffixes
from fgbench.results.reading import parse_json

SHARD = re.compile(r"\.(tar|tar\.\w+|tgz)$")
INFO_FILES = ("_info.json", "info.json")
FIRST_SUFFIXES = ("jpg", "jpeg", "png", "webp")  # the image that is read of a sample with several


@dataclass(frozen=True, slots=True)
class Entry:
    """Place of an encoded image in an uncompressed tar file."""

    shard: str
    key: str
    offset: int  # bytes
    size: int  # bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Index:
    """Images and class ids in shards."""

    entries: list[Entry]
    targets: list[Any]  # label of each entry
    left_out: list[str]  # sentences on members and samples without an image


@dataclass(frozen=True, slots=True)
class ShardSplit(Split):
    """Images in tar files, read in any order by any process; only the index is in memory."""

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


def wds(
    name: str,
    data_dir: Path | None,
    *,
    train_split: str = "train",
    test_split: str | None = None,
    target_key: str = "",
) -> DataSet:
    """WebDataset shards in --data-dir, or in the folder of this name in it.

    timm's and webdataset's own readers are streams, and training needs any order; the same shards are indexed here by
    their headers, without the package webdataset. They are uncompressed tar files, found by timm's ``_info.json`` or
    as ``train*.tar`` and ``test*.tar`` (or ``validation``, ``val``). Addresses and pipes are not read: copy such shards
    to a disk. Names of classes are not known.

    Args:
        name: The name after ``wds/``.
        data_dir: Folder of the shards, or its parent.
        train_split: Name of the split to train on, or a pattern of file names such as ``part-0*.tar``.
        test_split: The same for the split to test on; None for ``test``, or else ``validation`` or ``val``.
        target_key: Key of the class id in ``.json``; empty where it is in ``.cls``.

    Raises:
        DatasetError: There are no shards, or one cannot be read.
    """
    root = data_dir / name if data_dir is not None and name and (data_dir / name).is_dir() else data_dir
    if root is None or not root.is_dir():
        raise DatasetError(
            "no folder of shards:", None if root is None else str(root), "give --data-dir with tar files"
        )
    candidates = TEST_SPLITS if test_split is None else (test_split,)
    tested = next((split for split in candidates if shards_of(root, split)), candidates[0])
    indexed: list[Index] = []
    used: set[str] = set()
    for split in (train_split, tested):
        if not (shards := shards_of(root, split)):
            do = f"expected {INFO_FILES[0]} or {split}*.tar; train_split= and test_split= name others; {found(root)}"
            raise DatasetError(f"no shards of {split!r} in", str(root), do)
        indexed.append(index_shards(root, shards, target_key))
        used.update(shards)
    train, test = indexed
    classes = number_labels(f"wds/{name}", train.targets, test.targets, {})
    others = sorted(path.name for path in root.iterdir() if path.name not in used and SHARD.search(path.name.lower()))
    unused = [f"left out: {len(others):,} other or compressed shards: {listed(others, 3)}"] if others else []
    return DataSet(
        name=f"wds/{name}",
        class_names=classes.class_names,
        train=ShardSplit(root, train.entries, classes.train),
        test=ShardSplit(root, test.entries, classes.test),
        notes=classes.notes,
        left_out=(*train.left_out, *test.left_out, *unused),
    )


def shards_of(root: Path, split: str) -> list[str]:
    """The tar files of a split, by ``_info.json`` as timm writes it, or else by their names.

    Args:
        root: The folder.
        split: A name (``train``: the files of the info file, or ``train*.tar``) or a pattern (``train-*.tar``).
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
    except (ValueError, NotImplementedError):  # the pattern leads out of the folder, or is no pattern
        return []


def index_shards(root: Path, shards: Sequence[str], target_key: str) -> Index:
    """Images and class ids of shards, from their headers alone; pixels are skipped.

    The members of a sample have the same name up to its first dot: an image of any format that Pillow decodes, and
    ``cls`` with the class id, or ``json`` with the class id under ``target_key`` where one is given. Samples without an
    image and members that belong to no sample are counted.

    Raises:
        DatasetError: A shard is no uncompressed tar file of samples.
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
    """Key and members by suffix of each sample; names of members without a key are added to ``strays``."""
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
