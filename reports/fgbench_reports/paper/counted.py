"""Counted selectors that can stand beside the paper's Tables 1, 7 and 8: its grid, its classes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import log
from typing import Any

from fgbench.results.paper import NUM_CLASSES, OVERLAP, OVERLAPPED, SELECTORS
from fgbench.results.records import FlopsRow

Cost = Mapping[tuple[str, int], FlopsRow]  # (selector, image size) → its row


@dataclass(frozen=True, slots=True, kw_only=True)
class CountedCosts:
    """What was counted beside one backbone, and how many rows were not on the paper's terms."""

    paper: Cost  # by the paper's own convention
    published: Cost  # in full
    fast: Cost  # in full
    left_out: int


def counted_costs(rows: Iterable[FlopsRow], backbone: str, patch_size: int) -> CountedCosts:
    """The rows of the paper's five selectors on this backbone; of rows for the same cell the last one counts."""
    found: dict[tuple[Any, Any], dict[tuple[str, int], FlopsRow]] = {}
    left_out = 0
    for row in rows:
        if row.model or row.selector not in SELECTORS or row.backbone.partition(".")[0] != backbone:
            continue
        if not isinstance(row.image_size, int) or not _on_papers_terms(row, row.image_size, patch_size):
            left_out += 1
            continue
        found.setdefault((row.convention, row.impl), {})[row.selector, row.image_size] = row
    return CountedCosts(
        paper=found.get(("paper", "published"), {}),
        published=found.get(("full", "published"), {}),
        fast=found.get(("full", "fast"), {}),
        left_out=left_out,
    )


def _on_papers_terms(row: FlopsRow, image_size: int, patch_size: int) -> bool:
    environment = row.environment or {}
    if environment.get("num_classes") not in (None, NUM_CLASSES):
        return False
    if environment.get("patch_stride") not in (None, patch_size):
        return False
    # A step that was given, be it the patch itself, takes the overlap from the paper's form as well.
    overlaps = row.convention == "paper" and row.selector in OVERLAPPED
    step = patch_size - OVERLAP if overlaps else patch_size
    side: int = (image_size - patch_size) // step + 1
    return bool(row.num_tokens == side * side + 1)


def exponents(costs: Cost) -> dict[str, float]:
    """Per selector the exponent of N by which its FLOPs grow between the two largest sizes."""
    found = {}
    for selector in SELECTORS:
        rows = sorted((row for (name, _), row in costs.items() if name == selector), key=lambda row: row.image_size)
        if len(rows) > 1 and rows[-2]["flops"] > 0 and rows[-1]["num_tokens"] > rows[-2]["num_tokens"]:
            small, large = rows[-2:]
            found[selector] = log(large["flops"] / small["flops"]) / log(large["num_tokens"] / small["num_tokens"])
    return found


def sizes_without(costs: Cost, sizes: Sequence[int]) -> list[int]:
    """The sizes at which at least one selector was not counted."""
    return [size for size in sizes if any((selector, size) not in costs for selector in SELECTORS)]
