"""Top-1, top-5, classes and confusions, against loops; shards are complete or refused."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from helpers.small_training import colours
from hypothesis import given
from hypothesis import strategies as st

from fgbench.errors import FgbenchError
from fgbench.results.records import AccuracyRow
from fgbench.training.metrics import Predictions, merge
from fgbench.training.rows import predictions_row


def predictions(seed: int, images: int, classes: int) -> Predictions:
    draw = np.random.default_rng(seed)
    ranked = np.stack([draw.permutation(classes)[:5] for _ in range(images)])
    return Predictions(ranked=ranked, targets=draw.integers(0, classes, images), indices=np.arange(images))


@given(seed=st.integers(0, 99), images=st.integers(1, 40), classes=st.integers(2, 12))
def test_figures_are_those_of_a_loop(seed, images, classes):
    found, names = predictions(seed, images, classes), [f"c{index}" for index in range(classes)]
    pairs = list(zip(found.ranked.tolist(), found.targets.tolist(), strict=True))
    assert found.top1_percent == pytest.approx(100 * sum(r[0] == t for r, t in pairs) / images)
    top5 = 100 * sum(t in r for r, t in pairs) / images
    assert found.top5_percent == (pytest.approx(top5) if classes >= 5 else None)
    for index, row in enumerate(found.per_class(names)):
        own = [r[0] == t for r, t in pairs if t == index]
        assert row["images"] == len(own)
        assert row["top1_percent"] == (pytest.approx(100 * sum(own) / len(own)) if own else None)
    wrong = Counter((names[t], names[r[0]]) for r, t in pairs if r[0] != t)
    rows = found.confusions(names)
    assert {(row["class"], row["taken_for"]): row["images"] for row in rows} == dict(wrong)
    assert [row["images"] for row in rows] == sorted(wrong.values(), reverse=True)


@given(seed=st.integers(0, 99), images=st.integers(2, 40), shards=st.integers(1, 5), lost=st.booleans())
def test_shards_are_put_together_in_order(seed, images, shards, lost):
    whole = predictions(seed, images, 7)
    unreadable = {images // 2} if lost else set()
    pieces = []
    for place in range(shards):
        own = np.array([i for i in range(place, images, shards) if i not in unreadable], dtype=np.int64)
        ranked = whole.ranked[own] if len(own) else np.empty((0, 0), dtype=np.int64)
        mine = frozenset(unreadable) if place == 0 else frozenset()
        pieces.append(
            Predictions(ranked=ranked, targets=whole.targets[own], indices=own, unreadable=mine, seconds=float(place))
        )
    merged = merge(pieces[::-1], images)
    kept = [index for index in range(images) if index not in unreadable]
    assert merged.indices.tolist() == kept
    assert np.array_equal(merged.ranked, whole.ranked[kept])
    assert (merged.unreadable, merged.seconds) == (frozenset(unreadable), shards - 1)


@pytest.mark.parametrize("indices", [[0, 1, 1], [0, 2], [0, 1, 2, 3]])
def test_an_image_twice_or_not_at_all_is_an_error(indices):
    found = Predictions(
        ranked=np.zeros((len(indices), 5), dtype=np.int64),
        targets=np.zeros(len(indices), dtype=np.int64),
        indices=np.array(indices),
    )
    with pytest.raises(FgbenchError, match=f"each of 3 images .* that came back: {len(indices)}"):
        merge([found], 3)


def test_the_row_of_predictions_has_every_test_image_in_its_place():
    split = colours(classes=4, test=6).test
    found = Predictions(
        ranked=np.array([[3, 0], [1, 0], [2, 1], [0, 1]]),
        targets=np.array([0, 1, 3, 0]),
        indices=np.array([0, 1, 3, 4]),
        unreadable=frozenset({2, 5}),
    )
    run = AccuracyRow(
        **{"model": "vit", "selector": None, "dataset": "colours", "image_size": 32, "seed": 1, "lr": 0.1, "epochs": 1},
        **{"top1_percent": 25.0, "top5_percent": None, "images": 4, "seconds": 1.0, "checkpoint": None},
    )
    row = predictions_row(run, "the key", split, found)
    predicted, targets = row.classes()
    assert predicted.tolist() == [3, 1, -1, 2, 0, -1]
    assert targets.tolist() == list(split.targets)
    assert (row.run, row.images, row.seed, row.model) == ("the key", 6, 1, "vit")
    other = predictions_row(run, "the key", colours(classes=3, test=6).test, found)
    assert other.test_set != row.test_set
