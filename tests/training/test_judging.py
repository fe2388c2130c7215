"""Judging a run: boxes follow the picture through resize and crop, and broken pictures are left out."""

from __future__ import annotations

from dataclasses import replace

import torch
from helpers.small_training import HALF, SIDE, Broken, Colours, colours
from PIL import Image

from fgbench.datasets.dataset import DataSet, Split
from fgbench.models.build import create_model
from fgbench.training.evaluate_selectors import batch_for, batches


class Marked(Split):
    """A white rectangle on black; the box is its own."""

    def __init__(self, boxes) -> None:
        self.boxes, self.targets = boxes, [0] * len(boxes)

    def name(self, index: int) -> str:
        return str(index)

    def open(self, index: int) -> Image.Image:
        picture = Image.new("RGB", (200, 100))
        y0, x0, y1, x1 = self.boxes[index]
        picture.paste((255, 255, 255), (x0, y0, x1, y1))
        return picture

    def parts(self, index: int):
        return [self.boxes[index]]


def test_boxes_lie_on_what_the_network_sees():
    split = Marked([(30, 60, 60, 120), (40, 90, 70, 110), (20, 30, 90, 60)])
    dataset = DataSet(name="marked", class_names=["a"], train=split, test=split, mean=HALF, std=HALF)
    (batch,) = batches(dataset, 96, 8)
    for image, ((y0, x0, y1, x1),) in zip(*batch, strict=True):
        rows, columns = torch.where(image[0] > 0)  # brighter than grey
        found = rows.min(), columns.min(), rows.max() + 1, columns.max() + 1
        assert all(abs(float(a) - b) <= 1 for a, b in zip(found, (y0, x0, y1, x1), strict=True))


def test_where_parts_are_unknown_there_are_no_boxes_and_broken_pictures_are_left_out():
    dataset = replace(colours(), test=Broken(4, 11, 2, broken={0, 10}))
    found = list(batches(dataset, SIDE, size=4))
    assert [len(images) for images, _ in found] == [4, 4, 1]
    assert {boxes for _, boxes in found} == {None}
    assert isinstance(dataset.train, Colours)


def test_large_models_are_judged_a_few_images_at_a_time():
    with torch.device("meta"):
        made = [create_model("vit", img_size=size) for size in (224, 448)]
        made += [create_model("vit", "test_vit", img_size=96), create_model("cal")]
    assert [batch_for(model) for model in made] == [64, 18, 64, 16]
