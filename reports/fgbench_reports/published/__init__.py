"""Figures as they were published, and where each stands."""

from __future__ import annotations

import csv
from functools import cache
from importlib.resources import files

SOURCE = "GLSim, arXiv 2407.12891, Tables 1, 7 and 8"


@cache
def flops_percents() -> dict[tuple[str, str, int], str]:
    """(backbone, selector, image size) → percent of the backbone's FLOPs, as printed."""
    text = files(__package__).joinpath("flops_percent_of_backbone.csv").read_text(encoding="utf-8")
    return {
        (row["backbone"], row["selector"], int(row["image_size"])): row["percent_of_backbone"]
        for row in csv.DictReader(text.splitlines())
    }
