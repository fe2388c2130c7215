"""Photographs of scikit-image, from people's cameras, seen by the small backbone that is shipped."""

from __future__ import annotations

from pathlib import Path

import pytest
from helpers.small_pictures import rows_of, run
from PIL import Image

pytest.importorskip("skimage", reason="needs scikit-image")
NAMES = ("chelsea.png", "coffee.png", "camera.png", "rocket.jpg")  # a cat, a cup, a man in grey, a rocket


@pytest.fixture(scope="module")
def photographs() -> list[Path]:
    import skimage.data

    return [Path(skimage.data.__file__).parent / name for name in NAMES]


def test_the_shipped_backbone_scores_photographs(photographs, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rows = rows_of(*map(str, photographs), "--selectors", "gls", "random", "centre")
    assert len(rows) == 3 * len(NAMES)
    for row in rows:
        with Image.open(row["image"]) as image:
            assert (row["width"], row["height"]) == image.size
        assert row["weights"] is not None
        assert not row["weights"].startswith("random")
        assert not row["equal"]
        y0, x0, y1, x1 = row["best_box"]
        assert 0 <= y0 < y1 <= row["height"]
        assert 0 <= x0 < x1 <= row["width"]
    drawn = {tuple(row["best_patch"]) for row in rows if row["selector"] == "random"}
    assert len(drawn) > 1  # another choice for every picture
    (middle,) = {tuple(row["grid"]) for row in rows}
    best = {tuple(row["best_patch"]) for row in rows if row["selector"] == "centre"}
    assert all(abs(place - (side - 1) / 2) <= 0.5 for one in best for place, side in zip(one, middle, strict=True))


def test_photographs_are_drawn(photographs, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = run(*map(str, photographs[:1]), "--selectors", "gls", "attention")
    assert (result.exit_code, result.stderr) == (0, "fgbench: wrote visualize.png\n")
    with Image.open("visualize.png") as image:
        assert "RANDOM" not in image.info["Description"]
