"""Miniatures of every on-disk layout: a few small images in the files and folders of the official archive."""

from __future__ import annotations

import csv
import io
import json
import tarfile
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.io import savemat

SIZE = (24, 16)  # width, height
# Class by class, train and test; what every miniature below holds, whatever its class ids look like.
TRAIN, TEST = [0, 0, 1, 1, 2, 2], [0, 1, 2]


def jpeg(shade: int = 0) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", SIZE, (shade % 256, 100, 50)).save(buffer, "JPEG")
    return buffer.getvalue()


def draw(path: Path, shade: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(jpeg(shade))


def write(path: Path, lines: Iterable[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def birds(root: Path, ids: list[int], names: dict[int, str], image_ids: list[str], parts: bool) -> None:
    """The tables of CUB and NABirds: nine images, of which the last of each class is for testing."""
    classes = [ids[index // 3] for index in range(9)]
    files = [f"{class_id:03}.bird/{image}.jpg" for class_id, image in zip(classes, image_ids, strict=True)]
    for shade, file in enumerate(files):
        draw(root / "images" / file, shade)
    write(root / "images.txt", map(" ".join, zip(image_ids, files, strict=True)))
    write(root / "image_class_labels.txt", (f"{i} {c}" for i, c in zip(image_ids, classes, strict=True)))
    write(root / "train_test_split.txt", (f"{i} {int(n % 3 < 2)}" for n, i in enumerate(image_ids)))
    write(root / "classes.txt", (f"{class_id} {name}" for class_id, name in names.items()))
    if parts:
        write(root / "bounding_boxes.txt", (f"{i} 2.0 2.0 20.0 5.0" for i in image_ids))
        # Part 1 is seen at (x 12, y 8), part 2 hidden, part 3 near the corner.
        seen = [f"{i} 1 12.0 8.0 1" for i in image_ids]
        write(
            root / "parts/part_locs.txt", [*seen, *(f"{i} 2 0.0 0.0 0" for i in image_ids), f"{image_ids[0]} 3 1 1 1"]
        )


def cub(top: Path) -> None:
    names = {1: "001.Black_footed_Albatross", 2: "002.Laysan_Albatross", 3: "003.Sooty_Albatross"}
    birds(top / "CUB_200_2011", [1, 2, 3], names, [str(n) for n in range(1, 10)], parts=True)


def nabirds(top: Path) -> None:
    names = {0: "Birds", 1: "Ducks", 295: "Oak Titmouse", 817: "Mallard (Male)", 1010: "Dark-eyed Junco"}
    birds(top / "nabirds", [295, 817, 1010], names, [f"0001-{n:02}ab" for n in range(9)], parts=False)


def dogs(top: Path) -> None:
    breeds = ["n02085620-Chihuahua", "n02085782-Japanese_spaniel", "n02085936-Maltese_dog"]
    for split, classes in (("train", TRAIN), ("test", TEST)):
        files = [f"{breeds[c]}/{split}_{n}.jpg" for n, c in enumerate(classes)]
        for file in files:
            draw(top / "Images" / file)
        cells = np.array([[file] for file in files], dtype=object)
        savemat(top / f"{split}_list.mat", {"file_list": cells, "labels": np.array([[c + 1] for c in classes])})


def flowers(top: Path) -> None:
    root = top / "flowers-102"
    for image in range(1, 10):
        draw(root / f"jpg/image_{image:05d}.jpg")
    savemat(root / "imagelabels.mat", {"labels": np.array([[1, 1, 2, 2, 3, 3, 1, 2, 3]], dtype=np.uint8)})
    splits = {"trnid": [[1, 2, 3]], "valid": [[4, 5, 6]], "tstid": [[7, 8, 9]]}
    savemat(root / "setid.mat", {name: np.array(ids, dtype=np.uint16) for name, ids in splits.items()})


def food(top: Path) -> None:
    root = top / "food-101"
    for split, classes in (("train", TRAIN), ("test", TEST)):
        lists: dict[str, list[str]] = {}
        for n, dish in enumerate(["apple_pie", "waffles", "baklava"][c] for c in classes):
            lists.setdefault(dish, []).append(f"{dish}/{split}{n}")
            draw(root / f"images/{dish}/{split}{n}.jpg")
        write(root / f"meta/{split}.json", [json.dumps(lists)])


def pets(top: Path) -> None:
    root = top / "oxford-iiit-pet"
    for split, classes in (("trainval", TRAIN), ("test", TEST)):
        images = [f"{['Abyssinian', 'american_bulldog', 'Birman'][c]}_{split}{n}" for n, c in enumerate(classes)]
        for image in images:
            draw(root / f"images/{image}.jpg")
        write(root / f"annotations/{split}.txt", (f"{i} {c + 1} 1 1" for i, c in zip(images, classes, strict=True)))


def inat17(top: Path) -> None:
    categories = [{"id": c, "name": f"Genus species{c}", "supercategory": "Aves"} for c in (0, 7, 5088)]
    for split, classes in (("train", TRAIN), ("val", TEST)):
        images, notes = [], []
        for n, c in enumerate(classes):
            file = f"train_val_images/Aves/species{c}/{split}{n}.jpg"
            draw(top / file)
            images.append({"id": n, "file_name": file})
            notes.append({"image_id": n, "category_id": categories[c]["id"], "id": n})
        content = {"images": images, "annotations": notes[::-1], "categories": categories}
        write(top / f"{split}2017.json", [json.dumps(content)])


def vegfru(top: Path) -> None:
    folders = ["veg200_images/aloe", "veg200_images/bamboo_shoot", "fru92_images/fig"]
    for split, classes in (("train", TRAIN[::2]), ("val", TRAIN[1::2]), ("test", TEST)):
        images = [f"{folders[c]}/{split}_{n}.jpg" for n, c in enumerate(classes)]
        for image in images:
            draw(top / image)
        write(top / f"vegfru_{split}.txt", (f"{i} {c}" for i, c in zip(images, classes, strict=True)))


def manifest(top: Path) -> None:
    lists(top, {"train_val.csv": TRAIN, "test.csv": TEST})
    write(top / "classid_classname.csv", ["class_id,class_name", "0,Asuka", '1,"Ikari, Shinji"', "2,Rei"])


def lists(top: Path, classes: dict[str, list[int]]) -> None:
    """CSV lists, ``file → class ids``, with an image for each line."""
    for file, ids in classes.items():
        rows = [(c, f"images/{c}/{file[:-4]}_{n}.jpg") for n, c in enumerate(ids)]
        for _, image in rows:
            draw(top / image)
        with (top / file).open("w", newline="", encoding="utf-8") as opened:
            csv.writer(opened).writerows([("class_id", "dir"), *rows])


def folder(top: Path) -> None:
    for split, classes in (("train", TRAIN), ("test", TEST)):
        for n, c in enumerate(classes):
            draw(top / f"{split}/{['ant', 'bee', 'cat'][c]}/{n}.jpg")


def shards(top: Path, splits: dict[str, list[int]] | None = None) -> None:
    """``train-0000.tar`` and so on, two samples each, the class id in .cls and in .json."""
    for split, classes in (splits or {"train": TRAIN, "test": TEST}).items():
        for first in range(0, len(classes), 2):
            with tarfile.open(top / f"{split}-{first // 2:04}.tar", "w") as tar:
                for n, c in enumerate(classes[first : first + 2], first):
                    meta = json.dumps({"species": c}).encode()
                    for suffix, content in (("cls", str(c).encode()), ("jpg", jpeg(n)), ("json", meta)):
                        member = tarfile.TarInfo(f"{split}/{n:04}.{suffix}")
                        member.size = len(content)
                        tar.addfile(member, io.BytesIO(content))


# What --data-dir holds, by the name of the data set.
LAYOUTS: dict[str, Callable[[Path], None]] = {
    **{"cub": cub, "nabirds": nabirds, "dogs": dogs, "flowers": flowers, "food": food, "pets": pets},
    **{"inat17": inat17, "vegfru": vegfru, "dafb": manifest, "moe": manifest, "manifest": manifest, "folder": folder},
}
OFFICIAL = ("cub", "dogs", "flowers", "food", "inat17", "nabirds", "pets", "vegfru")
TEN = (*OFFICIAL, "dafb", "moe")
