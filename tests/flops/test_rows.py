"""Rows of counts: every selector and its backbone, in the same unit."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from fgbench.errors import CheckFailedError, FgbenchError, UnknownNameError
from fgbench.flops import crosscheck, paper
from fgbench.flops.counter import Count, count_flops
from fgbench.flops.grid import CountGrid
from fgbench.flops.handlers import Cost
from fgbench.flops.rows import flops_rows, geometry_of
from fgbench.models.backbone import backbone_names, build_on_meta
from fgbench.plugins.registry import selectors
from fgbench.results.files import rows_of as saved_rows
from fgbench_reports.measured.flops import NOTES

TINY = ("vit_tiny_patch16_224",)
REGISTERED = (
    *("attention", "attention_sum", "column_entropy", "column_mass", "confidence"),
    *("gls", "maws", "mhv", "psm", "rollout", "sacm"),
)


def rows_of(**request) -> list:
    problems: list[FgbenchError] = []
    rows = list(flops_rows(CountGrid(**{"backbones": TINY, "sizes": (224,), **request}), problems.append))
    assert problems == []
    return rows


def test_a_backbone_row_leads_and_percent_divides_like_by_like():
    for convention in ("full", "fvcore", "paper"):
        base, *others = rows_of(conventions=(convention,))
        assert (base.selector, base.impl, base.percent_of_backbone) == (None, None, 100.0)
        assert base.params == 5_563_016  # ViT-T/16 with 200 classes
        assert others
        for row in others:
            assert row.percent_of_backbone == pytest.approx(100 * row.flops / base.flops)
            assert row.convention == convention


@pytest.mark.parametrize("stride", [16, 12])
@pytest.mark.parametrize("name", ["psm", "rollout", "maws", "gls", "sacm"])
def test_the_matrix_products_of_published_selectors_equal_the_closed_forms(name, stride):
    """On one grid for both; counted operator by operator on one side, arithmetic on the other."""
    request = {"selectors": (name,), "impls": ("published",), "patch_stride": stride}
    (_, counted) = rows_of(**request)
    (_, form) = rows_of(**request, conventions=("paper",))
    assert (counted.macs, counted.num_tokens) == (form.macs, form.num_tokens)
    assert counted.num_tokens == {16: 197, 12: 325}[stride]


@pytest.mark.parametrize("size", [224, 300])
@pytest.mark.parametrize("stride", [None, 12])
@pytest.mark.parametrize("backbone", ["vit_tiny_patch16_224", "vit_small_patch14_reg4_dinov2", "vit_base_patch32_224"])
def test_a_backbones_macs_equal_torchs_counter_and_the_closed_form(backbone, size, stride):
    built = build_on_meta(backbone, size, stride=stride)
    count = count_flops(built.module.forward, built.image())
    assert count.macs == crosscheck.torch_macs(built.module.forward, built.image())
    assert count.macs == crosscheck.closed_form_macs(built)
    if built.num_prefix_tokens == 1:
        geometry = geometry_of(built.shape, CountGrid(patch_stride=stride))
        assert count.macs == paper.backbone_cost(geometry).macs


@pytest.mark.parametrize("selector", REGISTERED)
@pytest.mark.parametrize("impl", ["published", "fast"])
def test_selectors_macs_equal_torchs_counter(selector, impl):
    from fgbench_selectors import get

    built = build_on_meta("vit_tiny_patch16_224", 224)
    made = get(selector, impl=impl)
    features = built.features(made.needs, ready_maps=impl == "published")
    assert count_flops(made.forward, features).macs == crosscheck.torch_macs(made.forward, features)


def test_the_cross_check_fails_when_a_count_is_off():
    built = build_on_meta("vit_tiny_patch16_224", 224)
    count = count_flops(built.module.forward, built.image())
    crosscheck.cross_check("it", built, count)
    with pytest.raises(CheckFailedError, match="flop_counter says"):
        crosscheck.cross_check("it", built, Count(count.total + Cost(macs=1), count.by_operator))


def test_the_closed_form_leaves_out_blocks_that_it_does_not_describe():
    assert crosscheck.closed_form_macs(build_on_meta("eva02_tiny_patch14_224", 224)) is None


def test_maws_and_gls_are_not_free():
    full = {(row.selector, row.impl): row for row in rows_of(selectors=("maws", "gls"))}
    fvcore = {(row.selector, row.impl): row for row in rows_of(selectors=("maws", "gls"), conventions=("fvcore",))}
    for name in ("maws", "gls"):
        assert full[name, "published"].flops > 0
        assert fvcore[name, "published"].flops == 0, "this is what fvcore itself says"


@pytest.mark.parametrize(("backbone", "width"), [("vit_tiny_patch16_224", 192), ("vit_base_patch16_224", 768)])
def test_the_note_names_the_selectors_whose_fast_count_is_larger(backbone, width):
    counted = {}
    for row in rows_of(backbones=(backbone,), sizes=(64, 224, 448)):
        counted.setdefault((row.image_size, row.num_tokens, row.selector), {})[row.impl] = row.flops
    larger = {size: set() for size, *_ in counted}
    for (size, _, selector), by_impl in counted.items():
        if selector and by_impl["fast"] > by_impl["published"]:
            larger[size].add(selector)
    always = {"column_entropy", "column_mass", "mhv", "sacm"}
    for size, tokens in ((224, 197), (448, 785)):
        assert larger[size] == always | ({"rollout"} if tokens < width else set())
    assert larger[64] > always
    (note,) = (note for note in NOTES["full"] if "larger count" in note)
    assert all(name in note for name in (*always, "rollout", "224 pixels"))


def test_selectors_are_counted_on_the_grid_of_the_backbone_they_run_on():
    for size, stride, tokens in ((224, None, 197), (224, 12, 325), (448, 12, 1370), (1024, 12, 7226)):
        rows = rows_of(sizes=(size,), patch_stride=stride, selectors=("maws",))
        assert {row.num_tokens for row in rows} == {tokens}


def test_registers_count_as_tokens_and_not_as_patches():
    rows = rows_of(backbones=("vit_small_patch14_reg4_dinov2",), sizes=(518,))
    assert {row.num_tokens for row in rows} == {37 * 37 + 5}


def test_sizes_that_the_patch_does_not_divide_are_floored():
    (base, *_) = rows_of(sizes=(230,))
    assert base.num_tokens == 197


def test_a_billion_element_map_takes_no_memory():
    rows = rows_of(sizes=(4096,), selectors=("psm",), impls=("published",))
    assert rows[1].macs == 10 * 3 * 65537**3


@pytest.mark.thorough
def test_every_listed_backbone_can_be_built_at_another_size():
    names = backbone_names()
    assert len(names) > 200
    assert {"vit_base_patch16_224", "deit_base_distilled_patch16_224", "eva02_tiny_patch14_224"} <= set(names)
    for name in names:
        assert build_on_meta(name, 320).num_tokens > 50, name


@pytest.mark.parametrize(
    "name",
    [
        "deit3_small_patch16_224",
        "deit_tiny_distilled_patch16_224",
        "eva02_tiny_patch14_224",
        "flexivit_small",
        "vit_small_patch14_reg4_dinov2",
    ],
)
def test_one_backbone_of_every_family_passes_the_cross_check(name):
    rows = rows_of(backbones=(name,), cross_check=True)
    assert len(rows) == 1 + 2 * len(REGISTERED)


def test_selectors_that_read_the_class_token_are_left_out_where_there_is_none():
    request = {"backbones": ("vit_base_patch16_siglip_224", *TINY), "sizes": (224,)}
    problems: list[FgbenchError] = []
    rows = list(flops_rows(CountGrid(**request), problems.append))
    without = {None, "gls", "column_mass", "column_entropy", "confidence"}
    assert {row.selector for row in rows if "siglip" in row.backbone} == without
    assert {row.selector for row in rows if "tiny" in row.backbone} == {None, *REGISTERED}
    (notice,) = problems
    assert notice.exit_code == 0
    assert "attention, attention_sum, maws, mhv, psm, rollout, sacm" in str(notice)
    with pytest.raises(FgbenchError, match="has no class token"):
        list(flops_rows(CountGrid(**request, selectors=("psm",)), problems.append))


def test_what_a_backbone_lacks_is_said_once_and_not_at_every_size():
    problems: list[FgbenchError] = []
    request = CountGrid(backbones=("vit_base_patch16_siglip_224",), sizes=(224, 448), selectors=None)
    list(flops_rows(request, problems.append))
    assert len(problems) == 1


def test_a_selector_that_breaks_is_reported_once_and_left_out_at_every_size(monkeypatch, tmp_path):
    path = tmp_path / "broken.py"
    path.write_text(
        "from fgbench_selectors import Needs, Selector\n"
        "calls = []\n"
        "class Broken(Selector):\n"
        "    needs, score_shape = Needs(tokens=True), ('batch', 'patches')\n"
        "    def published(self, features):\n"
        "        calls.append(1)\n"
        "        raise KeyError(len(calls))\n"
    )
    selectors.add_file(path)
    problems: list[FgbenchError] = []
    rows = list(flops_rows(CountGrid(backbones=TINY, sizes=(224, 448), selectors=["gls", "broken"]), problems.append))
    assert [problem.exit_code for problem in problems] == [2]
    assert {row.selector for row in rows} == {None, "gls"}
    assert {row.image_size for row in rows} == {224, 448}


def test_parameters_are_the_same_in_every_convention():
    for row in rows_of(conventions=("full", "fvcore", "paper"), impls=("published",), selectors=("sacm", "gls")):
        assert row.params == {None: 5_563_016, "sacm": 2 * (12 * 12 + 12), "gls": 0}[row.selector]


@pytest.mark.parametrize("name", ["eva02_tiny_patch14_224", "vit_so150m_patch16_reg4_gap_256"])
def test_backbones_of_other_blocks_have_no_closed_form(name):
    request = {"backbones": (name, *TINY), "sizes": (224,), "selectors": ("gls",)}
    problems: list[FgbenchError] = []
    rows = list(flops_rows(CountGrid(**request, conventions=("full", "paper")), problems.append))
    assert {(row.backbone, row.convention) for row in rows} == {
        (name, "full"),
        *((TINY[0], c) for c in ("full", "paper")),
    }
    (notice,) = problems
    assert notice.exit_code == 0
    assert "left out of convention paper" in str(notice)
    with pytest.raises(FgbenchError, match="not the paper's"):
        rows_of(**request, conventions=("paper",))


def test_nothing_is_counted_before_everything_can_be_built():
    rows = flops_rows(CountGrid(backbones=TINY, sizes=(224, 8)), lambda _: None)
    with pytest.raises(FgbenchError, match="smaller than the 16-pixel patch"):
        next(rows)


def test_the_cross_check_runs_in_convention_paper_too(monkeypatch):
    monkeypatch.setattr(crosscheck, "torch_macs", lambda *_: 1)
    with pytest.raises(CheckFailedError):
        rows_of(conventions=("paper",), cross_check=True)


@pytest.mark.parametrize(
    ("request_", "error", "message"),
    [
        ({"backbones": ("vit_tinny_patch16_224",)}, UnknownNameError, "did you mean vit_tiny_patch16_224"),
        ({"selectors": ("pms",)}, UnknownNameError, "did you mean psm"),
        ({"backbones": ("resnet50",)}, FgbenchError, "no plain vision transformer: 'resnet50'"),
        ({"backbones": ("swin_tiny_patch4_window7_224",)}, FgbenchError, "no plain vision transformer"),
        ({"backbones": ("beit_base_patch16_224",)}, FgbenchError, "no plain vision transformer"),
        ({"backbones": ("cait_xxs24_224",)}, FgbenchError, "no plain vision transformer"),
        ({"backbones": ("vit_base_patch16_dinov3",), "sizes": (250,)}, FgbenchError, "does not run on images of 250"),
        ({"backbones": ("vit_tiny_r_s16_p8_224",)}, FgbenchError, "no plain vision transformer"),
        ({"backbones": ("vit_small_patch16_18x2_224",)}, FgbenchError, "no plain vision transformer"),
        ({"sizes": (15,)}, FgbenchError, "smaller than the 16-pixel patch"),
        ({"patch_stride": 17}, FgbenchError, "would skip pixels"),
        ({"conventions": ("paper",), "selectors": ("attention",)}, FgbenchError, "no closed form for selector"),
        ({"conventions": ("paper",), "impls": ("fast",)}, FgbenchError, "no closed form for impl"),
    ],
)
def test_what_cannot_be_counted_is_refused_in_one_line(request_, error, message):
    with pytest.raises(error, match=message) as caught:
        rows_of(**request_)
    assert "\n" not in str(caught.value)


def test_a_stage_is_read_and_printed_by_its_earlier_name_too(tmp_path):
    row = replace(rows_of(selectors=())[0], model="glsim", params=None, stage="selector", activation_bytes=None)
    printed = row.as_dict(parts=True)
    assert (printed["part"], printed["stage"]) == ("selector", "selector")
    assert not {"part", "stage"} & set(row.as_dict())
    earlier = {name: value for name, value in printed.items() if name not in ("stage", "kind", "schema_version")}
    for number, saved in enumerate((printed, earlier)):
        file = tmp_path / f"{number}.json"
        file.write_text(json.dumps([saved]), encoding="utf-8")
        (read,) = saved_rows(file, print)
        assert (read.stage, read["stage"], read["part"], read.other) == ("selector", "selector", "selector", {})
        assert read.as_dict(parts=True) == printed
