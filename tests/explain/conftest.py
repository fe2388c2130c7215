"""Weights under which a token is its patch's brightness, a plug-in that scores it, and a folder with two pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import helpers.backbones  # noqa: F401  # timm knows them from now on
import pytest
import torch
from helpers.small_pictures import BRIGHTNESS, saved, scene

from fgbench.models.build import create_model
from fgbench.models.checkpoints.load import save_checkpoint

torch.set_num_threads(1)


@pytest.fixture(scope="session")
def bright(tmp_path_factory) -> Path:
    """A checkpoint of test_vit whose patch tokens hold their patch's brightness in the first of their numbers."""
    model: Any = create_model("vit", "test_vit", img_size=96, num_classes=5)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.fill_(1.0 if name.endswith("norm.weight") else 0.0)
        projection = model.encoder.vit.patch_embed.proj
        projection.weight[0] = 1 / projection.weight[0].numel()
        projection.bias[1] = 10.0
        model.head.bias[3] = 2.0
    path = tmp_path_factory.mktemp("weights") / "bright.safetensors"
    save_checkpoint(model, path)
    return path


@pytest.fixture
def brightness(tmp_path) -> Path:
    """A plug-in that scores the brightness of a patch."""
    path = tmp_path / "brightness.py"
    path.write_text(BRIGHTNESS)
    return path


@pytest.fixture
def here(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    saved(tmp_path, "a.png")
    saved(tmp_path, "b.jpg", scene(120, 60, seed=1))
    return tmp_path
