"""``tfds/…``: data sets of TensorFlow Datasets, through timm's reader, held in memory as they are encoded."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from fgbench.datasets.dataset import DataSet, DatasetError, Split, decode
from fgbench.datasets.timm_readers import need, number_labels, one_line, timm_readers

GB = 10**9  # bytes
MOST_GB = 100_000


@dataclass(frozen=True, slots=True)
class MemorySplit(Split):
    """Encoded images in memory. Forked worker processes share the memory; others copy it."""

    split: str
    encoded: Sequence[bytes]
    targets: Sequence[int]

    def name(self, index: int) -> str:
        """``train[3]``."""
        return f"{self.split}[{index}]"

    def open(self, index: int) -> Image.Image:
        """Decode the image."""
        return decode(io.BytesIO(self.encoded[index]))


def tfds(
    name: str,
    data_dir: Path | None,
    *,
    train_split: str = "train",
    test_split: str | None = None,
    input_key: str = "image",
    target_key: str = "label",
    memory_gb: float = 8.0,
) -> DataSet:
    """A data set that TensorFlow Datasets has prepared below --data-dir. Nothing is downloaded.

    Such a data set can only be read from beginning to end, but training reads images in any order. So it is read once,
    and its images are kept in memory, encoded as on disk.

    Args:
        name: The name after ``tfds/``.
        data_dir: Folder in which the data set was prepared.
        train_split: Name of the split to train on.
        test_split: Name of the split to test on; None for ``test``, or else ``validation`` or ``val``.
        input_key: Key of images.
        target_key: Key of class ids.
        memory_gb: Most memory for both splits together, in 10⁹ bytes.

    Raises:
        DatasetError: A package is not installed, the data set cannot be read, or it does not fit into the memory.
    """
    need("tfds", "tensorflow_datasets", "tensorflow tensorflow-datasets")
    import tensorflow_datasets

    if not 0 < memory_gb <= MOST_GB:
        raise DatasetError(f"memory_gb must lie between 0 and {MOST_GB:,}, got", memory_gb, "for example 8")
    full, room = f"tfds/{name}", int(memory_gb * GB)
    readers = timm_readers(full, data_dir, train_split, test_split, input_key=input_key, target_key=target_key)
    held = []
    for split, reader in readers:
        with one_line(f"cannot read {full}:"):
            skip = {input_key: tensorflow_datasets.decode.SkipDecoding()}
            stream = reader.builder.as_dataset(split=split, shuffle_files=False, decoders=skip)
            samples = ((s[input_key], s[target_key]) for s in tensorflow_datasets.as_numpy(stream))
            encoded, labels = hold(samples, room, f"{split} of {full}")
        room -= sum(map(len, encoded))
        held.append((encoded, labels))
    (train_split, train), (tested, _) = readers
    names = {index: str(word) for word, index in train.class_to_idx.items()}
    classes = number_labels(full, held[0][1], held[1][1], names)
    return DataSet(
        name=full,
        class_names=classes.class_names,
        train=MemorySplit(train_split, held[0][0], classes.train),
        test=MemorySplit(tested, held[1][0], classes.test),
        notes=classes.notes,
    )


def hold(samples: Iterable[tuple[Any, Any]], room: int, what: str) -> tuple[list[bytes], list[int]]:
    """Read encoded images and class ids from a stream into memory.

    Raises:
        DatasetError: The images have more than ``room`` bytes.
    """
    encoded, labels = list[bytes](), list[int]()
    for image, label in samples:
        encoded.append(bytes(image))
        labels.append(int(label))
        room -= len(encoded[-1])
        if room < 0:
            do = "raise memory_gb=, or write the images to a folder per class"
            raise DatasetError(f"after {len(encoded):,} images the memory is full of", what, do)
    return encoded, labels
