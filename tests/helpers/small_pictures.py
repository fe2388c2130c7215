"""Pictures with a bright rectangle, a selector that finds it, and the command as it is typed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from typer.testing import CliRunner

from fgbench.cli import app

BRIGHTNESS = """
from fgbench_selectors import Needs, Selector

class Brightness(Selector):
    '''The brightness of every patch.'''
    needs = Needs(tokens=True)
    score_shape = ("batch", "patches")

    def published(self, features):
        return features.read_tokens()[:, features.num_prefix_tokens:, 0]
"""
SMALL = ("--backbone", "test_vit", "--size", "96")


def run(*words: object) -> Any:
    return CliRunner().invoke(app, ["visualize", *map(str, words)])


def rows_of(*words: object) -> list[dict[str, Any]]:
    result = run(*words, "--format", "json")
    assert (result.exit_code, result.stderr) == (0, "")
    return json.loads(result.stdout)


def lit(height: int, width: int, box: tuple[int, int, int, int]) -> Image.Image:
    """A dark picture with a bright box y0, x0, y1, x1."""
    pixels = np.full((height, width, 3), 20, np.uint8)
    y0, x0, y1, x1 = box
    pixels[y0:y1, x0:x1] = 250
    return Image.fromarray(pixels)


def scene(height: int = 90, width: int = 120, seed: int = 0) -> Image.Image:
    """Noise, in which every selector scores every patch another way."""
    noise = np.random.default_rng(seed).integers(0, 256, (height // 6, width // 6, 3), dtype=np.uint8)
    return Image.fromarray(noise).resize((width, height), Image.Resampling.NEAREST)


def saved(folder: Path, name: str, image: Image.Image | None = None, **options: Any) -> Path:
    path = folder / name
    (image or scene()).save(path, **options)
    return path
