from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fgbench_selectors import FeaturesError
from fgbench_selectors.heat import heat_map, patch_scores

SIZES = {"batch": 2, "heads": 3, "blocks": 4, "tokens": 11, "patches": 9}


def reference_patch_scores(scores: np.ndarray, opinions: int) -> list[list[float]]:
    """(B, opinions, patches): every opinion from 0 to 1, then their mean, one number at a time."""
    found = []
    for image in scores:
        total = [0.0] * scores.shape[-1]
        for opinion in image:
            low, high = min(opinion), max(opinion)
            for patch, score in enumerate(opinion):
                total[patch] += 0.0 if high == low else (score - low) / (high - low) / opinions
        found.append(total)
    return found


@given(
    opinions=st.lists(st.sampled_from(["heads", "blocks"]), max_size=2, unique=True),
    place=st.sampled_from(["patches", "tokens"]),
    after=st.booleans(),
    prefix=st.integers(0, 5),
    seed=st.integers(0, 2**31),
)
@settings(max_examples=60, deadline=None)
def test_every_declared_shape_becomes_one_score_per_patch(opinions, place, after, prefix, seed):
    axes = ["batch", place, *opinions] if after else ["batch", *opinions, place]
    scores = torch.randn([SIZES[axis] for axis in axes], generator=torch.Generator().manual_seed(seed)).double()
    found = patch_scores(scores, axes, prefix)
    cut = prefix if place == "tokens" else 0
    last = scores.movedim(1, -1) if after else scores
    placed = last.reshape(2, -1, SIZES[place])[..., cut:].numpy()
    assert found.shape == (2, SIZES[place] - cut)
    expected = placed[:, 0] if not opinions else reference_patch_scores(placed, placed.shape[1])
    assert np.allclose(found.numpy(), expected, rtol=1e-12)


def test_the_pick_of_every_head_counts_one_whatever_its_scale_and_a_flat_head_counts_nothing():
    scores = torch.tensor([[[1.0, 0, 0], [0, 1e-30, 0], [5, 5, 5], [-9, -9, -7]]])
    assert patch_scores(scores, ("batch", "heads", "patches"), 1).tolist() == [[0.25, 0.25, 0.25]]


def test_scores_below_float32s_range_keep_their_order():
    scores = torch.tensor([[1e-60, 3e-60, 2e-60]], dtype=torch.float64)
    assert patch_scores(scores, ("batch", "patches"), 1).argsort().tolist() == [[0, 2, 1]]
    assert patch_scores(scores[:, None], ("batch", "heads", "patches"), 1).tolist() == [pytest.approx([0, 1, 0.5])]


def test_half_precision_becomes_float32():
    assert patch_scores(torch.rand(1, 4).half(), ("batch", "patches"), 1).dtype == torch.float32
    assert heat_map(torch.rand(1, 4).bfloat16(), (2, 2), 8, 4).dtype == torch.float32


@pytest.mark.parametrize(
    ("axes", "shape", "message"),
    [
        (("batch", "heads"), (1, 3), "place in the image"),
        (("batch", "patches"), (1, 3, 4), "cannot have shape"),
        (("patches",), (4,), "cannot have shape"),
        (("batch", "tokens"), (1, 2), "no patches are left"),
    ],
)
def test_scores_without_a_place_are_refused(axes, shape, message):
    with pytest.raises(FeaturesError, match=message):
        patch_scores(torch.zeros(shape), axes, 2)


def test_a_map_that_does_not_fit_the_grid_is_refused():
    with pytest.raises(FeaturesError, match="for a 2×3 grid"):
        heat_map(torch.zeros(1, 5), (2, 3), 8, 4)


def reference_pixel(scores: np.ndarray, y: int, x: int, patch: int, stride: int, smooth: bool) -> float:
    """One pixel of the map, by the hat function around every patch centre, or by the nearest centre."""
    rows, columns = scores.shape

    def share(pixel: int, place: int, places: int) -> float:
        position = min(max((pixel + 0.5 - patch / 2) / stride, 0), places - 1)
        if not smooth:
            return float(math.floor(position + 0.5) == place)
        return max(0.0, 1 - abs(position - place))

    return sum(share(y, r, rows) * share(x, c, columns) * scores[r, c] for r in range(rows) for c in range(columns))


@given(
    rows=st.integers(1, 4),
    columns=st.integers(1, 4),
    patch=st.integers(1, 6),
    overlap=st.integers(0, 3),
    rest=st.integers(0, 5),
    smooth=st.booleans(),
    seed=st.integers(0, 2**31),
)
@settings(max_examples=60, deadline=None)
def test_pixels_are_weighed_by_their_distance_to_patch_centres(rows, columns, patch, overlap, rest, smooth, seed):
    stride = max(1, patch - overlap)
    size = (max(rows, columns) - 1) * stride + patch + rest
    scores = torch.randn(2, rows * columns, generator=torch.Generator().manual_seed(seed)).double()
    found = heat_map(scores, (rows, columns), size, patch, stride, smooth=smooth)
    assert found.shape == (2, size, size)
    for image, expected in zip(found, scores.view(2, rows, columns).numpy(), strict=True):
        for y in range(0, size, 3):
            for x in range(0, size, 3):
                assert image[y, x].item() == pytest.approx(reference_pixel(expected, y, x, patch, stride, smooth))


def test_without_smoothing_a_map_of_patches_side_by_side_is_made_of_squares():
    scores = torch.arange(6.0).view(1, 6)
    squares = torch.arange(6.0).view(2, 3).repeat_interleave(4, 0).repeat_interleave(4, 1)
    assert torch.equal(heat_map(scores, (2, 3), 12, 4, smooth=False)[0, :8], squares)
