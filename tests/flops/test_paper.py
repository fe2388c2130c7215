"""The closed forms against the paper's printed tables, and against counts."""

from __future__ import annotations

import csv
from importlib.resources import files

import pytest

from fgbench.errors import FgbenchError
from fgbench.flops import paper
from fgbench.flops.paper import Geometry
from fgbench_reports.tables.numbers import as_printed

PUBLISHED = files("fgbench_reports.published")
SHAPES = {  # patch, width, heads: ViT-B/16, ViT-B/14, ViT-T/16
    "vit_base_patch16_224": (16, 768, 12),
    "vit_base_patch14_dinov2": (14, 768, 12),
    "vit_tiny_patch16_224": (16, 192, 3),
}


def published(name: str) -> list[dict[str, str]]:
    return list(csv.DictReader(PUBLISHED.joinpath(name).read_text().splitlines()))


def geometry(backbone: str, size: int, **changes: int) -> Geometry:
    patch, width, heads = SHAPES[backbone]
    fields = {"image_size": size, "patch_size": patch, "embed_dim": width, "num_heads": heads}
    return Geometry(**{**fields, "depth": 12, "num_classes": 200, **changes})


def percent(cell: dict[str, str]) -> float:
    g = geometry(cell["backbone"], int(cell["image_size"]))
    return 100 * paper.SELECTOR_COSTS[cell["selector"]](g).flops / paper.backbone_cost(g).flops


def test_all_sixty_cells_are_reproduced_in_every_printed_digit():
    cells = published("flops_percent_of_backbone.csv")
    assert len(cells) == 60
    wrong = {
        (cell["backbone"], cell["selector"], cell["image_size"]): (cell["percent_of_backbone"], percent(cell))
        for cell in cells
        if as_printed(percent(cell), cell["percent_of_backbone"]) != cell["percent_of_backbone"]
    }
    assert wrong == {}


def test_one_cell_was_rounded_twice_and_the_others_need_no_such_reading():
    """Table 8 prints 0.0089 for GLS at 224 where its own form gives 0.008849."""
    differing = []
    for cell in published("flops_percent_of_backbone.csv"):
        printed = cell["percent_of_backbone"]
        decimals = len(printed.partition(".")[2])
        if f"{percent(cell):.{decimals}f}" != printed:
            differing.append((cell["table"], cell["selector"], cell["image_size"], f"{percent(cell):.6f}"))
    assert differing == [("table8", "gls", "224", "0.008849")]


def test_table_1s_absolute_mflops_are_reproduced():
    cells = published("flops_table1_mflops.csv")
    assert len(cells) == 20
    for cell in cells:
        g = geometry(cell["backbone"], int(cell["image_size"]))
        mflops = paper.SELECTOR_COSTS[cell["selector"]](g).flops / 1e6
        assert f"{mflops:.1e}" == f"{float(cell['mflops']):.1e}", cell


def test_the_ratios_in_the_papers_prose_are_reproduced():
    """Section 6: GLS costs 648 to 271,299 times less than matrix multiplication on ViT-B/14, 224 to 1024."""
    ratios = [
        paper.rollout_cost(g).flops / paper.gls_cost(g).flops
        for g in (geometry("vit_base_patch14_dinov2", size) for size in (224, 1024))
    ]
    assert int(ratios[0]) == 648
    assert round(ratios[1]) == 271_299


@pytest.mark.parametrize(
    ("size", "patch", "stride", "patches"),
    [(224, 16, None, 196), (1024, 14, None, 73 * 73), (224, 16, 12, 18 * 18), (1024, 16, 12, 85 * 85), (16, 16, 4, 1)],
)
def test_grids_floor_as_the_convolution_does(size, patch, stride, patches):
    g = Geometry(image_size=size, patch_size=patch, embed_dim=8, depth=2, num_heads=1, num_classes=1, stride=stride)
    assert g.num_patches() == patches


def test_psm_and_sacm_are_counted_on_overlapped_patches_unless_a_stride_is_given():
    plain = geometry("vit_base_patch16_224", 224)
    strided = geometry("vit_base_patch16_224", 224, stride=16)
    assert [plain.num_tokens(name) for name in ("psm", "sacm", "rollout", "maws", "gls")] == [325, 325, 197, 197, 197]
    assert {strided.num_tokens(name) for name in paper.SELECTOR_COSTS} == {197}


def test_geometries_that_the_forms_do_not_hold_for_are_refused():
    tiny = {"image_size": 32, "embed_dim": 8, "num_heads": 1, "num_classes": 1}
    with pytest.raises(FgbenchError, match="needs two blocks or more, got 1"):
        paper.psm_cost(Geometry(**tiny, patch_size=8, depth=1))
    for selector in ("psm", "sacm"):
        with pytest.raises(FgbenchError, match=f"counts {selector} on patches that overlap by 4 pixels.*4"):
            paper.SELECTOR_COSTS[selector](Geometry(**tiny, patch_size=4, depth=3))
        assert paper.SELECTOR_COSTS[selector](Geometry(**tiny, patch_size=4, depth=3, stride=2)).flops > 0


def test_forms_hold_for_any_width_depth_patch_and_class_count():
    """A backbone small enough to add up by hand: 2×2 patches of 2 pixels, 5 tokens, width 4, 3 blocks, 2 heads."""
    g = Geometry(image_size=4, patch_size=2, embed_dim=4, depth=3, num_heads=2, num_classes=7, stride=2)
    embedding = 4 * (3 * 2 * 2) * 4
    block = 5 * 4 * 12 + 5 * 4 * 4 + 2 * 5 * 5 * 4 + 2 * 5 * 4 * 16  # qkv, projection, two products, MLP
    assert paper.backbone_cost(g).macs == embedding + 3 * block + 4 * 7
    assert paper.backbone_cost(g).flops == paper.backbone_cost(g).macs + embedding
    assert paper.psm_cost(g).flops == 1 * 2 * 25 * 9  # one product of two heads' 5×5 maps, 2·5−1 operations each
    assert paper.rollout_cost(g).flops == 3 * (2 * 25 + 25 + 5 + 1) + 2 * 25 * 9
    assert paper.maws_cost(g).flops == 2 * (5 * 5 * 2 + 2 * 2 + 5)
    assert paper.sacm_cost(g).flops == 3 * 1 * 25 + 25 + 1 + 6 * 3 + 3 * 4
    assert paper.gls_cost(g).flops == (3 * 4 + 3) * 4
