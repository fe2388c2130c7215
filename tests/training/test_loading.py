"""Batches: the same whatever reads them, every image once, and pictures that cannot be read."""

from __future__ import annotations

import pytest
import torch
from helpers.small_training import SIDE, Broken, Colours, colours, on_disk
from hypothesis import given
from hypothesis import strategies as st

from fgbench.datasets.dataset import DatasetError
from fgbench.datasets.transforms import eval_transform, train_transform
from fgbench.errors import FgbenchError
from fgbench.results.recipe import AUGREG
from fgbench.training.loading import Images, Order, check_unreadable, eval_batches, load, training_batches

counts = st.integers(1, 200)


@given(images=counts, batch_size=st.integers(1, 64), processes=st.integers(1, 9))
def test_processes_share_the_batches_of_a_test(images, batch_size, processes):
    whole = eval_batches(images, batch_size)
    shares = [eval_batches(images, batch_size, process=p, processes=processes) for p in range(processes)]
    assert sorted(batch for share in shares for batch in share) == whole  # whole batches: the same logits
    assert [index for batch in whole for index in batch] == list(range(images))


@given(images=counts, steps_of=st.integers(1, 8), parts=st.integers(1, 3), processes=st.integers(1, 4))
def test_processes_share_the_steps_of_training(images, steps_of, parts, processes):
    batch_size = steps_of * parts * processes
    if images < parts * processes:
        with pytest.raises(FgbenchError, match="cannot be shared"):
            training_batches(images, batch_size, 1, 1, parts=parts, processes=processes)
        return
    shares = [
        training_batches(images, batch_size, 1, 1, parts=parts, process=process, processes=processes)
        for process in range(processes)
    ]
    alone = training_batches(images, batch_size, 1, 1)
    assert len({len(share) for share in shares}) == 1
    seen = [index for share in shares for batch in share for index in batch]
    assert len(set(seen)) == len(seen)
    if batch_size <= images:
        for step, whole in enumerate(alone):
            own = [batch for share in shares for batch in share[step * parts : (step + 1) * parts]]
            assert sorted(index for batch in own for index in batch) == sorted(whole)
        assert len(seen) == images // batch_size * batch_size


def test_epochs_and_seeds_have_orders_of_their_own():
    orders = [tuple(map(tuple, training_batches(40, 8, seed, epoch))) for seed in (1, 2) for epoch in (1, 2)]
    assert len(set(orders)) == 4
    assert orders[0] == tuple(map(tuple, training_batches(40, 8, 1, 1)))


@pytest.mark.parametrize("workers", [0, 2])
def test_what_is_drawn_for_an_image_depends_on_seed_epoch_and_place_alone(workers):
    dataset = colours()
    images = Images(dataset.train, train_transform(dataset, SIDE, AUGREG["strong"]), seed=5)
    direct = torch.stack([images[(3, index)][1] for index in (4, 1)])
    torch.manual_seed(workers)
    before = torch.random.get_rng_state()
    order = Order([[7, 2], [4, 1]])
    order.epoch = 3
    batches = list(load(images, order, workers, pin=False))
    assert torch.equal(batches[1].images, direct)
    assert workers or torch.equal(before, torch.random.get_rng_state())  # a model draws as if nothing was read
    assert not torch.equal(images[(3, 4)][1], images[(4, 4)][1])
    other = Images(dataset.train, train_transform(dataset, SIDE, AUGREG["strong"]), seed=6)
    assert not torch.equal(images[(3, 4)][1], other[(3, 4)][1])


def test_an_order_that_changes_is_followed_by_workers_that_stay():
    dataset = colours()
    images = Images(dataset.train, eval_transform(dataset, SIDE))
    order = Order([[0], [1]])
    loader = load(images, order, 1, pin=False)
    assert [batch.indices for batch in loader] == [[0], [1]]
    order.batches = [[5], [6], [7]]
    assert [batch.indices for batch in loader] == [[5], [6], [7]]


def test_an_image_that_is_cut_off_is_left_out_of_a_test_and_replaced_in_training(tmp_path):
    dataset = colours()
    split = on_disk(tmp_path, 6, cut={2})
    (batch,) = load(Images(split, eval_transform(dataset, SIDE)), Order([[1, 2, 3]]), 0, pin=False)
    assert (batch.indices, batch.unreadable, len(batch.images)) == ([1, 3], [2], 2)
    training = Images(split, train_transform(dataset, SIDE, AUGREG["minimal"]), seed=1)
    (batch,) = load(training, Order([[1, 2, 5]]), 0, pin=False)
    assert (batch.indices, batch.unreadable, len(batch.images)) == ([1, 3, 5], [2], 3)
    assert batch.targets.tolist() == [split.targets[index] for index in (1, 3, 5)]


def test_a_batch_of_nothing_but_broken_images_is_empty():
    split = Broken(2, 4, 1, broken={0, 1})
    (batch,) = load(Images(split, eval_transform(colours(), SIDE)), Order([[0, 1]]), 0, pin=False)
    assert (batch.indices, batch.unreadable, batch.targets.tolist()) == ([], [0, 1], [])


def test_more_than_one_percent_is_an_error_that_names_some():
    split = Colours(2, 300, 1)
    check_unreadable(split, {4, 5, 6})
    with pytest.raises(DatasetError, match=r"4 of 300 images cannot be read .more than 1%.: '1/4, 1/5, 1/6'; mend"):
        check_unreadable(split, {4, 5, 6, 7})


def test_where_no_image_can_be_read_training_says_so():
    split = Broken(2, 4, 1, broken={0, 1, 2, 3})
    training = Images(split, train_transform(colours(), SIDE, AUGREG["minimal"]), seed=1)
    with pytest.raises(DatasetError, match="4 images in a row cannot be read, from '1/3'"):
        training[(1, 3)]


def test_pictures_become_what_the_paper_says():
    """Resized to 1.34 times the side, the centre cropped, normalised."""
    from PIL import Image

    picture = Image.new("RGB", (100, 50), (255, 0, 128))
    tensor = eval_transform(colours(), SIDE)(picture)
    assert tensor.shape == (3, SIDE, SIDE)
    assert torch.allclose(tensor[:, 5, 5], torch.tensor([1.0, -1.0, 128 / 255 * 2 - 1]), atol=1e-6)
    wide = Image.new("RGB", (42, 42))
    wide.paste((255, 255, 255), (5, 5, 37, 37))  # 42 is int(1.34 · 32): the crop is the white square
    assert torch.equal(eval_transform(colours(), SIDE)(wide), torch.ones(3, SIDE, SIDE))


def test_levels_add_what_table_11_says():
    picture = Colours(2, 1, 1).open(0)

    def differing(level: str) -> int:
        made = train_transform(colours(), SIDE, AUGREG[level])
        seen = set()
        for seed in range(60):
            torch.manual_seed(seed)
            seen.add(made(picture).sort().values.sum().item().__round__(3))
        return len(seen)

    assert differing("minimal") == differing("weak") == differing("medium")
    assert differing("strong") > differing("minimal")
    assert [AUGREG[name].label_smoothing for name in AUGREG] == [0, 0.1, 0.1, 0.1]
    assert [AUGREG[name].stochastic_depth for name in AUGREG] == [0, 0, 0.1, 0.1]
    assert [AUGREG[name].random_erasing for name in AUGREG] == [0, 0, 0, 0.3]
