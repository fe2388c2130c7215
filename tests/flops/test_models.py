"""Counts of whole models: stages sum to the total, and independent counts agree."""

from __future__ import annotations

import pytest
import torch

from fgbench.errors import FgbenchError, UnknownNameError
from fgbench.flops.count_models import count_model
from fgbench.flops.crosscheck import torch_macs
from fgbench.flops.grid import CountGrid
from fgbench.flops.models import model_rows
from fgbench.flops.rows import flops_rows
from fgbench.models.backbone import unfuse_attention
from fgbench.models.build import create_model, models
from fgbench_reports.measured.model_flops import model_notes

TINY = "vit_tiny_patch16_224"


def small(name: str) -> str:
    if name == "vitnet":
        return "swin_tiny_patch4_window7_224"
    return "resnet18" if models.load(name).default_backbone.startswith("resnet") else TINY


def rows_of(*names: str, **request) -> list:
    problems: list[FgbenchError] = []
    wanted = {"sizes": (224,), "backbones": (small(names[0]),), **request}
    rows = list(model_rows(CountGrid(models=names, **wanted), problems.append))
    assert problems == []
    return rows


@pytest.mark.parametrize("impl", ["published", "fast"])
@pytest.mark.parametrize("name", models.names())
def test_the_parts_add_up_to_the_whole(name, impl):
    rows = rows_of(name, impls=(impl,), conventions=("full", "fvcore"))
    for convention in ("full", "fvcore"):
        (whole,) = [row for row in rows if (row.model, row.stage, row.convention) == (name, None, convention)]
        parts = [row for row in rows if row.model == name and row.stage and row.convention == convention]
        assert parts
        assert sum(row.macs for row in parts) == whole.macs
        # joining heads into pictures is not work; a handful of sums outside of every part is forgiven, no more
        assert whole.flops - sum(row.flops for row in parts) <= 1e-6 * whole.flops
        assert all(row.params is None for row in parts)
        assert whole.params > 0


@pytest.mark.parametrize("impl", ["published", "fast"])
@pytest.mark.parametrize("name", models.names())
def test_macs_equal_torch_s_own_counter(name, impl):
    with torch.device("meta"):
        model = create_model(name, small(name), img_size=224, impl=impl).eval()
    unfuse_attention(model)  # torch's counter has a formula for fused attention only on some devices
    image = torch.empty(1, 3, 224, 224, device="meta")
    with torch.device("meta"):
        assert count_model(model, 224).macs == torch_macs(model, image)


def test_a_model_stands_beside_the_backbone_that_the_other_table_has():
    base = rows_of("glsim")[0]
    (other, *_) = flops_rows(CountGrid(sizes=(224,), backbones=(TINY,), selectors=("gls",)), lambda _: None)
    assert (base.model, base.selector, base.impl, base.stage) == (None, None, None, None)
    assert (base.macs, base.flops, base.params, base.num_tokens) == (
        other.macs,
        other.flops,
        other.params,
        other.num_tokens,
    )


def test_glsim_published_is_two_vits_without_heads_and_an_aggregator():
    rows = {(row.impl, row.stage): row for row in rows_of("glsim")}
    width, classes = 192, 200
    vit = rows[None, None].macs - width * classes
    block = 2 * (4 * width**2 + 2 * 4 * width**2) + 2 * 2**2 * width  # two tokens
    assert rows["published", None].macs == 2 * vit + block + width * classes
    assert rows["published", "pass 2"].macs == vit
    # fast: one query in the last block, one token behind it; keys and values of all 197
    tokens = 197
    full = tokens * 12 * width**2 + 2 * tokens**2 * width
    short = 2 * tokens * width**2 + 2 * tokens * width + (1 + 1 + 8) * width**2
    assert rows["fast", "pass 2"].macs == vit - full + short


def test_transfg_published_pays_its_matrices_and_fast_does_not():
    rows = {(row.impl, row.stage): row for row in rows_of("transfg", sizes=(448,))}
    tokens, heads = 37 * 37 + 1, 3
    assert rows["published", "selector"].macs == 10 * heads * tokens**3
    assert rows["published", "selector"].percent_of_backbone > 100
    assert rows["fast", "selector"].macs < rows["published", "selector"].macs / 20
    assert rows["fast", "pass 1"].macs == rows["published", "pass 1"].macs


