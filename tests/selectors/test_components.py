"""Components and windows against scipy and plain loops."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from fgbench_selectors import FgbenchError
from fgbench_selectors.components import component_boxes, label_components, peak_boxes
from fgbench_selectors.regions import window_boxes

EIGHT = np.ones((3, 3))
CROSS = ndimage.generate_binary_structure(2, 1)


def expected_labels(mask: np.ndarray) -> np.ndarray:
    found, count = ndimage.label(mask, structure=EIGHT)
    labels = np.full(mask.size, mask.size)
    for number in range(1, count + 1):
        places = np.flatnonzero(found.ravel() == number)
        labels[places] = places[0]
    return labels


def spiral(side: int) -> np.ndarray:
    """One thread that winds to the middle: the longest way from its first pixel to its last."""
    mask = np.zeros((side, side), dtype=bool)
    row, column, direction = 0, 0, 0
    steps = [(0, 1), (1, 0), (0, -1), (-1, 0)]
    mask[0, 0] = True

    def free(y: int, x: int) -> bool:
        return 0 <= y < side and 0 <= x < side and not mask[y, x]

    for _ in range(side * side):
        for turn in range(2):
            dy, dx = steps[(direction + turn) % 4]
            ahead, two = (row + dy, column + dx), (row + 2 * dy, column + 2 * dx)
            inside = 0 <= two[0] < side and 0 <= two[1] < side
            if free(*ahead) and (not inside or not mask[two]):
                direction, (row, column) = (direction + turn) % 4, ahead
                mask[row, column] = True
                break
        else:
            break
    return mask


def comb(side: int) -> np.ndarray:
    """Teeth that only meet in the last row: labels travel all the way down and up again."""
    mask = np.zeros((side, side), dtype=bool)
    mask[:, ::2] = True
    mask[-1] = True
    return mask


@given(st.integers(1, 40), st.integers(1, 40), st.floats(0.05, 0.95), st.integers(0, 10**6))
@settings(max_examples=150, deadline=None)
def test_labels_are_scipy_s_components(rows, columns, share, seed):
    mask = np.random.default_rng(seed).random((rows, columns)) < share
    labels = label_components(torch.from_numpy(mask)[None])[0]
    assert labels.tolist() == expected_labels(mask).tolist()


@pytest.mark.parametrize("side", [2, 7, 14, 28, 37, 64, 73])
@pytest.mark.parametrize("shape", [spiral, comb])
@pytest.mark.parametrize("turns", range(4))
def test_the_longest_ways_are_walked_to_their_end(side, shape, turns):
    mask = np.rot90(shape(side), turns).copy()
    labels = label_components(torch.from_numpy(mask)[None])[0]
    assert labels.tolist() == expected_labels(mask).tolist()


def expected_box(scores: np.ndarray, patch: int, size: int, threshold: float, choose: str, close: bool, rule: str):
    mask = scores > threshold * scores.mean()
    if close:
        mask = ndimage.binary_erosion(ndimage.binary_dilation(mask, CROSS), CROSS, border_value=1)
    found, count = ndimage.label(mask, structure=EIGHT)
    if count == 0:
        return [0, 0, size, size]
    numbers = range(1, count + 1)
    worth = [(found == n).sum() if choose == "largest" else scores[found == n].max() for n in numbers]
    rows, columns = np.nonzero(found == 1 + int(np.argmax(worth)))
    early = 1 if rule == "released" else 0
    return [
        max(rows.min() * patch - early, 0),
        max(columns.min() * patch - early, 0),
        (rows.max() + 1) * patch,
        (columns.max() + 1) * patch,
    ]


@given(
    st.integers(2, 20),
    st.integers(0, 10**6),
    st.sampled_from([0.5, 1.0, 1.2, 3.0]),
    st.sampled_from(["largest", "peak"]),
    st.booleans(),
    st.sampled_from(["released", "enclosing"]),
)
@settings(max_examples=150, deadline=None)
def test_boxes_hold_the_component_that_scipy_finds(side, seed, threshold, choose, close, rule):
    scores = np.random.default_rng(seed).random((3, side, side)).astype(np.float32) ** 3
    batch = torch.from_numpy(scores).flatten(1)
    options = {"threshold": threshold, "choose": choose, "close": close, "rule": rule}
    boxes = component_boxes(batch, (side, side), 16, 16 * side, **options)
    for box, image in zip(boxes.tolist(), scores, strict=True):
        assert box == expected_box(image, 16, 16 * side, threshold, choose, close, rule)


def test_an_empty_mask_is_the_whole_image():
    assert component_boxes(torch.ones(2, 9), (3, 3), 16, 50).tolist() == [[0, 0, 50, 50]] * 2


def test_among_equal_components_the_first_one_in_reading_order_wins():
    scores = torch.zeros(1, 25)
    scores[0, [4, 20]] = 1.0
    assert component_boxes(scores, (5, 5), 10, 50, rule="enclosing").tolist() == [[0, 40, 10, 50]]


def test_overlapping_patches_lie_their_stride_apart():
    scores = torch.zeros(1, 16)
    scores[0, [5, 6]] = 1.0
    assert component_boxes(scores, (4, 4), 16, 52, rule="enclosing", stride=12).tolist() == [[12, 12, 28, 40]]


@pytest.mark.parametrize(
    ("options", "why"),
    [({"choose": "best"}, "choice of a component"), ({"rule": "exact"}, "box rule")],
)
def test_unknown_options_are_refused(options, why):
    with pytest.raises(FgbenchError, match=why):
        component_boxes(torch.ones(1, 9), (3, 3), 16, 48, **options)


def test_scores_of_another_shape_are_refused():
    with pytest.raises(FgbenchError, match=r"\(B, 9\)"):
        component_boxes(torch.ones(1, 8), (3, 3), 16, 48)


def iou(a, b):
    high = max(0, min(a[2], b[2]) - max(a[0], b[0]))
    wide = max(0, min(a[3], b[3]) - max(a[1], b[1]))
    return high * wide / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - high * wide)


@given(st.integers(4, 16), st.integers(0, 10**6))
@settings(max_examples=60, deadline=None)
def test_windows_are_the_best_that_hardly_overlap(side, seed):
    size, window = 16 * side, 4 * side + 3
    scores = np.random.default_rng(seed).random((side, side)).astype(np.float32)
    span = max(1, window * side // size)
    every = []
    for row in range(side - span + 1):
        for column in range(side - span + 1):
            y, x = min(row * 16, size - window), min(column * 16, size - window)
            every.append((scores[row : row + span, column : column + span].mean(), (y, x, y + window, x + window)))
    first = max(every, key=lambda item: item[0])
    second = max((item for item in every if iou(item[1], first[1]) <= 0.1), key=lambda item: item[0])
    boxes = window_boxes(torch.from_numpy(scores).flatten()[None], (side, side), size, window)
    assert boxes[0].tolist() == [list(first[1]), list(second[1])]


def test_where_every_window_overlaps_the_least_overlapping_one_is_taken():
    scores = torch.zeros(1, 16)
    scores[0, 0] = 1.0
    boxes = window_boxes(scores, (4, 4), 64, 48)
    assert boxes[0].tolist() == [[0, 0, 48, 48], [16, 16, 64, 64]]


def test_a_window_larger_than_the_image_is_refused():
    with pytest.raises(FgbenchError, match="a window must fit the image"):
        window_boxes(torch.ones(1, 16), (4, 4), 64, 65)


def expected_peak_box(heat: np.ndarray, threshold: float, min_area: int) -> list[int]:
    """The box whose highest value is the largest, of the components that are large enough."""
    mask = heat > threshold * heat.mean()
    mask = ndimage.binary_erosion(ndimage.binary_dilation(mask, CROSS), CROSS, border_value=1)
    found, _ = ndimage.label(mask, structure=EIGHT)
    regions = ndimage.find_objects(found)
    kept = [(n, own) for n, own in enumerate(regions, start=1) if (found == n).sum() >= min_area]
    if not kept:
        return [0, 0, *heat.shape]
    # Among equals the component whose first pixel comes first in reading order.
    first = {n: int(np.flatnonzero(found.ravel() == n)[0]) for n, _ in kept}
    rows, columns = max(kept, key=lambda one: (heat[one[1]].max(), -first[one[0]]))[1]
    return [rows.start, columns.start, rows.stop, columns.stop]


@given(
    st.integers(1, 24),
    st.integers(1, 24),
    st.integers(0, 10**6),
    st.sampled_from([0.5, 1.0, 2.0]),
    st.sampled_from([1, 2, 5, 30]),
)
@settings(max_examples=150, deadline=None)
def test_boxes_of_the_highest_peak_are_those_that_scipy_finds(rows, columns, seed, threshold, min_area):
    heat = np.random.default_rng(seed).integers(0, 6, (3, rows, columns)) ** 2.0  # whole numbers: equals, exact means
    boxes = peak_boxes(torch.from_numpy(heat), threshold=threshold, min_area=min_area)
    for box, image in zip(boxes.tolist(), heat, strict=True):
        assert box == expected_peak_box(image, threshold, min_area)


def test_the_peak_of_a_box_may_lie_outside_of_its_component():
    heat = torch.zeros(1, 9, 9)
    heat[0, 0, :], heat[0, :, 0] = 2.0, 2.0  # an angle, whose box is everything
    heat[0, 4:7, 4:7] = 4.0
    assert peak_boxes(heat, min_area=9).tolist() == [[0, 0, 9, 9]]  # both boxes hold the peak: the first one
    heat[0, 0, :], heat[0, :, 0] = 0.0, 0.0
    assert peak_boxes(heat, min_area=9).tolist() == [[4, 4, 7, 7]]
    assert peak_boxes(heat, min_area=10).tolist() == [[0, 0, 9, 9]], "none is left: the whole map"


def expected_windows(heat: np.ndarray, size: int, window: int, max_iou: float) -> list[list[int]]:
    """The best window, and the best that overlaps it by at most ``max_iou`` where k cells are k + 1 wide."""
    side = len(heat)
    cells = window * side // size
    places = [(r, c) for r in range(side - cells + 1) for c in range(side - cells + 1)]
    means = {(r, c): heat[r : r + cells, c : c + cells].mean() for r, c in places}

    def overlap(a: tuple[int, int], b: tuple[int, int]) -> float:
        height, width = (max(0, min(a[i], b[i]) + cells - max(a[i], b[i]) + 1) for i in (0, 1))
        return height * width / (2 * (cells + 1) ** 2 - height * width)

    best = max(places, key=means.__getitem__)
    apart = [place for place in places if overlap(place, best) <= max_iou]
    both = [best, max(apart, key=means.__getitem__)]
    starts = [[min(int(place * size / side), size - window) for place in pair] for pair in both]
    return [[y, x, y + window, x + window] for y, x in starts]


@given(st.integers(8, 20), st.integers(0, 10**6), st.sampled_from([0.0, 0.1, 0.3]))
@settings(max_examples=60, deadline=None)
def test_windows_whose_overlap_is_measured_in_cells_are_those_of_plain_loops(side, seed, max_iou):
    size, window = side * 3, side // 4 * 3  # k = side // 4 cells: wherever the best one lies, another one fits
    heat = np.random.default_rng(seed).random((side, side))
    boxes = window_boxes(
        torch.from_numpy(heat).flatten()[None], (side, side), size, window, 2, max_iou, overlap="cells"
    )
    assert boxes[0].tolist() == expected_windows(heat, size, window, max_iou)


def test_both_ways_to_measure_an_overlap_can_choose_differently():
    heat = torch.zeros(1, 12, 12)
    heat[0, 2:6, 2:6], heat[0, 2:6, 6:10] = 1.0, 0.5  # side by side: apart in pixels; k + 1 cells share a column
    places = [
        window_boxes(heat.flatten(1), (12, 12), 36, 12, 2, 0.1, overlap=kind)[0, 1] for kind in ("pixels", "cells")
    ]
    assert places[0].tolist() == [6, 18, 18, 30]
    assert places[1].tolist() != places[0].tolist()
    with pytest.raises(FgbenchError, match="way to measure an overlap"):
        window_boxes(heat.flatten(1), (12, 12), 36, 12, overlap="feet")
