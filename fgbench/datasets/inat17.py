"""iNaturalist 2017, by the lists of its competition; torchvision's reader has no split, and other class ids."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fgbench.datasets.dataset import TABLE9, DataSet, DatasetError, FileSplit
from fgbench.datasets.files import below_root, in_one_line, one_class_each, read_text, renumber
from fgbench.datasets.manifest import read_manifest
from fgbench.datasets.reader import reads
from fgbench.results.reading import parse_json


@reads(
    holds="train_val_images/<super>/<species>/, train2017.json and val2017.json",
    needs=("train_val_images", "train2017.json", "val2017.json"),
    published=TABLE9["inat17"],
    fallback=read_manifest,
)
def inat17(root: Path) -> DataSet:
    """Plants, animals and fungi by species, iNaturalist 2017; its validation set is the test set."""
    names: dict[int, str] = {}
    train, test = (_images(root / f"{split}2017.json", names) for split in ("train", "val"))
    classes = renumber([*train.values()], [*test.values()], names)
    return DataSet(
        name="inat17",
        class_names=classes.class_names,
        train=FileSplit(root, [*train], classes.train),
        test=FileSplit(root, [*test], classes.test),
        notes=classes.notes,
    )


def _images(path: Path, names: dict[int, str]) -> dict[str, int]:
    """Class id by path, in the order of the list; class names are added to ``names``."""
    try:
        content: Any = parse_json(read_text(path))
        names.update({category["id"]: category["name"] for category in content["categories"]})
        notes = [(str(note["image_id"]), int(note["category_id"])) for note in content["annotations"]]
        class_of = one_class_each(notes, path)
        images = [(below_root(image["file_name"]), class_of[str(image["id"])]) for image in content["images"]]
    except KeyError as error:
        do = "expected images, annotations and categories, joined by image_id and category_id"
        raise DatasetError(f"no {error.args[0]!r} in", str(path), do) from error
    except (ValueError, TypeError) as error:
        raise DatasetError("not a list in COCO's form:", str(path), in_one_line(error)) from error
    return one_class_each(images, path)