def test_ielt_s_blocks_on_selected_tokens_cost_the_same_at_every_size():
    rows = {(row.impl, row.stage, row.image_size): row for row in rows_of("ielt", sizes=(224, 448))}
    width, classes, tokens, keys = 192, 200, 127, 25
    heads = 2 * width * classes
    both = (tokens + keys) * 12 * width**2 + 2 * (tokens**2 + keys**2) * width
    # fast: the row of the class token, then 25 queries with keys and values of 127 tokens; one query in the last block
    row = tokens * width
    cross = tokens * 3 * width**2 + 2 * keys * tokens * width + keys * 9 * width**2
    last = keys * 2 * width**2 + width**2 + 2 * keys * width + 9 * width**2
    for size, patches in ((224, 196), (448, 784)):
        assert rows["published", "fusion", size].macs == both + heads
        assert rows["fast", "fusion", size].macs == row + cross + last + heads
        assert rows["published", "selector", size].macs == 11 * 9 * patches  # smoothing; its maps are there
        assert rows["fast", "selector", size].macs == 11 * (patches + 1) * width  # a row of every block
        assert rows["fast", "pass 1", size].macs == rows["published", "pass 1", size].macs


def test_r2trans_is_a_plain_vit_unless_the_published_code_runs():
    rows = {(row.impl, row.stage): row for row in rows_of("r2trans")}
    width, classes = 192, 200
    vit = rows[None, None].macs
    assert rows["fast", None].macs == vit
    assert ("fast", "selector") not in rows
    kept = 1 + 196 - 98  # on the meta device one half of the patches is dropped
    assert rows["published", "pass 2"].macs == 12 * (kept * 12 * width**2 + 2 * kept**2 * width)
    assert rows["published", "fusion"].macs == 2 * width * classes + 2 * width * classes
    assert rows["published", "pass 1"].macs == vit - width * classes
    with torch.device("meta"):
        mixture = create_model("r2trans", TINY, predict="mixture").eval()
    stages = count_model(mixture, 224).by_label
    tokens = 197
    assert stages["selector"].macs == 12 * tokens**2 * (width + 3)  # v A: logits of all heads, and a product with v
    assert (
        stages["pass 2"].macs
        == rows["published", "pass 2"].macs - (kept - 1) * 10 * width**2 - 2 * (kept**2 - kept) * width
    )


def test_simtrans_published_pays_its_graph_and_fast_does_not():
    """The stage beside the others, in both conventions: 2.94 · 10⁹ multiply–adds a place and image at 448 pixels."""
    request = {"sizes": (448,), "backbones": ("vit_base_patch16_224",), "conventions": ("full", "fvcore")}
    rows = {(row.convention, row.impl, row.stage): row for row in rows_of("simtrans", **request)}
    stages = [stage for convention, impl, stage in rows if (convention, impl) == ("full", "published")]
    assert stages == [None, "pass 1", "fusion", "structure"]
    published, fast = (rows["full", impl, "structure"] for impl in ("published", "fast"))
    assert round(published.macs / 3e9, 2) == 2.94
    assert published.percent_of_backbone > 10
    assert published.macs > 2000 * fast.macs
    for row in (published, fast):
        assert rows["fvcore", row.impl, "structure"].flops == row.macs
        assert row.flops > 2 * row.macs
    # without the patches of the last block: queries, attention and the MLP
    assert rows["full", "fast", "pass 1"].macs < rows["full", "published", "pass 1"].macs


def test_aatrans_pays_its_matrices_in_both_implementations():
    rows = {(row.impl, row.stage): row for row in rows_of("aatrans", sizes=(448,))}
    tokens, heads, width = 37 * 37 + 1, 3, 192
    assert rows["published", "selector"].macs == 10 * heads * tokens**3
    assert rows["fast", "selector"].macs == rows["published", "selector"].macs + 11 * tokens**2 * width
    assert rows["fast", "selector"].percent_of_backbone > 100


def test_another_selector_is_counted_in_the_published_one_s_place():
    rows = [row for row in rows_of("glsim", selectors=("gls", "rollout"), impls=("fast",)) if row.stage == "selector"]
    assert [row.selector for row in rows] == ["gls", "rollout"]
    assert rows[1].macs > 100 * rows[0].macs


def test_models_that_select_nothing_have_one_implementation():
    assert [row.impl for row in rows_of("vit") if row.stage is None] == [None, None]
    assert {row.num_tokens for row in rows_of("resnet101")} == {None}


@pytest.mark.parametrize(
    ("request_", "kind", "why"),
    [
        ({"models": ("glsmi",)}, UnknownNameError, "did you mean glsim"),
        ({"models": ("tpskg",)}, FgbenchError, "cannot be reproduced yet"),
        ({"models": ("vit",), "selectors": ("gls",)}, FgbenchError, "has no selector"),
        ({"models": ("glsim",), "selectors": ("psm",)}, FgbenchError, "choose a selector whose scores fit"),
        ({"models": ("glsim",), "conventions": ("paper",)}, FgbenchError, "none for whole models"),
        ({"models": ("glsim",), "backbones": ("resnet50",)}, FgbenchError, "no plain vision transformer"),
        ({"models": ("glsim",), "sizes": (8,)}, FgbenchError, "smaller than the 16-pixel patch"),
    ],
)
def test_what_cannot_be_counted_is_one_clear_line(request_, kind, why):
    with pytest.raises(kind, match=why) as caught:
        list(model_rows(CountGrid(**{"sizes": (224,), "backbones": (TINY,), **request_}), lambda _: None))
    assert "\n" not in str(caught.value)


