from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fgbench.datasets.synthetic.classes import COLOURS, MARKINGS, MOST_CLASSES, PATTERNS, SHAPES, kinds, markings

seeds = st.integers(0, 2**40)


@given(seed=seeds)
def test_every_marking_is_there_once(seed):
    every = markings(np.random.default_rng(seed))
    assert len(every) == MARKINGS == len(set(every))


@given(classes=st.integers(2, 400), seed=seeds)
def test_classes_are_distinct(classes, seed):
    made = kinds(classes, seed)
    assert len(made) == len(set(made)) == len(set(map(str, made))) == classes


def test_as_many_classes_as_pairs_of_markings_are_distinct_too():
    assert len(set(kinds(MOST_CLASSES, 0))) == MOST_CLASSES


@given(classes=st.integers(9, 400), seed=seeds)
def test_no_attribute_of_a_part_belongs_to_one_class_alone(classes, seed):
    made = kinds(classes, seed)
    rows = made[: len(made) - len(made) % len({kind.wing for kind in made})]  # the last row may be cut short
    for part in ("wing", "head"):
        for attribute in ("shape", "colour", "pattern"):
            shared = Counter(getattr(getattr(kind, part), attribute) for kind in rows)
            assert min(shared.values()) >= 2


@given(seed=seeds)
def test_neighbouring_markings_differ_in_all_three_attributes(seed):
    every = markings(np.random.default_rng(seed))
    for i in range(0, len(every), len(COLOURS)):
        for attribute in ("shape", "colour", "pattern"):
            words = [getattr(marking, attribute) for marking in every[i : i + len(COLOURS)]]
            assert len(set(words)) == len(words)


def test_by_default_two_wing_markings_share_a_colour():
    wings = {kind.wing for kind in kinds(20, 0)}
    assert len({wing.colour for wing in wings}) < len(wings)


def test_another_seed_makes_other_classes():
    assert kinds(20, 0) == kinds(20, 0) != kinds(20, 1)


@pytest.mark.parametrize("words", [SHAPES, tuple(COLOURS), PATTERNS])
def test_words_are_of_their_own_kind(words):
    assert len(set(words)) == len(words) >= 4
