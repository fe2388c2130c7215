from __future__ import annotations

import hashlib
import subprocess
import sys
from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fgbench.datasets.build import datasets
from fgbench.datasets.dataset import DatasetError
from fgbench.datasets.synthetic import dataset as module
from fgbench.datasets.synthetic.dataset import synthetic

PROGRAM = """
import hashlib
from fgbench.datasets.synthetic.dataset import synthetic
opened = synthetic(classes=6, train_images=12, test_images=8, side=64, seed=5)
print(hashlib.sha256(b"".join(opened.train.open(i).tobytes() for i in range(12))).hexdigest())
"""

# Mean brightness of sixteenths of two images.
FIRST = [[110, 102, 172, 173], [115, 109, 143, 119], [132, 123, 126, 179], [119, 145, 109, 141]]
EIGHTH = [[104, 102, 173, 171], [128, 112, 148, 142], [112, 109, 126, 108], [117, 132, 86, 121]]

options = st.fixed_dictionaries(
    {"classes": st.integers(2, 30), "side": st.integers(32, 96), "seed": st.integers(0, 2**64)}
).flatmap(
    lambda chosen: st.fixed_dictionaries(
        {
            **{name: st.just(value) for name, value in chosen.items()},
            "train_images": st.integers(chosen["classes"], 100),
            "test_images": st.integers(chosen["classes"], 100),
        }
    )
)


def test_it_is_found_by_name():
    assert datasets.load("synthetic") is synthetic


@settings(max_examples=40, deadline=None)
@given(chosen=options, data=st.data())
def test_an_image_follows_from_its_seed_split_and_index_alone(chosen, data):
    one = synthetic(None, **chosen)
    module._kept.cache_clear()
    other = synthetic(None, **chosen)
    index = data.draw(st.integers(0, chosen["train_images"] - 1))
    for earlier in data.draw(st.lists(st.integers(0, chosen["train_images"] - 1), max_size=3)):
        other.train.open(earlier)
        other.test.open(earlier % chosen["test_images"])
    first, second = one.train.open(index), other.train.open(index)
    assert first.tobytes() == second.tobytes() == other.train.open(index).tobytes()
    assert (first.mode, first.size) == ("RGB", (chosen["side"], chosen["side"]))
    assert one.train.parts(index) == other.train.parts(index)


@settings(max_examples=40, deadline=None)
@given(chosen=options)
def test_classes_are_balanced_and_named(chosen):
    made = synthetic(None, **chosen)
    assert made.num_classes == chosen["classes"] == len(set(made.class_names))
    for split, images in ((made.train, chosen["train_images"]), (made.test, chosen["test_images"])):
        counts = Counter(split.targets)
        assert len(split) == images == counts.total()
        assert sorted(counts) == list(range(chosen["classes"]))
        assert max(counts.values()) - min(counts.values()) <= 1


@settings(max_examples=40, deadline=None)
@given(chosen=options, data=st.data())
def test_boxes_lie_in_the_image(chosen, data):
    split = synthetic(None, **chosen).test
    boxes = split.parts(data.draw(st.integers(0, len(split) - 1)))
    assert len(boxes) == 2
    for y0, x0, y1, x1 in boxes:
        assert 0 <= y0 < y1 <= chosen["side"]
        assert 0 <= x0 < x1 <= chosen["side"]


def test_more_images_leave_the_earlier_ones_as_they_were():
    few = synthetic(train_images=20)
    module._kept.cache_clear()
    many = synthetic(train_images=2000)
    assert all(few.train.open(i).tobytes() == many.train.open(i).tobytes() for i in range(20))


def test_train_test_and_seeds_have_no_image_in_common():
    made = [*(synthetic(seed=seed).train for seed in (0, 1)), *(synthetic(seed=seed).test for seed in (0, 1))]
    shown = [split.open(index).tobytes() for split in made for index in range(30)]
    assert len(set(shown)) == len(shown)


def test_one_class_is_drawn_in_many_ways():
    split = synthetic().train
    same = [np.asarray(split.open(index), dtype=int) for index, target in enumerate(split.targets[:200]) if target == 3]
    assert all(np.abs(one - other).mean() > 10 for one, other in pairwise(same))


def test_the_default_images_are_those_that_published_figures_were_measured_on():
    """Drawn in another way, earlier accuracies could not be compared any more; Pillow itself may move an edge."""
    made = synthetic()
    for split, index, glance in ((made.train, 0, FIRST), (made.test, 7, EIGHTH)):
        grey = np.asarray(split.open(index).convert("L"), dtype=float).reshape(4, 32, 4, 32).mean(axis=(1, 3))
        assert np.abs(grey - glance).max() < 2
    assert made.class_names[7] == "dotted red triangle wing, eyed blue star head"


@pytest.mark.slow
def test_another_process_draws_the_same_pixels():
    opened = synthetic(classes=6, train_images=12, test_images=8, side=64, seed=5)
    backwards = [opened.train.open(index).tobytes() for index in reversed(range(12))]
    printed = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True).stdout
    assert printed.strip() == hashlib.sha256(b"".join(reversed(backwards))).hexdigest()


def test_kept_images_stay_within_their_limit_and_change_nothing(monkeypatch):
    monkeypatch.setattr(module, "KEPT_BYTES", 3 * 64 * 64 * 2)
    module._kept.cache_clear()
    split = synthetic(side=64).train
    first = [split.open(index).tobytes() for index in range(4)]
    assert [split.open(index).tobytes() for index in range(4)] == first
    assert len(split._kept) == 2


def test_runs_of_a_process_share_what_is_drawn(monkeypatch):
    first = synthetic(side=40, train_images=30).train.open(3).tobytes()
    monkeypatch.setattr(module, "draw", None)
    assert synthetic(side=40, train_images=60).train.open(3).tobytes() == first
    for other in ({"side": 48}, {"side": 40, "seed": 1}, {"side": 40, "classes": 6}):
        with pytest.raises(TypeError):
            synthetic(train_images=30, **other).train.open(3)
    with pytest.raises(TypeError):
        synthetic(side=40).test.open(3)


def test_an_image_that_was_changed_by_whoever_opened_it_is_not_kept_so():
    split = synthetic(side=64).train
    before = split.open(0).tobytes()
    split.open(0).putpixel((0, 0), (1, 2, 3))
    split.open(0).paste((9, 9, 9), (0, 0, 64, 64))
    assert split.open(0).tobytes() == before


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"classes": 1}, "classes must be a whole number from 2 to 4096, got 1"),
        ({"classes": 4097}, "classes must be a whole number from 2 to 4096"),
        ({"classes": 20.0}, "classes must be a whole number"),
        ({"classes": True}, "classes must be a whole number"),
        ({"train_images": 19}, "train_images must be a whole number from 20"),
        ({"test_images": 0}, "test_images must be a whole number from 20"),
        ({"side": 31}, "side must be a whole number from 32 to 1024"),
        ({"side": 1025}, "side must be a whole number from 32 to 1024"),
        ({"seed": -1}, "seed must be a whole number from 0"),
    ],
)
def test_nonsense_is_refused_in_one_line(wrong, words):
    with pytest.raises(DatasetError) as raised:
        synthetic(None, **wrong)
    assert words in str(raised.value)
    assert "\n" not in str(raised.value)
