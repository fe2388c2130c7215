"""The counted work of reduced models is a closed form of the tokens in every block."""

from __future__ import annotations

import math

import pytest
import torch

from fgbench.flops.count_models import count_model
from fgbench.flops.crosscheck import torch_macs
from fgbench.flops.grid import CountGrid
from fgbench.flops.models import model_rows
from fgbench.models.backbone import unfuse_attention
from fgbench.models.build import create_model
from fgbench.plugins.kinds import reductions
from fgbench_reports.measured.model_flops import REDUCTION_NOTE, model_notes

TINY = "vit_tiny_patch16_224"
D, H, L, PATCHES, CLASSES = 192, 3, 12, 196, 200
HEAD_DIM = D // H


def block(tokens: int, after: int, asking: int | None = None) -> int:
    """MACs of a block: projections of all tokens, attention of those that ask, an MLP of those that are left."""
    asks = tokens if asking is None else asking
    return 3 * tokens * D**2 + 2 * asks * tokens * D + asks * D**2 + 8 * after * D**2


def plain(lengths: list[tuple[int, int]]) -> int:
    return PATCHES * 768 * D + sum(block(before, after) for before, after in lengths) + D * CLASSES


def kept(rate: float, fused: int) -> list[tuple[int, int]]:
    """Tokens before and behind the reduction in every block of EViT, or with ``fused=0`` of ToMe."""
    lengths, tokens = [], PATCHES + 1
    for number in range(1, L + 1):
        after = 1 + math.ceil(rate * (tokens - 1)) + fused if number in (4, 7, 10) else tokens
        lengths.append((tokens, after))
        tokens = after
    return lengths


def predictors(rate: float) -> int:
    total = 0
    for stage in range(3):
        n = int(rate**stage * PATCHES)
        total += n * (D * D + D * (D // 2) + (D // 2) * (D // 4) + (D // 4) * 2)
    return total


def expected(reduction: str, impl: str, rate: float = 0.7) -> int:
    rows = (197 + 140 + 100) * D  # q₀Kᵀ in the three blocks
    stages = [197, 1 + int(rate * PATCHES), 1 + int(rate**2 * PATCHES), 1 + int(rate**3 * PATCHES)]
    if reduction == "evit":
        fused = sum(tokens - 1 for tokens in (197, 140, 100)) * D
        return plain(kept(rate, 1)) + (rows + fused if impl == "fast" else 0)
    if reduction == "tome":
        pairs = sum((tokens + 1) // 2 * (tokens // 2) * HEAD_DIM for tokens in (197, 139, 98))
        return plain(kept(rate, 0)) + pairs
    if reduction == "dynamicvit":
        lengths = [(stages[(number - 1) // 3],) * 2 for number in range(1, L + 1)]
        return plain(lengths) + predictors(rate)
    if reduction == "topk":
        lengths = [(stages[max(0, (number - 2) // 3)], stages[(number - 1) // 3]) for number in range(1, L + 1)]
        return plain(lengths) + (sum(stages[:3]) * D if impl == "fast" else 0)
    if reduction == "ats":
        total = PATCHES * 768 * D + D * CLASSES
        for number in range(1, L + 1):
            before, after = stages[max(0, (number - 2) // 3)], stages[(number - 1) // 3]
            total += block(before, after, asking=after)
            if number in (4, 7, 10):  # the row alone, or all of q Kᵀ in place of that of the chosen
                total += before * D if impl == "fast" else (before - after) * before * D
        return total
    assert reduction == "evovit"
    lengths = [(197, 197)] * 4 + [(99, 99)] * 8
    return plain(lengths) + ((4 * 197 + 4 * 99) * D if impl == "fast" else 0)


@pytest.mark.parametrize("impl", ["published", "fast"])
@pytest.mark.parametrize("reduction", reductions.names())
def test_the_macs_of_a_reduced_vit_are_a_closed_form(reduction, impl):
    with torch.device("meta"):
        model = create_model("vit", TINY, reduction=reduction, impl=impl).eval()
    assert count_model(model, 224).macs == expected(reduction, impl)


@pytest.mark.parametrize("reduction", reductions.names())
def test_torch_s_own_counter_agrees(reduction):
    with torch.device("meta"):
        model = create_model("vit", TINY, reduction=reduction).eval()
    unfuse_attention(model)
    with torch.device("meta"):
        assert count_model(model, 224).macs == torch_macs(model, torch.empty(1, 3, 224, 224, device="meta"))


@pytest.mark.parametrize("name", ["vit+evit@0.7", "glsim+tome@0.6", "transfg+topk@0.5"])
def test_the_stages_of_a_reduced_model_add_up_to_it(name):
    rows = list(model_rows(CountGrid(models=[name], sizes=(224,), backbones=(TINY,)), lambda _: None))
    for impl in ("published", "fast"):
        (whole,) = [row for row in rows if (row.model, row.impl, row.stage) == (name, impl, None)]
        parts = [row for row in rows if (row.model, row.impl) == (name, impl) and row.stage]
        assert sum(row.macs for row in parts) == whole.macs
        assert "reduction" in {row.stage for row in parts}
        assert whole.flops - sum(row.flops for row in parts) <= 1e-6 * whole.flops
    assert REDUCTION_NOTE in model_notes(rows)


def test_a_lower_rate_saves_more_and_beside_the_plain_model():
    rows = list(
        model_rows(
            CountGrid(models=[f"vit+evit@{rate}" for rate in (0.9, 0.7, 0.5)], sizes=(224,), impls=("fast",)),
            lambda _: None,
        )
    )
    percent = [row.percent_of_backbone for row in rows if row.model and row.stage is None]
    assert percent == sorted(percent, reverse=True)
    assert 45 < percent[-1] < 55
    assert 60 < percent[1] < 70
