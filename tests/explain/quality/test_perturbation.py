from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fgbench.errors import FgbenchError
from fgbench.explain.quality.perturbation import (
    area_under,
    blurred,
    deletion_curve,
    insertion_curve,
    rank_pixels,
    replacement_curve,
)

SIDE = 8


def reference_curve(classify, before, after, heat, wanted, steps):
    """One image, one step at a time, one pixel at a time."""
    cells = [(y, x) for y in range(heat.shape[0]) for x in range(heat.shape[1])]
    order = sorted(cells, key=lambda cell: -heat[cell])  # sorted() keeps equals in the order of the image
    curve = []
    for step in range(steps + 1):
        image = before.copy()
        for y, x in order[: step * len(cells) // steps]:
            image[:, y, x] = after[:, y, x]
        logits = classify(torch.tensor(image)[None])[0].numpy()
        curve.append(np.exp(logits[wanted]) / np.exp(logits).sum())
    return curve


@given(batch=st.integers(1, 3), steps=st.integers(1, 20), levels=st.sampled_from([1, 4, 1000]), seed=st.integers(0, 99))
@settings(max_examples=40, deadline=None)
def test_curves_are_those_of_changing_pixels_one_by_one(batch, steps, levels, seed):
    rng = np.random.default_rng(seed)
    weight = torch.tensor(rng.standard_normal((3 * SIDE * SIDE, 4)), dtype=torch.float32) / 5

    def classify(images):
        return images.flatten(1) @ weight

    before, after = rng.standard_normal((2, batch, 3, SIDE, SIDE)).astype(np.float32)
    heat = rng.integers(0, levels, (batch, SIDE, SIDE)).astype(np.float64)
    wanted = rng.integers(0, 4, batch)
    tensors = [torch.tensor(each) for each in (before, after, heat, wanted)]
    found = replacement_curve(classify, *tensors, steps)
    assert found.shape == (batch, steps + 1)
    for index in range(batch):
        expected = reference_curve(classify, before[index], after[index], heat[index], wanted[index], steps)
        assert found[index].tolist() == pytest.approx(expected, rel=1e-4, abs=1e-6)


def brightness_of(part):
    """A model of two classes that is as sure of the first as the part is bright."""

    def classify(images):
        p = (images[:, 0] * part).sum(dim=(1, 2)) / part.sum()
        return torch.stack([p.log(), (1 - p).log()], dim=-1)

    return classify


def test_areas_of_a_model_that_looks_at_a_part_alone_are_known():
    part = torch.zeros(SIDE, SIDE)
    part[2:4, :] = 1  # a quarter of the pixels
    images, first = torch.ones(1, 3, SIDE, SIDE) * part, torch.zeros(1, dtype=torch.long)
    for heat, expected in ((part, 1 / 8), (1 - part, 7 / 8)):  # it is gone by the first quarter, or in the last one
        curve = deletion_curve(brightness_of(part), images, heat[None], first, SIDE)
        assert curve[0, 0] == pytest.approx(1)
        assert curve[0, -1] == pytest.approx(0)
        assert area_under(curve).item() == pytest.approx(expected)
        dark = torch.zeros_like(images)
        rising = replacement_curve(brightness_of(part), dark, images, heat[None], first, SIDE)
        assert area_under(rising).item() == pytest.approx(1 - expected)


def test_insertion_starts_from_the_blurred_image_and_both_curves_share_the_whole_one():
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(2, 3, SIDE, SIDE, generator=generator)
    heat, classes = torch.rand(2, SIDE, SIDE, generator=generator), torch.tensor([0, 1])
    classify = brightness_of(torch.ones(SIDE, SIDE))
    inserted = insertion_curve(classify, images, heat, classes, 4)
    deleted = deletion_curve(classify, images, heat, classes, 4)

    def whole(given):
        return classify(given).softmax(-1).gather(-1, classes[:, None])[:, 0]

    assert torch.allclose(inserted[:, -1], deleted[:, 0])
    assert torch.allclose(inserted[:, -1], whole(images))
    assert torch.allclose(inserted[:, 0], whole(blurred(images)))
    assert torch.allclose(deleted[:, -1], whole(torch.zeros_like(images)))


def test_an_image_does_not_depend_on_its_neighbours_in_the_batch():
    generator = torch.Generator().manual_seed(1)
    images, heat = torch.rand(4, 3, SIDE, SIDE, generator=generator), torch.rand(4, SIDE, SIDE, generator=generator)
    classes, order = torch.tensor([0, 1, 0, 1]), torch.tensor([2, 0, 3, 1])
    classify = brightness_of(torch.ones(SIDE, SIDE))
    found = insertion_curve(classify, images, heat, classes, 5)
    shuffled = insertion_curve(classify, images[order], heat[order], classes[order], 5)
    assert torch.allclose(shuffled, found[order])


def test_ranks_keep_the_order_of_the_image_among_equals():
    assert rank_pixels(torch.tensor([[[1.0, 3.0], [3.0, 1.0]]])).tolist() == [[[2, 0], [1, 3]]]
    assert rank_pixels(torch.zeros(1, 3, 3)).flatten().tolist() == list(range(9))


def test_the_area_under_a_line_is_a_trapezoid():
    assert area_under(torch.tensor([[1.0, 0.0], [1.0, 0.5]])).tolist() == [0.5, 0.75]
    assert area_under(torch.tensor([[0.0, 1.0, 0.0, 1.0]])).item() == pytest.approx(0.5)


def test_blur_keeps_an_even_image_and_levels_a_detail():
    even = torch.full((1, 3, 32, 32), 0.7)
    assert torch.allclose(blurred(even), even, atol=1e-6)
    dot = torch.zeros(1, 3, 32, 32)
    dot[..., 16, 16] = 1
    soft = blurred(dot, share=2 / 32)
    assert soft.sum().item() == pytest.approx(3, rel=1e-5)
    assert soft[0, 0, 16, 16].item() == pytest.approx(1 / (2 * np.pi * 4), rel=0.02)  # a Gaussian of two pixels
    assert soft[0, 0, 16, 18] == pytest.approx(soft[0, 0, 16, 16].item() * np.exp(-0.5), rel=1e-4)


def test_blur_mirrors_a_small_image_no_further_than_it_reaches():
    tiny = torch.rand(1, 3, 2, 2)
    assert blurred(tiny, share=3.0).shape == tiny.shape


@pytest.mark.parametrize("steps", [0, SIDE * SIDE + 1])
def test_steps_that_no_pixel_fills_are_refused(steps):
    images, heat, classes = torch.zeros(1, 3, SIDE, SIDE), torch.zeros(1, SIDE, SIDE), torch.zeros(1, dtype=torch.long)
    with pytest.raises(FgbenchError, match="steps must number"):
        replacement_curve(lambda x: x, images, images, heat, classes, steps)
