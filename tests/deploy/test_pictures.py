"""Drawn pictures are the same in every call, and those of calibration are others."""

from __future__ import annotations

import pytest
import torch

from fgbench.deploy.pictures import CALIBRATED, drawn_pictures


@pytest.mark.parametrize(("height", "width"), [(32, 32), (16, 48), (40, 24)])
def test_pictures_have_their_size_and_differ(height, width):
    pictures = drawn_pictures(3, height, width)
    assert pictures.shape == (3, 3, height, width)
    assert -1 <= pictures.min() < pictures.max() <= 1
    drawn_pictures.cache_clear()
    assert torch.equal(pictures, drawn_pictures(3, height, width))
    assert not torch.equal(pictures[0], pictures[1])
    assert not torch.equal(pictures, drawn_pictures(3, height, width, CALIBRATED))
