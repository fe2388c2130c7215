from __future__ import annotations

import pytest
import torch
from helpers.ranking import assert_same_selection, assert_selects, defined
from hypothesis import given
from hypothesis import strategies as st

SCORES = torch.tensor([0.9, 0.5, 0.5 + 1e-7, 0.1, 0.7])


@pytest.mark.parametrize("index", [[0, 4, 2, 1], [0, 4, 1, 2]])
def test_a_near_tie_may_be_swapped(index):
    assert_selects(SCORES, index, 1e-6)
    assert_same_selection(SCORES, [0, 4, 2, 1], index, 1e-6)


@pytest.mark.parametrize("last", [1, 2])
def test_either_of_a_near_tie_may_be_the_last_one_that_is_selected(last):
    assert_same_selection(SCORES, [0, 4, 2], [0, 4, last], 1e-6)


@pytest.mark.parametrize(
    ("index", "words"),
    [
        ([4, 0, 2], "4 is selected in place 0 before 0, whose score is higher by 0.2"),
        ([0, 2, 4], "2 is selected in place 1 before 4"),
        ([0, 4, 3], "3 is selected in place 2 before 2"),
        ([0, 2, 1], "before 4"),
        ([0, 4, 4], "holds one twice"),
        ([0, 4, 5], "are not all among 5 scores"),
    ],
)
def test_a_real_difference_is_refused(index, words):
    with pytest.raises(AssertionError, match=words):
        assert_same_selection(SCORES, [0, 4, 2], index, 1e-6)


def test_near_ties_are_counted_pair_by_pair_and_not_added_up():
    """Each score is a near-tie of the next, and the first is none of the last."""
    ladder = torch.tensor([0.0, 1.0, 2.0, 3.0])
    assert_same_selection(ladder, [3, 2, 1, 0], [2, 3, 0, 1], 1.5)
    with pytest.raises(AssertionError, match="1 is selected in place 1 before 3, whose score is higher by 2"):
        assert_same_selection(ladder, [3, 2, 1, 0], [0, 1, 2, 3], 1.5)


def test_a_place_of_one_row_is_none_of_another():
    rows = torch.stack([SCORES, SCORES.flip(0)])
    assert_same_selection(rows, [[0, 4], [4, 0]], torch.tensor([[0, 4], [4, 0]]), 1e-6)
    with pytest.raises(AssertionError, match="is selected in place 0"):
        assert_same_selection(rows, [[0, 4], [4, 0]], [[0, 4], [0, 4]], 1e-6)


@pytest.mark.parametrize(("other", "scores"), [([0], SCORES), ([0, 4], SCORES[None]), ([4, 0], SCORES * float("nan"))])
def test_what_cannot_be_compared_is_refused(other, scores):
    with pytest.raises(AssertionError):
        assert_same_selection(scores, [0, 4], other, 1e-6)


@given(
    values=st.lists(st.integers(0, 40), min_size=1, max_size=12),
    noise=st.lists(st.sampled_from([-0.4, 0, 0.4]), min_size=12, max_size=12),
    data=st.data(),
)
def test_what_rounding_makes_of_an_order_is_accepted_and_every_other_order_refused(values, noise, data):
    k = data.draw(st.integers(1, len(values)))
    scores = torch.tensor(values, dtype=torch.float64)
    rounded = (scores + torch.tensor(noise[: len(values)])).sort(descending=True).indices[:k]
    exact = scores.sort(descending=True, stable=True).indices[:k]
    assert_same_selection(scores, exact, rounded, 0.9)  # each of the two may be off by 0.4
    order = data.draw(st.permutations(range(len(values))))
    chosen, rest = order[:k], order[k:]
    right = all(values[later] - values[chosen[i]] <= 0.9 for i in range(k) for later in [*chosen[i + 1 :], *rest])
    if right:
        assert_same_selection(scores, exact, chosen, 0.9)
    else:
        with pytest.raises(AssertionError):
            assert_same_selection(scores, exact, chosen, 0.9)


def test_the_places_that_scores_define_are_counted():
    assert defined(SCORES, 4, 1e-6) == 2
    assert defined(SCORES, 2, 1e-6) == 2
    assert defined(SCORES, 5, 1e-6) == 3
    assert defined(SCORES, 4, 1e-8) == 4
    assert defined(torch.zeros(2, 5), 3, 1e-8) == 0