def test_the_paper_s_convention_beside_another_one_is_left_out_and_said():
    problems = []
    request = CountGrid(models=("vit",), sizes=(224,), backbones=(TINY,), conventions=("paper", "full"))
    assert {row.convention for row in model_rows(request, problems.append)} == {"full"}
    assert [problem.exit_code for problem in problems] == [0]


def test_one_combination_that_does_not_fit_leaves_the_others_standing():
    problems = []
    request = CountGrid(models=("vit", "transfg"), sizes=(224, 8), backbones=(TINY,), selectors=("gls",))
    rows = list(model_rows(request, problems.append))
    assert {(row.model, row.selector, row.image_size) for row in rows if row.stage is None} == {
        (None, None, 224),
        ("transfg", "gls", 224),
    }
    assert [problem.exit_code for problem in problems] == [2, 2]
    assert "has no selector" in str(problems[0])
    assert "smaller than the 16-pixel patch" in str(problems[1])


def test_networks_of_their_own_leave_a_backbone_and_a_selector_to_the_others():
    problems = []
    request = {"models": ("vit", "convnext_atto", "ffvt"), "sizes": (64,), "backbones": (TINY,)}
    rows = list(model_rows(CountGrid(**request), problems.append))
    assert {row.model for row in rows} == {None, "vit", "ffvt"}
    (problem,) = problems
    assert "'convnext_atto' is a network of its own and is not built on" in str(problem)
    rows = list(model_rows(CountGrid(**request, selectors=("maws",)), problems.append))
    assert {row.model for row in rows} == {None, "ffvt"}
    assert [("convnext_atto" in str(one), "has no selector" in str(one)) for one in problems[1:]] == [
        (False, True),
        (True, True),
    ]


def test_where_nothing_fits_every_misfit_is_named():
    problems = []
    request = CountGrid(models=("vit", "convnext_atto"), sizes=(64, 32), backbones=(TINY,), selectors=("gls",))
    with pytest.raises(FgbenchError, match="this model has no selector: 'convnext_atto'"):
        list(model_rows(request, problems.append))
    assert [str(problem).partition(";")[0] for problem in problems] == ["this model has no selector: 'vit'"]


def test_a_selector_of_somebody_else_that_breaks_is_named_and_the_others_are_counted(tmp_path, monkeypatch):
    from fgbench.plugins.registry import selectors

    (tmp_path / "boom.py").write_text(
        "from fgbench_selectors import Needs, Selector\n"
        "class Boom(Selector):\n"
        "    needs = Needs(tokens=True)\n"
        "    score_shape = ('batch', 'patches')\n"
        "    def published(self, features):\n"
        "        raise ValueError('broken on purpose')\n"
    )
    selectors.add_file(tmp_path / "boom.py")
    problems = []
    request = CountGrid(models=("glsim",), sizes=(224,), backbones=(TINY,), selectors=("boom", "gls"))
    rows = list(model_rows(request, problems.append))
    assert {row.selector for row in rows if row.model} == {"gls"}
    (problem,) = problems
    assert "plug-in 'boom'" in str(problem)
    assert "broken on purpose" in str(problem)


STAGED = """
from torch import nn
from fgbench.models.vit import ViT
from fgbench.models.model import Explanation

class Staged(ViT):
    def __init__(self, backbone=None, **options):
        super().__init__(backbone, **options)
        self.stem = nn.Conv2d(3, 3, 3, padding=1, bias=False)
        self.last = nn.Linear(self.num_classes, self.num_classes, bias=False)

    def flow(self, images):
        images = self.step("stem", self.stem, images)
        return Explanation(self.last(super().flow(images).logits))
"""


def test_stages_of_its_own_and_work_outside_of_stages_are_shown(tmp_path, monkeypatch):
    (tmp_path / "staged.py").write_text(STAGED)
    models.add_file(tmp_path / "staged.py")
    rows = {row.stage: row for row in rows_of("staged", impls=("fast",), backbones=(TINY,)) if row.model}
    assert list(rows) == [None, "pass 1", "fusion", "stem", "(outside)"]
    assert rows["stem"].macs == 3 * 3 * 9 * 224 * 224
    assert rows["(outside)"].macs == 200 * 200
    assert sum(row.flops for stage, row in rows.items() if stage) == rows[None].flops
    assert "(outside): the work" in model_notes(list(rows.values()))[-1]
