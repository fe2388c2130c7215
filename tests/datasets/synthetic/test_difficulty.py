"""Accuracy of a small classifier: chance without the parts, low on whole images, high on the parts."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from torch.nn import functional

from fgbench.datasets.synthetic.dataset import synthetic

pytestmark = pytest.mark.slow

CLASSES, TRAIN, TEST = 20, 1400, 400
CHANCE = 100 / CLASSES
# Twice the chance's standard deviation above it, for as many test images.
LUCK = CHANCE + 2 * 100 * math.sqrt(1 / CLASSES * (1 - 1 / CLASSES) / TEST)
CROP, WHOLE, HIDDEN = 16, 24, 34  # pixels: a part as seen, the image as seen, what hides a part of any shape


pytestmark = pytest.mark.thorough  # what is drawn is held by tests/datasets/synthetic/test_dataset.py


@pytest.fixture(scope="module")
def dataset():
    return synthetic(classes=CLASSES, train_images=TRAIN, test_images=TEST)


def read(split, view) -> tuple[torch.Tensor, torch.Tensor]:
    images = [view(split.open(index), split.parts(index)) for index in range(len(split))]
    return torch.from_numpy(np.stack(images)), torch.tensor(split.targets)


def centre(box) -> tuple[float, float]:
    return (box[0] + box[2]) / 2, (box[1] + box[3]) / 2


def part_crops(image, boxes):
    """Squares of one size around both parts, side by side: 512 pixels."""
    crops = []
    for y, x in map(centre, boxes):
        square = image.crop(tuple(round(v) for v in (x - HIDDEN / 2, y - HIDDEN / 2, x + HIDDEN / 2, y + HIDDEN / 2)))
        crops.append(np.asarray(square.resize((CROP, CROP), Image.Resampling.BOX)))
    return np.concatenate(crops, axis=1)


def whole(image, _boxes):
    """The whole image in 576 pixels."""
    return np.asarray(image.resize((WHOLE, WHOLE), Image.Resampling.BOX))


def without_parts(image, boxes):
    """The whole image, a quarter as high, a grey square over every part: of one size, so that it tells no shape."""
    pixels = np.array(image)
    for y, x in map(centre, boxes):
        top, left = max(round(y - HIDDEN / 2), 0), max(round(x - HIDDEN / 2), 0)
        pixels[top : top + HIDDEN, left : left + HIDDEN] = 128
    return np.asarray(Image.fromarray(pixels).reduce(4))


def colour_histogram(image, _boxes):
    """How many pixels have which colour, in 6 × 6 × 6 bins."""
    levels = np.asarray(image).reshape(-1, 3).astype(int) * 6 // 256
    counts = np.bincount(levels @ (36, 6, 1), minlength=216)
    return np.sqrt(counts / counts.sum()).astype(np.float32)


def convolutional(height: int, width: int) -> nn.Module:
    """Three layers; its first does not know what is drawn where, its last does."""
    cells = (height // 8) * (width // 8)
    return nn.Sequential(
        *(nn.Conv2d(3, 24, 3, padding=1), nn.BatchNorm2d(24), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(24, 48, 3, padding=1), nn.BatchNorm2d(48), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(48, 64, 3, padding=1), nn.BatchNorm2d(64), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Flatten(), nn.Linear(64 * cells, CLASSES)),
    )


def accuracy(train, test, model, epochs: int = 10) -> float:
    """Of test images, after some epochs on the train images, in percent."""
    (inputs, targets), (test_inputs, test_targets) = train, test
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=0.05)
    steps = epochs * math.ceil(len(inputs) / 64)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=steps)
    order = torch.Generator().manual_seed(0)
    for _ in range(epochs):
        for batch in torch.randperm(len(inputs), generator=order).split(64):
            optimizer.zero_grad()
            functional.cross_entropy(model(inputs[batch]), targets[batch], label_smoothing=0.1).backward()
            optimizer.step()
            schedule.step()
    model.eval()
    with torch.inference_mode():
        return 100 * (model(test_inputs).argmax(dim=1) == test_targets).float().mean().item()


def seen(dataset, view) -> float:
    """The accuracy of the same small network on one view of the images."""
    torch.manual_seed(0)
    train, test = (
        (images.permute(0, 3, 1, 2).float() / 127.5 - 1, targets)
        for images, targets in (read(dataset.train, view), read(dataset.test, view))
    )
    return accuracy(train, test, convolutional(*train[0].shape[2:]))


def test_without_the_parts_there_is_nothing_to_tell_the_classes_by(dataset):
    got = seen(dataset, without_parts)
    assert got < LUCK


def test_the_parts_alone_tell_more_than_the_whole_in_as_many_pixels(dataset):
    whole_image, parts = seen(dataset, whole), seen(dataset, part_crops)
    assert parts > 90
    assert whole_image < 0.75 * parts


def test_one_part_alone_does_not_name_the_class(dataset):
    one = seen(dataset, lambda image, boxes: part_crops(image, boxes[:1]))
    other = seen(dataset, lambda image, boxes: part_crops(image, boxes[1:]))
    assert CHANCE < one < 30
    assert CHANCE < other < 30


def test_the_colours_of_an_image_do_not_tell_its_class(dataset):
    torch.manual_seed(0)
    train, test = read(dataset.train, colour_histogram), read(dataset.test, colour_histogram)
    model = nn.Sequential(nn.Linear(216, 64), nn.ReLU(), nn.Linear(64, CLASSES))
    got = accuracy(train, test, model, epochs=30)
    assert got < 4 * CHANCE  # were they known by place, the colours of wing and head would name 80 %
