from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from fgbench_selectors import FeaturesError, FgbenchError, crop_resize, top_k_boxes


def reference_box(scores: np.ndarray, columns: int, k: int, patch: int, stride: int, rule: str) -> list[int]:
    best = sorted(range(len(scores)), key=lambda j: (-scores[j], j))[:k]
    ends = []
    for places in ([j // columns for j in best], [j % columns for j in best]):
        first, last = min(places) * stride, max(places) * stride
        ends.append((first, last + patch if rule == "enclosing" else max(last, first + patch)))
    (y0, y1), (x0, x1) = ends
    return [y0, x0, y1, x1]


@pytest.mark.parametrize("rule", ["released", "enclosing"])
@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_boxes_follow_the_rule_ties_included(rule, data):
    rows, columns = data.draw(st.integers(1, 7)), data.draw(st.integers(1, 7))
    k = data.draw(st.integers(1, rows * columns))
    patch = data.draw(st.sampled_from([14, 16]))
    stride = data.draw(st.sampled_from([None, patch - 4]))
    levels = st.integers(0, data.draw(st.sampled_from([0, 2, 1000])))  # all equal, many ties, hardly any
    scores = data.draw(st.lists(st.lists(levels, min_size=rows * columns, max_size=rows * columns), min_size=1))
    boxes = top_k_boxes(torch.tensor(scores).float(), (rows, columns), k, patch, rule, stride=stride)
    expected = [reference_box(np.array(s), columns, k, patch, stride or patch, rule) for s in scores]
    assert boxes.tolist() == expected


def test_the_released_rule_leaves_out_the_last_row_and_column_unless_they_are_the_only_ones():
    scores = torch.zeros(2, 16)
    scores[0, [5, 10]] = 1  # (1, 1) and (2, 2)
    scores[1, [5, 6]] = 1  # (1, 1) and (1, 2): one row
    assert top_k_boxes(scores, (4, 4), 2, 16).tolist() == [[16, 16, 32, 32], [16, 16, 32, 32]]
    assert top_k_boxes(scores, (4, 4), 2, 16, "enclosing").tolist() == [[16, 16, 48, 48], [16, 16, 32, 48]]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((torch.zeros(1, 2, 16), (4, 4), 1, 16), r"scores must be \(B, 16\)"),
        ((torch.zeros(1, 15), (4, 4), 1, 16), r"scores must be \(B, 16\)"),
        ((torch.zeros(1, 16), (4, 4), 0, 16), "k must lie between"),
        ((torch.zeros(1, 16), (4, 4), 17, 16), "k must lie between"),
        ((torch.zeros(1, 16), (4, 4), 1, 16, "tight"), "unknown box rule"),
    ],
)
def test_boxes_refuse_what_does_not_fit(arguments, message):
    with pytest.raises(FgbenchError, match=message):
        top_k_boxes(*arguments)


@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_crops_equal_interpolating_every_slice(data):
    batch, channels = data.draw(st.integers(1, 4)), data.draw(st.integers(1, 3))
    height, width = data.draw(st.integers(2, 40)), data.draw(st.integers(2, 40))
    size = data.draw(st.one_of(st.integers(1, 50), st.tuples(st.integers(1, 50), st.integers(1, 50))))
    images = torch.rand(batch, channels, height, width, generator=torch.Generator().manual_seed(0)).double()
    boxes = []
    for _ in range(batch):
        y0, x0 = data.draw(st.integers(0, height - 1)), data.draw(st.integers(0, width - 1))
        boxes.append([y0, x0, data.draw(st.integers(y0 + 1, height)), data.draw(st.integers(x0 + 1, width))])
    crops = crop_resize(images, torch.tensor(boxes), size)
    for image, (y0, x0, y1, x1), crop in zip(images, boxes, crops, strict=True):
        expected = functional.interpolate(image[None, :, y0:y1, x0:x1], size, mode="bilinear", align_corners=True)
        torch.testing.assert_close(crop, expected[0], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16], ids=str)
def test_crops_in_every_dtype(dtype):
    images = torch.rand(2, 3, 64, 64).to(dtype)
    boxes = torch.tensor([[0, 0, 64, 64], [16, 32, 48, 64]])
    expected = functional.interpolate(images[1:, :, 16:48, 32:64].float(), 64, mode="bilinear", align_corners=True)
    crops = crop_resize(images, boxes, 64)
    assert crops.dtype == dtype
    torch.testing.assert_close(crops[:1], images[:1])
    torch.testing.assert_close(crops[1:], expected.to(dtype), rtol=1e-2 if dtype != torch.float32 else 1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("box", "same_as"),
    [
        ([2, 3, 2, 3], [2, 3, 3, 4]),  # empty
        ([5, 3, 2, 6], [5, 3, 6, 6]),  # inverted
        ([-4, -1, 3, 2], [0, 0, 3, 2]),  # reaches beyond the upper left corner
        ([5, 6, 12, 99], [5, 6, 8, 8]),  # and beyond the lower right one
        ([9, 9, 12, 12], [7, 7, 8, 8]),  # lies outside
    ],
)
def test_a_box_is_cut_to_the_image_and_holds_a_pixel_at_least(box, same_as):
    images = torch.rand(1, 2, 8, 8)
    crops = crop_resize(images, torch.tensor([box]), 5)
    torch.testing.assert_close(crops, crop_resize(images, torch.tensor([same_as]), 5), rtol=0, atol=0)


def test_gradient_flows_to_the_pixels_of_the_box_alone():
    images = torch.rand(1, 1, 8, 8, requires_grad=True)
    crop_resize(images, torch.tensor([[2, 3, 5, 7]]), 8).sum().backward()
    touched = images.grad[0, 0].nonzero()
    assert touched.min(0).values.tolist() == [2, 3]
    assert touched.max(0).values.tolist() == [4, 6]


def test_crops_run_without_data_and_so_without_reading_boxes_on_the_host():
    images = torch.empty(4, 3, 224, 224, device="meta")
    boxes = top_k_boxes(torch.empty(4, 196, device="meta"), (14, 14), 8, 16)
    assert crop_resize(images, boxes, 224).shape == images.shape


@pytest.mark.parametrize(
    ("images", "boxes", "size", "message"),
    [
        (torch.zeros(3, 8, 8), torch.zeros(1, 4, dtype=torch.long), 8, "images must be"),
        (torch.zeros(1, 3, 8, 8), torch.zeros(2, 4, dtype=torch.long), 8, "boxes must be whole numbers"),
        (torch.zeros(1, 3, 8, 8), torch.zeros(1, 4), 8, "boxes must be whole numbers"),
        (torch.zeros(1, 3, 8, 8).byte(), torch.zeros(1, 4).long(), 8, "must be floating point, got 'torch.uint8'"),
    ],
)
def test_crops_refuse_what_does_not_fit(images, boxes, size, message):
    with pytest.raises(FeaturesError, match=message):
        crop_resize(images, boxes, size)
