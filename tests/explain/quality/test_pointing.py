from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fgbench.explain.boxes import Patches, mask_of
from fgbench.explain.quality.figures import heat_inside, peak_centres, pointing_hits
from fgbench.explain.quality.judge import baseline_scores


@given(
    rows=st.integers(1, 5),
    columns=st.integers(1, 5),
    patch=st.integers(1, 16),
    overlap=st.integers(0, 4),
    seed=st.integers(0, 2**31),
)
@settings(max_examples=100, deadline=None)
def test_the_peak_is_the_centre_of_the_best_patch_the_first_among_equals(rows, columns, patch, overlap, seed):
    stride = max(1, patch - overlap)
    scores = np.random.default_rng(seed).integers(0, 4, (3, rows * columns))  # many are equal
    expected = []
    for image in scores.tolist():
        index = image.index(max(image))
        expected.append((index // columns * stride + patch / 2, index % columns * stride + patch / 2))
    patches = Patches(grid=(rows, columns), patch_size=patch, stride=stride, image_size=224)
    assert peak_centres(torch.tensor(scores).float(), patches) == expected


def test_a_peak_hits_any_part_and_an_image_without_parts_is_no_miss():
    centres = [(8.0, 8.0)] * 4
    parts = [[(30, 30, 40, 40), (0, 0, 9, 9)], [(9, 9, 20, 20)], [], [(0, 0, 8, 8)]]
    assert pointing_hits(centres, parts) == [True, False, None, False]
    assert pointing_hits(centres, parts, tolerance=2) == [True, True, None, True]


def test_heat_on_a_part_is_all_inside_and_heat_beside_it_is_not():
    inside = torch.stack([mask_of([(2, 2, 4, 6)], 8)] * 3)
    on = inside[0].double()
    heat = torch.stack([on, 1 - on, on + on.flip(0)]) * 5 - 3  # where the scale begins does not matter
    assert heat_inside(heat, inside).tolist() == pytest.approx([1, 0, 0.5])


def test_of_an_even_map_parts_have_their_share_of_the_pixels():
    assert heat_inside(torch.full((1, 8, 8), 0.3), mask_of([(0, 0, 4, 4)], 8)[None]).tolist() == [0.25]


@given(seed=st.integers(0, 2**31))
@settings(max_examples=30, deadline=None)
def test_heat_inside_adds_up_pixel_by_pixel(seed):
    rng = np.random.default_rng(seed)
    heat, inside = rng.standard_normal((2, 5, 5)), rng.random((2, 5, 5)) < 0.4
    for image, mask, found in zip(
        heat, inside, heat_inside(torch.tensor(heat), torch.tensor(inside)).tolist(), strict=True
    ):
        cells = [(y, x) for y in range(5) for x in range(5)]
        coldest = min(image[cell] for cell in cells)
        whole = sum(image[cell] - coldest for cell in cells)
        assert found == pytest.approx(sum(image[cell] - coldest for cell in cells if mask[cell]) / whole)


def test_random_scores_point_as_often_at_a_part_as_it_is_large():
    images, box = 3000, (0, 0, 32, 48)  # 2 × 3 of 4 × 4 patches
    scores = baseline_scores(images, 0, (4, 4))["random"]
    patches = Patches(grid=(4, 4), patch_size=16, stride=16, image_size=64)
    hits = pointing_hits(peak_centres(scores, patches), [[box]] * images)
    expected = 6 / 16
    assert abs(np.mean(hits) - expected) < 4 * (expected * (1 - expected) / images) ** 0.5


def test_random_scores_belong_to_the_image_however_images_are_batched():
    together = baseline_scores(5, 10, (3, 3))["random"]
    apart = torch.cat([baseline_scores(2, 10, (3, 3))["random"], baseline_scores(3, 12, (3, 3))["random"]])
    assert torch.equal(together, apart)
    assert len({tuple(row) for row in together.tolist()}) == 5


@pytest.mark.parametrize(("grid", "best"), [((3, 5), [7]), ((2, 2), [0, 1, 2, 3]), ((4, 3), [4, 7])])
def test_the_centre_scores_highest_in_the_middle(grid, best):
    scores = baseline_scores(1, 0, grid)["centre"][0]
    assert torch.nonzero(scores == scores.max()).flatten().tolist() == best
