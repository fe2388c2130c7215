"""Figures as they were published, and where each stands: see README.md beside the files."""

from __future__ import annotations

import csv
from functools import cache
from importlib.resources import files
from typing import Any

SOURCE = "GLSim, arXiv 2407.12891, Tables 1, 7 and 8"
PAPER = "GLSim, arXiv 2407.12891"


@cache
def flops_percents() -> dict[tuple[str, str, int], str]:
    """(backbone, selector, image size) → percent of the backbone's FLOPs, as printed."""
    return {
        (row["backbone"], row["selector"], int(row["image_size"])): row["percent_of_backbone"]
        for row in printed_rows("flops_percent_of_backbone.csv")
    }


@cache
def flops_mflops() -> dict[tuple[str, str, int], str]:
    """(backbone, selector, image size) → 10⁶ FLOPs, as printed in Table 1: 8.2e3."""
    return {
        (row["backbone"], row["selector"], int(row["image_size"])): row["mflops"]
        for row in printed_rows("flops_table1_mflops.csv")
    }


def literature(table: str) -> list[dict[str, Any]]:
    """``table2`` (NABirds) or ``table3`` (iNat17): dataset, method, backbone, top1_percent."""
    return [row for row in _rows("accuracy_literature.csv") if row["table"] == table]


def table4() -> list[dict[str, Any]]:
    """Table 4 and its averages: dataset, model, image_size, top1_percent, std_percent."""
    return _rows("accuracy_table4.csv")


def table6() -> list[dict[str, Any]]:
    """Table 6, yes where it has a check mark: what each model consists of."""
    return _rows("models_table6.csv")


def table9() -> list[dict[str, Any]]:
    """Table 9: dataset, classes, train_images, test_images, mean_width_px, mean_height_px."""
    return _rows("datasets_table9.csv")


def misprints_table9() -> list[dict[str, Any]]:
    """What Table 9 misprints: dataset, field, printed, correct, misprint in words."""
    return _rows("misprints_table9.csv")


def table10() -> list[dict[str, str]]:
    """Table 10: setting, value, read_from."""
    return printed_rows("settings_table10.csv")


def ratios() -> list[dict[str, Any]]:
    """Section 5.3: metric (throughput or vram_saving), subject and versus as model@size, ratio."""
    return _rows("ratios_section5_3.csv")


def figure4() -> list[dict[str, Any]]:
    """Figure 4, CUB on a V100: model, image_size, top1_percent, throughput_img_s, and where they were read."""
    return _rows("figure4_cub.csv")


def printed_rows(file: str) -> list[dict[str, str]]:
    """The rows of a file with every cell as it is written."""
    text = files(__package__).joinpath(file).read_text(encoding="utf-8")
    return list(csv.DictReader(text.splitlines()))


@cache
def _read(file: str) -> tuple[tuple[tuple[str, Any], ...], ...]:
    return tuple(tuple((name, _value(cell)) for name, cell in row.items()) for row in printed_rows(file))


def _rows(file: str) -> list[dict[str, Any]]:
    """The rows of a file, numbers as numbers; a new list at each call, so that callers do not share it."""
    return [dict(row) for row in _read(file)]


def _value(cell: str) -> Any:
    for kind in (int, float):
        try:
            return kind(cell)
        except ValueError:
            continue
    return cell
