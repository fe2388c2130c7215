"""Published models as subjects: defaults, code of plug-ins, images."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from fgbench.measure.points import ModelSpec
from fgbench.measure.subject import random_images
from fgbench.measure.subjects.model import resolve
from fgbench_selectors.plugins import import_file

CASE = ModelSpec(model="glsim", backbone="test_vit", selector=None, impl=None, image_size=96, num_classes=10)


def resolved(case: ModelSpec) -> ModelSpec:
    return resolve(case)[0]


def test_defaults_are_filled_in():
    assert resolved(CASE) == replace(CASE, selector="gls", impl="fast")
    plain = resolved(replace(CASE, model="vit", backbone=""))
    assert (plain.backbone, plain.selector, plain.impl) == ("vit_base_patch16_224", None, None)
    assert resolved(replace(CASE, impl="published")).impl == "published"


def test_foreign_code_is_in_the_case(tmp_path):
    from fgbench_selectors.registry import selectors

    file = tmp_path / "mine.py"
    source = (
        "from fgbench_selectors import Needs, Selector\n"
        "class MineOfMeasure(Selector):\n"
        "    needs = Needs(tokens=True)\n"
        "    score_shape = ('batch', 'patches')\n"
        "    def published(self, features):\n"
        "        return features.read_tokens()[:, features.num_prefix_tokens :].norm(dim=-1)\n"
    )
    file.write_text(source)
    selectors.add_file(file)
    try:
        found = resolved(replace(CASE, selector="mineofmeasure"))
    finally:
        selectors._from_files.clear()
    assert found.foreign_code
    assert resolved(CASE).foreign_code is None


TIMM_PLUGIN = """
from timm.models import register_model
from timm.models.vision_transformer import _create_vision_transformer

@register_model
def brought_to_measure(pretrained=False, **options):
    shape = {"patch_size": 16, "embed_dim": 64, "depth": 2, "num_heads": 2}
    return _create_vision_transformer("vit_tiny_patch16_224", pretrained=pretrained, **{**shape, **options})
"""


def test_the_code_of_a_backbone_that_a_plug_in_brings_is_in_the_case(tmp_path):
    file = tmp_path / "brings.py"
    file.write_text(TIMM_PLUGIN)
    import_file(file)
    case = replace(CASE, model="vit", selector=None, impl=None, backbone="brought_to_measure")
    before = resolved(case).foreign_code
    file.write_text(TIMM_PLUGIN + "# another one\n")
    assert None is not before != resolved(case).foreign_code
    assert resolved(replace(case, backbone="vit_tiny_patch16_224")).foreign_code is None


def test_images_differ_from_each_other_and_are_the_same_every_time():
    one, again = (random_images(3, 32) for _ in range(2))
    assert torch.equal(one, again)
    assert not torch.equal(one[0], one[1])
    assert one.std() == pytest.approx(1, abs=0.1)
    assert not torch.equal(random_images(1, 32, seed=1), one[:1])
