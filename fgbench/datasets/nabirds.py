"""NABirds: the tables of CUB, with ids out of a hierarchy of 1011 classes of which 555 have images."""

from __future__ import annotations

from pathlib import Path

from fgbench.datasets.cub import TABLES, read_tables
from fgbench.datasets.dataset import DataSet
from fgbench.datasets.manifest import read_manifest
from fgbench.datasets.published import TABLE9
from fgbench.datasets.reader import reads


@reads(
    folder="nabirds",
    holds="nabirds/ with images/, images.txt, image_class_labels.txt, train_test_split.txt and classes.txt",
    needs=("images", *TABLES),
    published=TABLE9["nabirds"],
    fallback=read_manifest,
)
def nabirds(root: Path, *, part_size: float = 0.25) -> DataSet:
    """North American birds with their plumages, Cornell.

    ``part_size`` as for CUB: the side of the square around a visible part, as a share of the bird's bounding box.
    """
    return read_tables(root, "nabirds", first=0, part_size=part_size)
