"""Flowers, Food and Pets, in the folders that torchvision unpacks them to.

Their lists are read here, because torchvision compares checksums and reports every difference as "not found or
corrupted". Paths and class ids are the same as torchvision's.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fgbench.datasets.dataset import TABLE9, DataSet, DatasetError, FileSplit
from fgbench.datasets.files import below_root, in_one_line, one_class_each, read_text, renumber, rows
from fgbench.datasets.manifest import read_manifest
from fgbench.datasets.matlab import variables
from fgbench.datasets.reader import reads
from fgbench.results.reading import parse_json


@reads(
    folder="flowers-102",
    holds="flowers-102/ with jpg/, imagelabels.mat and setid.mat",
    needs=("jpg", "imagelabels.mat", "setid.mat"),
    published=TABLE9["flowers"],
    fallback=read_manifest,
)
def flowers(root: Path) -> DataSet:
    """Flowers of Great Britain, Oxford 102: train and val together are the training set."""
    from torchvision.datasets import Flowers102

    (labels,) = variables(root / "imagelabels.mat", labels=int)
    train, val, test = variables(root / "setid.mat", trnid=int, valid=int, tstid=int)
    if beyond := [image for image in (*train, *val, *test) if not 1 <= image <= len(labels)]:
        raise DatasetError(
            "an image without a label:", beyond[0], f"{root / 'imagelabels.mat'} has {len(labels):,} labels"
        )
    whole = [*train, *val]
    classes = renumber(
        [labels[image - 1] for image in whole],
        [labels[image - 1] for image in test],
        dict(enumerate(Flowers102.classes, 1)),
        first=1,
    )
    return DataSet(
        name="flowers",
        class_names=classes.class_names,
        train=FileSplit(root, [f"jpg/image_{image:05d}.jpg" for image in whole], classes.train),
        test=FileSplit(root, [f"jpg/image_{image:05d}.jpg" for image in test], classes.test),
        notes=classes.notes,
    )


@reads(
    folder="food-101",
    holds="food-101/ with images/ and meta/{train,test}.json",
    needs=("images", "meta/train.json", "meta/test.json"),
    published=TABLE9["food"],
    fallback=read_manifest,
)
def food(root: Path) -> DataSet:
    """Dishes, ETH Food-101; the training images are not cleaned, on purpose."""
    train, test = (_dishes(root / "meta" / f"{split}.json") for split in ("train", "test"))
    dishes = sorted({*train.values(), *test.values()})
    ids = {dish: index for index, dish in enumerate(dishes)}
    return DataSet(
        name="food",
        class_names=[dish.replace("_", " ").capitalize() for dish in dishes],
        train=FileSplit(root, [*train], [ids[dish] for dish in train.values()]),
        test=FileSplit(root, [*test], [ids[dish] for dish in test.values()]),
    )


def _dishes(path: Path) -> dict[str, str]:
    """Dish by image, from a list of images by dish, without their suffix."""
    try:
        content: Any = parse_json(read_text(path))
        pairs = [(f"images/{below_root(image)}.jpg", str(dish)) for dish, images in content.items() for image in images]
    except (ValueError, TypeError, AttributeError) as error:
        raise DatasetError("not a list of images by dish:", str(path), in_one_line(error)) from error
    return one_class_each(pairs, path)


@reads(
    folder="oxford-iiit-pet",
    holds="oxford-iiit-pet/ with images/ and annotations/{trainval,test}.txt",
    needs=("images", "annotations/trainval.txt", "annotations/test.txt"),
    published=TABLE9["pets"],
    fallback=read_manifest,
)
def pets(root: Path) -> DataSet:
    """Breeds of cats and dogs, Oxford-IIIT."""
    lists = [
        [*rows(root / "annotations" / f"{split}.txt", below_root, int, int, int)] for split in ("trainval", "test")
    ]
    # "Abyssinian_100 1 1 1": image, breed from 1, cat or dog, breed among its kind
    breeds = {breed: image.rpartition("_")[0].replace("_", " ").title() for of in lists for image, breed, *_ in of}
    train, test = lists
    classes = renumber([row[1] for row in train], [row[1] for row in test], breeds, first=1)
    return DataSet(
        name="pets",
        class_names=classes.class_names,
        train=FileSplit(root, [f"images/{row[0]}.jpg" for row in train], classes.train),
        test=FileSplit(root, [f"images/{row[0]}.jpg" for row in test], classes.test),
        notes=classes.notes,
    )
