"""Stanford Dogs."""

from __future__ import annotations

from pathlib import Path

from fgbench.datasets.dataset import TABLE9, DataSet, DatasetError, FileSplit
from fgbench.datasets.files import below_root, renumber
from fgbench.datasets.manifest import read_manifest
from fgbench.datasets.matlab import variables
from fgbench.datasets.reader import reads


@reads(
    holds="Images/<synset>-<breed>/, train_list.mat and test_list.mat",
    needs=("Images", "train_list.mat", "test_list.mat"),
    published=TABLE9["dogs"],
    fallback=read_manifest,
)
def dogs(root: Path) -> DataSet:
    """Dog breeds out of ImageNet, Stanford."""
    (train, train_ids), (test, test_ids) = (_listed(root / f"{split}_list.mat") for split in ("train", "test"))
    # "n02085620-Chihuahua/n02085620_5927.jpg"
    breeds = {
        class_id: image.partition("/")[0].partition("-")[2].replace("_", " ")
        for image, class_id in zip([*train, *test], [*train_ids, *test_ids], strict=True)
    }
    classes = renumber(train_ids, test_ids, breeds, first=1)
    return DataSet(
        name="dogs",
        class_names=classes.class_names,
        train=FileSplit(root, [f"Images/{image}" for image in train], classes.train),
        test=FileSplit(root, [f"Images/{image}" for image in test], classes.test),
        notes=classes.notes,
    )


def _listed(path: Path) -> tuple[list[str], list[int]]:
    """Images below Images/ and their classes, counted from 1."""
    images, class_ids = variables(path, file_list=below_root, labels=int)
    if len(images) != len(class_ids):
        raise DatasetError(
            f"{len(images):,} images and {len(class_ids):,} classes in", str(path), "unpack lists.tar anew"
        )
    return images, class_ids
