"""Figures as they were published, and where each stands."""

from __future__ import annotations

import csv
from functools import cache
from importlib.resources import files
from typing import Any

SOURCE = "GLSim, arXiv 2407.12891, Tables 1, 7 and 8"


@cache
def flops_percents() -> dict[tuple[str, str, int], str]:
    """(backbone, selector, image size) → percent of the backbone's FLOPs, as printed."""
    text = files(__package__).joinpath("flops_percent_of_backbone.csv").read_text(encoding="utf-8")
    return {
        (row["backbone"], row["selector"], int(row["image_size"])): row["percent_of_backbone"]
        for row in csv.DictReader(text.splitlines())
    }


def table4() -> list[dict[str, Any]]:
    """Table 4 and its averages: dataset, model, image_size, top1_percent, std_percent."""
    return _rows("accuracy_table4.csv")


def figure4() -> list[dict[str, Any]]:
    """Figure 4, CUB on a V100: model, image_size, top1_percent, throughput_img_s, and where they were read."""
    return _rows("figure4_cub.csv")


@cache
def _read(file: str) -> tuple[tuple[tuple[str, Any], ...], ...]:
    text = files(__package__).joinpath(file).read_text(encoding="utf-8")
    return tuple(tuple((name, _value(cell)) for name, cell in row.items()) for row in csv.DictReader(text.splitlines()))


def _rows(file: str) -> list[dict[str, Any]]:
    """The rows of a file, numbers as numbers; each time fresh, so that nobody changes another's."""
    return [dict(row) for row in _read(file)]


def _value(cell: str) -> Any:
    for kind in (int, float):
        try:
            return kind(cell)
        except ValueError:
            continue
    return cell
