"""Sizes of images that are no squares: their values, their rows, and their place beside squares."""

from __future__ import annotations

import copy
import json
import pickle
from itertools import permutations

import pytest

from fgbench.errors import FgbenchError
from fgbench.measure.points import ModelSpec, PointGroup, RunMode, point_key
from fgbench.results.decoding import RowError, read_row
from fgbench.results.image_size import NonSquare, height_width, image_size
from fgbench.values import image_shapes, image_sizes


@pytest.mark.parametrize(
    ("given", "size"),
    [(224, 224), ("224", 224), ("224x224", 224), ((224, 224), 224), ((224, 448), "224x448"), ("224x448", "224x448")],
)
def test_what_stands_for_a_size(given, size):
    assert image_size(given) == size
    assert type(image_size(given)) is (int if size == 224 else NonSquare)


@pytest.mark.parametrize("bad", ["224x", "x", "224x448x3", "0x4", "-1x4", (224,), (224, 0), (224.0, 448), True, None])
def test_what_is_no_size(bad):
    with pytest.raises(ValueError, match="an image size is"):
        image_size(bad)


def test_sizes_are_sorted_by_area_wherever_they_begin():
    ordered = [64, image_size("64x128"), image_size("128x64"), 128, image_size("128x256")]
    for some in permutations(ordered):
        assert sorted(some) == ordered


def test_a_size_survives_copies_processes_and_json():
    size = image_size((224, 448))
    assert height_width(size) == (224, 448)
    assert height_width(224) == (224, 224)
    assert pickle.loads(pickle.dumps(size)).sides == (224, 448)
    assert copy.deepcopy(size).sides == (224, 448)
    assert json.dumps(size) == '"224x448"'


def test_words_of_sizes():
    assert image_shapes(["224,224x448", "448x448"]) == [224, NonSquare("224x448"), 448]
    for words, told in ((["224x"], "whole number"), (["0x224"], "at least 1"), (["224x99999"], "at most 16384")):
        with pytest.raises(FgbenchError, match=told):
            image_shapes(words)
    with pytest.raises(FgbenchError, match="square images"):
        image_sizes(["224x448"])


FLOPS = {
    **{"convention": "full", "backbone": "b", "model": None, "selector": None, "impl": None, "image_size": "224x448"},
    **{"num_tokens": 1, "macs": 1, "flops": 2, "percent_of_backbone": 100.0, "params": 1},
}


def test_rows_are_read_from_json_and_csv():
    for row, strict in ((FLOPS, True), ({key: str(value or "") for key, value in FLOPS.items()}, False)):
        read = read_row("flops", row, {}, strict=strict)
        assert read.image_size.sides == (224, 448)
        assert read.as_dict()["image_size"] == "224x448"
    assert type(read_row("flops", {**FLOPS, "image_size": 224}, {}).image_size) is int


@pytest.mark.parametrize("bad", ["224x", "0x224", "224 x 448", "wide"])
def test_a_text_that_is_no_size_is_refused(bad):
    with pytest.raises(RowError, match="'image_size'"):
        read_row("flops", {**FLOPS, "image_size": bad}, {})


def test_keys_of_squares_stay_and_others_differ():
    def key(size):
        case = ModelSpec(model="vit", backbone="b", selector=None, impl=None, image_size=size, num_classes=200)
        return point_key(PointGroup(case=case, mode=RunMode()), 1, {})

    assert key(224) == "908910d474cfbc529018825160b455d557fbd920e49db88dafb8f8c51cd928a5"
    assert key("224x448") == key((224, 448)) != key("448x224")
    assert key("224x224") == key(224)
