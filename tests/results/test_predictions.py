"""Predictions per image as rows: packed and unpacked, damaged, read from files and stores."""

from __future__ import annotations

import base64
import json
import zlib

import numpy as np
import pytest
from helpers.compared_rows import predicted
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from fgbench.cli import app
from fgbench.cli.saved import read_data
from fgbench.errors import FgbenchError
from fgbench.results.predictions import PredictionsRow, digest_of_test_set, packed, unpacked
from fgbench.results.proportions import wilson, wilson_of_percent
from fgbench.results.store import Store


@given(st.lists(st.integers(-1, 2**31 - 1), max_size=50))
def test_classes_come_back_as_they_were(classes):
    assert unpacked("predicted", packed(classes), len(classes)).tolist() == classes


def test_a_class_of_each_image_of_a_large_set_is_small():
    draw = np.random.default_rng(0)
    assert len(packed(draw.integers(0, 200, 5794))) < 3 * 5794  # the test images of CUB


GOOD = packed([0, 1, 2])
DAMAGED = {
    "!!": "is no base64",
    GOOD[:-4]: "does not",
    base64.b64encode(b"abc").decode(): "does not decompress",
    packed([0, 1]): "does not hold a class for each of 3 images",
    packed([0, 1, 2, 3]): "does not hold a class for each of 3 images",
    packed([0, 1, -2]): "holds the class -2",
    base64.b64encode(zlib.compress(bytes(10**6))).decode(): "does not hold a class for each",
    "": "does not hold",
}


@pytest.mark.parametrize("text", DAMAGED)
def test_damaged_predictions_are_refused_in_one_line_that_names_file_row_and_field(text, tmp_path):
    file = tmp_path / "rows.json"
    good, bad = predicted("vit", 1, [0, 1, 2], [0, 1, 2]), predicted("vit", 2, [0, 1, 2], [0, 1, 2])
    file.write_text(json.dumps([good.as_dict(), {**bad.as_dict(), "predicted": text}]))
    with pytest.raises(FgbenchError) as caught:
        read_data(None, [file], pytest.fail)
    assert f"cannot read rows from '{file}'" in str(caught.value)
    assert "row 2" in str(caught.value)
    assert f"its field 'predicted' {DAMAGED[text]}" in str(caught.value)
    assert "\n" not in str(caught.value)
    for command in (["report"], ["export"]):
        result = CliRunner().invoke(app, [*command, "--rows", str(file)])
        assert result.exit_code == 2
        assert len(result.stderr.strip().splitlines()) == 1


@pytest.mark.parametrize("suffix", ["json", "csv"])
def test_predictions_are_exported_and_read_back(suffix, tmp_path):
    row = predicted("vit", 1, [0, -1, 2], [0, 1, 2])
    store, file = tmp_path / "s.db", tmp_path / f"rows.{suffix}"
    with Store(store) as opened:
        fields = {name: value for name, value in row.as_dict().items() if name != "environment"}
        opened.add("predictions", "vit1", fields, {"torch": "2"})
    result = CliRunner().invoke(app, ["export", "predictions", "--store", str(store), "--output", str(file)])
    assert result.exit_code == 0, result.stderr
    (back,) = read_data(None, [file], pytest.fail).predictions
    assert isinstance(back, PredictionsRow)
    assert {**back.as_dict(), "environment": None} == {**row.as_dict(), "environment": None}
    assert [part.tolist() for part in back.classes()] == [[0, -1, 2], [0, 1, 2]]


def test_the_digest_of_a_test_set_is_of_names_and_classes_in_order():
    digests = {
        digest_of_test_set(*one)
        for one in ((["a", "b"], [0, 1]), (["b", "a"], [0, 1]), (["a", "b"], [1, 0]), (["ab"], [0]), (["a", "b"], [0]))
    }
    assert len(digests) == 5
    assert digest_of_test_set(["a", "b"], [0, 1]) == digest_of_test_set(("a", "b"), np.array([0, 1]))


# Newcombe 1998, Statistics in Medicine 17, Table I: method 3.
@pytest.mark.parametrize(
    ("right", "images", "low", "high"),
    [(81, 263, 25.53, 36.62), (15, 148, 6.24, 16.05), (0, 20, 0.0, 16.11), (1, 29, 0.61, 17.18)],
)
def test_wilsons_interval_is_the_published_one(right, images, low, high):
    assert wilson(right, images) == (pytest.approx(low, abs=0.006), pytest.approx(high, abs=0.006))
    assert wilson_of_percent(100 * right / images, images) == wilson(right, images)


@pytest.mark.parametrize(("right", "images"), [(0, 0), (3, 2), (-1, 2)])
def test_no_interval_of_impossible_counts(right, images):
    with pytest.raises(ValueError, match=f"of {images} images {right} cannot be right"):
        wilson(right, images)


@pytest.mark.parametrize("share", [0.5, 0.7, 0.9, 0.95])
def test_wilsons_interval_of_400_images_holds_the_truth_in_93_to_97_of_100_runs(share):
    from scipy.stats import binom

    held = sum(
        binom.pmf(right, 400, share)
        for right in range(401)
        if (ends := wilson(right, 400))[0] <= 100 * share <= ends[1]
    )
    assert 0.93 < held < 0.97
