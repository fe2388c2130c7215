"""``wds/…``: WebDataset shards on a disk, indexed so that they can be read in any order."""

from __future__ import annotations

import re
from pathlib import Path

from fgbench.datasets.dataset import DataSet, DatasetError
from fgbench.datasets.files import found, listed
from fgbench.datasets.shards import INFO_FILES, Index, ShardSplit, index_shards, shards_of
from fgbench.datasets.timm_readers import TEST_SPLITS, number_labels

SHARD = re.compile(r"\.(tar|tar\.\w+|tgz)$")


def wds(
    name: str,
    data_dir: Path | None,
    *,
    train_split: str = "train",
    test_split: str | None = None,
    target_key: str = "",
) -> DataSet:
    """WebDataset shards in --data-dir, or in the folder of this name in it.

    timm's and webdataset's own readers are streams, and training wants any order; the same shards are indexed here by
    their headers, without the package webdataset. Uncompressed tar files only, found by timm's ``_info.json`` or as
    ``train*.tar`` and ``test*.tar`` (or ``validation``, ``val``); ``train_split=part-0*.tar`` names others. Addresses
    and pipes are not read: copy such shards to a disk. The class id is in ``.cls``, or in ``.json`` under
    ``target_key``; names of classes are not known.
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
