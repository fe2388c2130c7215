"""VegFru."""

from __future__ import annotations

from pathlib import Path

from fgbench.datasets.dataset import TABLE9, DataSet, FileSplit
from fgbench.datasets.files import below_root, renumber, rows
from fgbench.datasets.manifest import read_manifest
from fgbench.datasets.reader import reads

LISTS = tuple(f"vegfru_{split}.txt" for split in ("train", "val", "test"))


@reads(
    holds="veg200_images/, fru92_images/ and vegfru_{train,val,test}.txt (the lists may lie in vegfru_list/)",
    needs=("veg200_images", "fru92_images", *(f"{file} or vegfru_list/{file}" for file in LISTS)),
    published=TABLE9["vegfru"],
    fallback=read_manifest,
)
def vegfru(root: Path) -> DataSet:
    """Vegetables and fruits, VegFru-292: train and val together are the training set."""
    folder = root if (root / LISTS[0]).is_file() else root / "vegfru_list"
    # "veg200_images/aloe/v_01_01_0001.jpg 0"
    train, val, test = ([*rows(folder / file, below_root, int)] for file in LISTS)
    names = {class_id: Path(image).parent.name.replace("_", " ") for image, class_id in (*train, *val, *test)}
    whole = [*train, *val]
    classes = renumber([class_id for _, class_id in whole], [class_id for _, class_id in test], names)
    return DataSet(
        name="vegfru",
        class_names=classes.class_names,
        train=FileSplit(root, [image for image, _ in whole], classes.train),
        test=FileSplit(root, [image for image, _ in test], classes.test),
        notes=classes.notes,
    )
