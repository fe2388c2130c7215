"""From the network's pixels to the picture's: heat, boxes and crops are at the bright object."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from helpers.small_pictures import SMALL, lit, rows_of, saved
from PIL import Image, ImageOps

from fgbench.cli.commands.visualize_result import Show, sheet
from fgbench.datasets.dataset import HALF, IMAGENET_MEAN, IMAGENET_STD, DataSet
from fgbench.datasets.images import as_stored
from fgbench.datasets.transforms import eval_transform
from fgbench.explain.boxes import input_geometry
from fgbench.explain.picture import Picture
from fgbench.explain.request import VisualizeRequest
from fgbench.explain.run import ExplainRun
from fgbench.plugins.files import add_plugin_files
from fgbench_reports.pictures import draw

# Height and width of a picture, and a bright box inside of what a network sees of it.
SHAPES = [
    ((300, 300), (90, 150, 140, 200)),
    ((200, 520), (100, 300, 140, 400)),
    ((640, 180), (180, 40, 290, 75)),
    ((97, 131), (50, 30, 66, 52)),
]
TURNED = {
    1: lambda image: image,
    2: lambda image: image.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
    3: lambda image: image.transpose(Image.Transpose.ROTATE_180),
    4: lambda image: image.transpose(Image.Transpose.FLIP_TOP_BOTTOM),
    5: lambda image: image.transpose(Image.Transpose.TRANSPOSE),
    6: lambda image: image.transpose(Image.Transpose.ROTATE_90),
    7: lambda image: image.transpose(Image.Transpose.TRANSVERSE),
    8: lambda image: image.transpose(Image.Transpose.ROTATE_270),
}


def explained(path, bright, brightness, **changes):
    add_plugin_files([str(brightness)], pytest.fail)
    fields = {"backbones": ["test_vit"], "image_size": 96, "checkpoint": bright, "selectors": ["brightness"]}
    request = VisualizeRequest(images=[str(path)], **(fields | changes))
    run = ExplainRun(request=request, on_problem=pytest.fail)
    run.run()
    return request, run.results


def cells(height: int, width: int, view: str) -> tuple[float, float]:
    """A patch in pixels of the picture."""
    resized = 128 if view == "centre" else 96
    return 16 * height / resized, 16 * width / resized


@pytest.mark.parametrize("view", ["centre", "whole"])
@pytest.mark.parametrize(("shape", "box"), SHAPES)
def test_what_is_bright_is_boxed_in_pixels_of_the_picture(shape, box, view, tmp_path, bright, brightness):
    path = saved(tmp_path, "lit.png", lit(*shape, box))
    options = (
        "--checkpoint",
        bright,
        "--plugin",
        brightness,
        "--selectors",
        "brightness",
        "--top-k",
        4,
        "--view",
        view,
    )
    (row,) = rows_of(path, *SMALL, *options)
    down, across = cells(*shape, view)
    y0, x0, y1, x1 = row["best_box"]
    assert (y1 - y0, x1 - x0) == pytest.approx((down, across), abs=0.01)
    assert max(y0, box[0]) < min(y1, box[2])
    assert max(x0, box[1]) < min(x1, box[3])
    (found,) = row["boxes"]
    middle = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
    assert found[0] <= middle[0] <= found[2]
    assert found[1] <= middle[1] <= found[3]
    assert found[0] > box[0] - 2 * down
    assert found[2] < box[2] + 2 * down
    assert found[1] > box[1] - 2 * across
    assert found[3] < box[3] + 2 * across
    assert (row["height"], row["width"], row["boxes"]) == (*shape, row["upright_boxes"])


@pytest.mark.parametrize(("shape", "box"), SHAPES)
def test_heat_is_drawn_where_the_picture_is_bright(shape, box, tmp_path, bright, brightness):
    """Read from the finished pixels: the hottest ones lie on the box, at every aspect ratio."""
    request, results = explained(saved(tmp_path, "lit.png", lit(*shape, box)), bright, brightness)
    show = Show(format_="png", output=None, folder=None, style="heat", colour_map="gray", alpha=1.0, dpi=200)
    figure = draw(sheet(request, results, show))
    axes = figure.axes[1]
    for patch in list(axes.patches):
        patch.remove()
    figure.canvas.draw()
    drawn = np.asarray(figure.canvas.buffer_rgba())[..., :3].mean(axis=-1)
    window = axes.get_window_extent()
    rows = slice(round(drawn.shape[0] - window.y1), round(drawn.shape[0] - window.y0))
    inside = drawn[rows, round(window.x0) : round(window.x1)]
    seen = results[0].images[0].seen_box
    down, across = shape[0] / inside.shape[0], shape[1] / inside.shape[1]
    ys, xs = np.nonzero(inside > 200)
    ys, xs = (ys + 0.5) * down, (xs + 0.5) * across
    hot = (ys > seen[0]) & (ys < seen[2]) & (xs > seen[1]) & (xs < seen[3])
    assert hot.sum() >= 20
    patch = cells(*shape, "centre")
    assert abs(ys[hot].mean() - (box[0] + box[2]) / 2) < 0.6 * patch[0]
    assert abs(xs[hot].mean() - (box[1] + box[3]) / 2) < 0.6 * patch[1]


@pytest.mark.parametrize("orientation", TURNED)
def test_boxes_count_in_pixels_of_the_stored_file_however_it_is_turned(orientation, tmp_path, bright, brightness):
    upright = lit(240, 400, (70, 100, 110, 180))
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = saved(tmp_path, "turned.png", TURNED[orientation](upright), exif=exif)
    with Image.open(path) as stored:
        assert np.array_equal(np.asarray(ImageOps.exif_transpose(stored)), np.asarray(upright))
        raw = np.asarray(stored)
    options = ("--checkpoint", bright, "--plugin", brightness, "--selectors", "brightness", "--top-k", 4)
    (row,) = rows_of(path, *SMALL, *options)
    assert (row["orientation"], row["height"], row["width"]) == (orientation, 240, 400)
    y0, x0, y1, x1 = (round(side) for side in row["boxes"][0])
    assert (raw[y0:y1, x0:x1] > 200).sum() > 0.9 * (raw > 200).sum()
    y0, x0, y1, x1 = (round(side) for side in row["upright_boxes"][0])
    assert (np.asarray(upright)[y0:y1, x0:x1] > 200).sum() > 0.9 * (raw > 200).sum()
    assert (y1 - y0) * (x1 - x0) < raw[..., 0].size / 4


def test_crops_are_cut_out_of_the_picture_itself(tmp_path, bright, brightness):
    path = saved(tmp_path, "lit.png", lit(300, 600, (100, 200, 140, 280)))
    _, results = explained(path, bright, brightness, top_k=1)
    result = results[0].images[0].selectors["brightness"]
    (crop,) = result.crops
    y0, x0, y1, x1 = result.boxes[0]
    assert crop.shape == (round(y1 - y0), round(x1 - x0), 3)
    assert crop.mean() > 100  # elsewhere it is 20


def test_the_way_back_undoes_the_way_there():
    for stored, size in (((97, 131), 96), ((480, 640), 224), ((333, 250), 225)):
        geometry = input_geometry(stored, size, "centre")
        boxes = [(3.0, 5.0, 40.0, 60.0), (0.0, 0.0, float(size), float(size))]
        back = geometry.to_input(geometry.to_picture(boxes))
        assert np.allclose(back, boxes)


def test_a_network_is_given_what_it_is_tested_with():
    noise = np.random.default_rng(0).integers(0, 256, (90, 130, 3), dtype=np.uint8)
    image = Image.fromarray(noise)
    picture = Picture(path="noise.png", image=image)
    for mean, std in ((HALF, HALF), (IMAGENET_MEAN, IMAGENET_STD)):
        dataset = DataSet(name="d", class_names=["a"], train=None, test=None, mean=mean, std=std)
        for size in (96, 97):
            made = picture.network_input(input_geometry((90, 130), size, "centre"), mean, std)
            assert torch.equal(made[0], eval_transform(dataset, size)(image))


def test_turning_back_keeps_every_corner():
    height, width = 30, 50
    upright = np.zeros((height, width), np.uint8)
    upright[4:9, 11:30] = 255
    for orientation, turn in TURNED.items():
        stored = np.asarray(turn(Image.fromarray(upright)))
        y0, x0, y1, x1 = (int(side) for side in as_stored((4, 11, 9, 30), (height, width), orientation))
        assert (stored[y0:y1, x0:x1] == 255).all()
        assert (stored == 255).sum() == (y1 - y0) * (x1 - x0)
