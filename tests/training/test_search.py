"""The learning rate is searched on disjoint subsets of the training images with all classes."""

from __future__ import annotations

import numpy as np
import pytest
from helpers.small_training import Colours
from hypothesis import given
from hypothesis import strategies as st

from fgbench.datasets.dataset import DatasetError
from fgbench.training.search import best_lr, search_subsets


@given(classes=st.integers(2, 9), images=st.integers(20, 200))
def test_parts_are_80_and_20_percent_of_every_class(classes, images):
    whole = Colours(classes, images, 1)
    first, rest = search_subsets(whole)
    assert sorted([*first.places, *rest.places]) == list(range(images))
    for target in range(classes):
        own = sum(each == target for each in whole.targets)
        assert sum(each == target for each in first.targets) == max(1, round(0.8 * own))
    assert (first.name(0), first.targets[0]) == (whole.name(first.places[0]), whole.targets[first.places[0]])
    assert np.array_equal(np.asarray(rest.open(0)), np.asarray(whole.open(rest.places[0])))
    assert rest.parts(0) is None


def test_a_large_set_is_searched_on_a_fifth():
    first, rest = search_subsets(Colours(10, 50_010, 1))
    assert (len(first), len(rest)) == (10_000, 40_010)


def test_one_image_per_class_cannot_be_split():
    with pytest.raises(DatasetError, match="3 training images are too few to search"):
        search_subsets(Colours(3, 3, 1))


def test_the_best_rate_is_the_most_accurate_and_of_equals_the_smallest():
    assert best_lr([(0.03, 10.0), (0.01, 70.5), (0.003, 70.4)]) == 0.01
    assert best_lr([(0.03, 70.0), (0.003, 70.0), (0.01, 70.0)]) == 0.003
