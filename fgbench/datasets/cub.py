"""CUB-200-2011, and NABirds, which has the same tables."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from fgbench.datasets.dataset import TABLE9, Box, DataSet, DatasetError, FileSplit
from fgbench.datasets.files import below_root, renumber, rows
from fgbench.datasets.manifest import read_manifest
from fgbench.datasets.reader import reads

TABLES = ("images.txt", "image_class_labels.txt", "train_test_split.txt", "classes.txt")
PARTS, BOUNDS = "parts/part_locs.txt", "bounding_boxes.txt"
SMALLEST_SIDE = 8.0  # pixels: side of a part's box, at least


@reads(
    folder="CUB_200_2011",
    holds="CUB_200_2011/ with images/, images.txt, image_class_labels.txt, train_test_split.txt and classes.txt",
    needs=("images", *TABLES),
    published=TABLE9["cub"],
    fallback=read_manifest,
)
def cub(root: Path, *, part_size: float = 0.25) -> DataSet:
    """North American birds, Caltech-UCSD 2011.

    Args:
        root: The folder.
        part_size: Side of the square around a visible part, as a share of the bird's bounding box; see
            :func:`part_boxes`.
    """
    dataset = read_tables(root, "cub", first=1, part_size=part_size)
    # "001.Black_footed_Albatross"
    names = [name.partition(".")[2].replace("_", " ") or name for name in dataset.class_names]
    return DataSet(name="cub", class_names=names, train=dataset.train, test=dataset.test, notes=dataset.notes)


@reads(
    folder="nabirds",
    holds="nabirds/ with images/, images.txt, image_class_labels.txt, train_test_split.txt and classes.txt",
    needs=("images", *TABLES),
    published=TABLE9["nabirds"],
    fallback=read_manifest,
)
def nabirds(root: Path, *, part_size: float = 0.25) -> DataSet:
    """North American birds with their plumages, Cornell. Of 1011 classes in a hierarchy, 555 have images.

    Args:
        root: The folder.
        part_size: Side of the square around a visible part, as a share of the bird's bounding box.
    """
    return read_tables(root, "nabirds", first=0, part_size=part_size)


def read_tables(root: Path, name: str, *, first: int, part_size: float) -> DataSet:
    """Read the tables of a folder: ``<image> <value>`` per line, joined by the image's id."""
    images = _table(root / "images.txt", below_root)
    class_ids = _table(root / "image_class_labels.txt", int)
    in_train = _table(root / "train_test_split.txt", int)
    for table, file in ((class_ids, "image_class_labels.txt"), (in_train, "train_test_split.txt")):
        if without := next((image for image in images if image not in table), None):
            raise DatasetError(f"no line in {root / file} for the image", images[without])
    boxes = part_boxes(root, images, part_size)
    train = [image for image in images if in_train[image]]
    test = [image for image in images if not in_train[image]]
    classes = renumber(
        [class_ids[image] for image in train],
        [class_ids[image] for image in test],
        dict(rows(root / "classes.txt", int, str)),
        first,
    )
    return DataSet(
        name=name,
        class_names=classes.class_names,
        train=FileSplit(root, [f"images/{images[image]}" for image in train], classes.train, boxes),
        test=FileSplit(root, [f"images/{images[image]}" for image in test], classes.test, boxes),
        notes=classes.notes,
    )


def _table(path: Path, kind: Callable[[str], Any]) -> dict[str, Any]:
    """Value by image id; an id with two values is refused."""
    table: dict[str, Any] = {}
    for image, value in rows(path, str, kind):
        if table.setdefault(image, value) != value:
            raise DatasetError(f"{path} has two lines for the image", image, f"they say {table[image]} and {value}")
    return table


def part_boxes(root: Path, images: Mapping[str, str], share: float) -> dict[str, list[Box]] | None:
    """Squares around the visible parts of every image.

    ``parts/part_locs.txt`` has points: ``<image> <part> <x> <y> <visible>``. The side of a square is ``share`` times
    the geometric mean of the sides of the bird's bounding box (``bounding_boxes.txt``: ``<image> <x> <y> <width>
    <height>``) or, without that table, of the box around all visible points; 8 pixels at least. Squares are cut at 0;
    the lower and right ends may lie beyond the image, whose size is not known before it is opened.

    Args:
        root: The folder.
        images: Paths below ``images/`` by image id.
        share: Side of a square as a share, more than 0 and at most 1.

    Returns:
        Boxes by path, in the order of the parts, in pixels of the stored image: annotators saw it in browsers that did
        not apply the EXIF orientation. None without the table of points.

    Raises:
        DatasetError: ``share`` is out of its range, or a line has another form.
    """
    if not (root / PARTS).is_file():
        return None
    if not 0 < share <= 1:
        raise DatasetError("part_size must be more than 0 and at most 1, got", share, "for example 0.25")
    points: dict[str, list[tuple[float, float]]] = {image: [] for image in images}
    for image, _, x, y, visible in rows(root / PARTS, str, str, float, float, int):
        if visible and image in points:
            points[image].append((y, x))
    areas = {}
    if (root / BOUNDS).is_file():
        areas = {image: w * h for image, _, _, w, h in rows(root / BOUNDS, str, float, float, float, float)}
    boxes = {}
    for image, centres in points.items():
        half = max(SMALLEST_SIDE, share * areas.get(image, _area(centres)) ** 0.5) / 2
        boxes[f"images/{images[image]}"] = [
            (max(0.0, y - half), max(0.0, x - half), y + half, x + half) for y, x in centres
        ]
    return boxes


def _area(points: list[tuple[float, float]]) -> float:
    """Area of the box around points, in square pixels."""
    if not points:
        return 0.0
    ys, xs = [y for y, _ in points], [x for _, x in points]
    return (max(ys) - min(ys)) * (max(xs) - min(xs))
