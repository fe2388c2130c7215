from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fgbench.explain.quality.figures import crop_quality

SIDE = 14


@st.composite
def boxes_inside(draw) -> tuple[int, int, int, int]:
    y0, x0 = draw(st.integers(0, SIDE - 1)), draw(st.integers(0, SIDE - 1))
    return y0, x0, draw(st.integers(y0 + 1, SIDE)), draw(st.integers(x0 + 1, SIDE))


def drawn(*boxes) -> np.ndarray:
    picture = np.zeros((SIDE, SIDE), dtype=bool)
    for y0, x0, y1, x1 in boxes:
        picture[y0:y1, x0:x1] = True
    return picture


@given(crop=boxes_inside(), parts=st.lists(boxes_inside(), min_size=1, max_size=5))
@settings(max_examples=200, deadline=None)
def test_a_crop_is_judged_as_pixels_counted_one_by_one_judge_it(crop, parts):
    cut, part = drawn(crop), drawn(*parts)
    rows, columns = np.flatnonzero(part.any(axis=1)), np.flatnonzero(part.any(axis=0))
    target = drawn((rows[0], columns[0], rows[-1] + 1, columns[-1] + 1))
    expected = (
        (cut & part).sum() / cut.sum(),
        (cut & target).sum() / (cut | target).sum(),
        (cut & part).sum() / part.sum(),
    )
    assert crop_quality(crop, parts) == pytest.approx(expected)
    assert crop_quality(crop, parts[::-1]) == pytest.approx(expected)  # whatever order parts are listed in


def test_the_part_itself_is_the_perfect_crop():
    assert crop_quality((2.5, 3, 6, 7.25), [(2.5, 3, 6, 7.25)]) == (1, 1, 1)


def test_a_crop_beside_the_part_finds_nothing():
    assert crop_quality((0, 0, 2, 2), [(2, 2, 4, 4)]) == (0, 0, 0)


def test_the_whole_image_has_every_part_and_is_mostly_something_else():
    assert crop_quality((0, 0, 10, 10), [(0, 0, 5, 5), (5, 5, 10, 10)]) == (0.5, 1, 1)


def test_without_parts_there_is_nothing_to_find_and_an_empty_crop_finds_nothing():
    assert crop_quality((0, 0, 2, 2), []) is None
    assert crop_quality((3, 3, 3, 3), [(0, 0, 4, 4)]) == (0, 0, 0)
