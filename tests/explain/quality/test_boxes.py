from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw
from torchvision.transforms.v2.functional import center_crop

from fgbench.errors import FgbenchError
from fgbench.explain.boxes import (
    InputGeometry,
    area,
    contains,
    enclosing,
    intersection,
    mask_of,
    union_area,
    visible,
)

SIDE = 12
whole_boxes = st.tuples(*[st.integers(-3, SIDE + 3)] * 4)


def drawn(boxes, size=SIDE) -> np.ndarray:
    """Boxes of whole pixels as a picture, pixel by pixel."""
    picture = np.zeros((size, size), dtype=bool)
    for y0, x0, y1, x1 in boxes:
        for y in range(max(y0, 0), min(y1, size)):
            for x in range(max(x0, 0), min(x1, size)):
                picture[y, x] = True
    return picture


@given(boxes=st.lists(whole_boxes, max_size=5))
@settings(max_examples=200, deadline=None)
def test_what_boxes_cover_is_what_a_drawing_of_them_covers(boxes):
    seen = visible(boxes, SIDE)
    picture = drawn(boxes)
    assert union_area(seen) == picture.sum()
    assert np.array_equal(mask_of(boxes, SIDE).numpy(), picture)
    assert len(seen) == sum(drawn([box]).any() for box in boxes)


@given(first=whole_boxes, second=whole_boxes)
@settings(max_examples=200, deadline=None)
def test_an_intersection_is_what_both_drawings_have(first, second):
    both = drawn([first], 40) & drawn([second], 40)
    inside = (0, 0, 40, 40)
    assert area(intersection(intersection(first, inside), second)) == both.sum()
    assert area(intersection(intersection(second, inside), first)) == both.sum()


def test_the_enclosing_box_touches_the_outermost_edges():
    assert enclosing([(3, 4, 5, 6), (1, 5, 4, 9)]) == (1, 4, 5, 9)


def test_a_point_on_the_far_edge_is_outside_and_tolerance_reaches_further():
    box = (2, 3, 4, 6)
    assert contains(box, 2, 3)
    assert not contains(box, 4, 3)
    assert not contains(box, 3, 6)
    assert contains(box, 4, 7.9, tolerance=2)
    assert not contains(box, 4, 8, tolerance=2)


@given(data=st.data())
@settings(max_examples=80, deadline=None)
def test_boxes_move_as_pillow_resizes_and_torchvision_crops(data):
    height, width = data.draw(st.integers(40, 160)), data.draw(st.integers(40, 160))
    resized = data.draw(st.integers(48, 120))
    size = data.draw(st.integers(32, resized))
    y0, x0 = data.draw(st.integers(0, height - 12)), data.draw(st.integers(0, width - 12))
    y1, x1 = data.draw(st.integers(y0 + 10, height)), data.draw(st.integers(x0 + 10, width))
    image = Image.new("L", (width, height))
    ImageDraw.Draw(image).rectangle((x0, y0, x1 - 1, y1 - 1), fill=255)
    picture = np.asarray(center_crop(image.resize((resized, resized), Image.Resampling.BILINEAR), [size, size]))
    lit = picture > 127
    moved = InputGeometry(picture=(height, width), resized=resized, size=size).to_input([(y0, x0, y1, x1)])
    if not lit.any():
        assert not moved or area(moved[0]) < size * 2  # at most a sliver along an edge
        return
    rows, columns = np.flatnonzero(lit.any(axis=1)), np.flatnonzero(lit.any(axis=0))
    expected = (rows[0], columns[0], rows[-1] + 1, columns[-1] + 1)
    assert np.abs(np.array(moved[0]) - expected).max() <= 1.5  # a corner is lit where the product of two shares is half


def test_a_box_in_the_border_that_is_cut_off_is_gone_and_one_across_it_is_clipped():
    boxes = [(0, 0, 10, 10), (0, 0, 30, 200), (50, 50, 50, 60)]
    assert InputGeometry(picture=(100, 200), resized=100, size=80).to_input(boxes) == [(0, 0, 20, 80)]


@pytest.mark.parametrize(("resized", "size", "offset"), [(7, 4, 2), (9, 4, 2), (8, 4, 2), (10, 3, 4)])
def test_half_a_pixel_is_cut_off_where_torchvision_cuts_it(resized, size, offset):
    picture = center_crop(Image.fromarray(np.arange(resized, dtype=np.uint8)[None].repeat(resized, 0)), [size, size])
    assert np.asarray(picture)[0, 0] == offset
    geometry = InputGeometry(picture=(resized, resized), resized=resized, size=size)
    ((y0, x0, _, _),) = geometry.to_input([(offset, offset, resized, resized)])
    assert (y0, x0) == (0, 0)


@pytest.mark.parametrize(("picture", "resized", "size"), [((10, 10), 20, 21), ((10, 10), 20, 0), ((0, 10), 20, 10)])
def test_a_crop_that_cannot_be_is_refused(picture, resized, size):
    with pytest.raises(FgbenchError, match="cannot cut"):
        InputGeometry(picture=picture, resized=resized, size=size)
