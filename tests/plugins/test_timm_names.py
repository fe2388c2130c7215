"""The list of timm's names and shapes that is shipped, against the timm that is installed."""

from __future__ import annotations

import json
import re

import pytest
import timm
from hypothesis import given
from hypothesis import strategies as st

from fgbench.errors import FgbenchError, UnknownNameError
from fgbench.models import backbone
from fgbench.models.timm_list import names_of_timm
from fgbench.plugins import timm_names

SHIPPED = timm_names.file_of(timm.__version__)
# A member of each kind: other prefixes, heads, norms, patches; two heads; no class token; layer scale; registers.
MEMBERS = (
    *("vit_tiny_patch16_224", "vit_base_patch14_dinov2", "deit_tiny_distilled_patch16_224", "deit3_small_patch16_224"),
    *(
        "eva02_tiny_patch14_224",
        "vit_small_patch14_reg4_dinov2",
        "vit_base_patch32_clip_224",
        "vit_base_patch16_siglip_224",
    ),
    *("flexivit_small", "test_vit", "vit_base_patch16_gap_224", "vit_small_patch32_224"),
)


@pytest.fixture
def other_version(monkeypatch, tmp_path):
    """A version of timm that no list is shipped for."""
    monkeypatch.setattr(timm_names, "installed_version", lambda _: "99.0")
    monkeypatch.setenv("FGBENCH_CACHE", str(tmp_path / "cache"))
    timm_names._names.cache_clear()
    yield tmp_path / "cache"
    timm_names._names.cache_clear()


@pytest.mark.skipif(not SHIPPED.exists(), reason="no list is shipped for this version of timm")
def test_the_list_has_what_timm_has():
    """``nox -s timm_list`` writes it anew."""
    shipped = json.loads(SHIPPED.read_text())
    found = names_of_timm()
    assert {**shipped, "backbones": None} == {**found, "backbones": None}
    assert list(shipped["backbones"]) == list(found["backbones"])
    assert sum(shape is not None for shape in shipped["backbones"].values()) > 100


def test_one_list_at_least_is_shipped_and_fits_the_shapes():
    files = sorted(SHIPPED.parent.glob("*.json"))
    assert files
    for file in files:
        shapes = json.loads(file.read_text())["backbones"].values()
        assert {len(shape) for shape in shapes if shape is not None} == {len(timm_names.SHAPE)}


@pytest.mark.parametrize(
    "name", [*MEMBERS, "resnet101", "vit_base_patch16_224.augreg_in21k", "vit_base_patch16_224_in21k"]
)
def test_a_name_of_timm_is_known(name):
    assert timm_names.is_timm_model(name)


@pytest.mark.parametrize(
    "name", ["", ".", "vit", "vit_base_patch16_224.", "vit_base_patch16_224.nobody", "fgbench_glsim"]
)
def test_another_name_is_not(name):
    assert timm_names.is_timm_model(name) == (name == "vit_base_patch16_224.")  # timm itself takes an empty tag


def test_the_error_names_the_nearest():
    with pytest.raises(UnknownNameError, match=re.escape("did you mean vit_base_patch16_224")):
        raise timm_names.unknown_backbone("vit_base_patch16_22")
    with pytest.raises(UnknownNameError, match="augreg_in21k"):
        raise timm_names.unknown_backbone("vit_base_patch16_224.augreg_in21")
    with pytest.raises(UnknownNameError, match="resnet101"):
        raise timm_names.unknown_backbone("resnet1001", of_resnets=True)


@given(
    name=st.sampled_from(MEMBERS),
    size=st.integers(8, 600),
    classes=st.integers(1, 2000),
    stride=st.none() | st.integers(1, 40),
)
def test_a_shape_is_that_of_the_backbone_timm_builds(name, size, classes, stride):
    try:
        listed = timm_names.shape_of(name, size, classes, stride)
    except FgbenchError as error:
        with pytest.raises(FgbenchError, match=re.escape(str(error))):
            backbone.build_on_meta(name, size, classes, stride)
        return
    if listed is not None:
        assert listed == backbone.build_on_meta(name, size, classes, stride).shape


@pytest.mark.skipif(not SHIPPED.exists(), reason="no list is shipped for this version of timm")
@pytest.mark.parametrize("name", MEMBERS)
def test_a_shape_is_listed_where_the_paper_describes_the_blocks(name):
    listed = timm_names.shape_of(name, 224, 200, None)
    assert (listed is not None) == backbone.build_on_meta(name, 224).shape.has_paper_blocks


def test_the_names_of_another_version_are_asked_of_timm_once_and_kept(other_version, monkeypatch):
    assert timm_names.is_timm_model("vit_base_patch16_224")
    assert not timm_names.is_timm_model("vit_base_patch16_225")
    assert timm_names.shape_of("vit_base_patch16_224", 224, 200, None) is None
    assert len(list(other_version.iterdir())) == 1
    timm_names._names.cache_clear()
    monkeypatch.setattr("fgbench.models.timm_list.names_of_timm", lambda: pytest.fail("timm is asked again"))
    assert timm_names.is_timm_model("vit_base_patch16_224")
