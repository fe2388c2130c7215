"""The scores in ``visualize`` and in ``accuracy --quality`` come from one function."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from helpers.small_pictures import saved

from fgbench.explain import scores as module
from fgbench.explain.boxes import Patches, input_geometry, patches_to_crop
from fgbench.explain.explainer import Explainer
from fgbench.explain.loaded_model import load_model
from fgbench.explain.picture import read_picture
from fgbench.explain.records import OWN
from fgbench.explain.request import VisualizeRequest
from fgbench.explain.scores import SelectorScores, leave_out_without_tokens, score_source
from fgbench.models.build import create_model
from fgbench_selectors import selectors


def loaded(name: str, backbone: str, **options):
    request = VisualizeRequest(images=["a.png"], models=[name], backbones=[backbone], image_size=64, **options)
    return request, load_model(request, name, backbone, torch.device("cpu"), pytest.fail)


def test_a_picture_and_a_batch_have_the_same_scores(tmp_path):
    request, model = loaded("vit", "test_vit")
    picture = read_picture(str(saved(tmp_path, "a.png")))
    image = picture.network_input(input_geometry(picture.size, 64), model.mean, model.std)
    result = Explainer(model, request, pytest.fail).explain(picture)
    with torch.inference_mode():
        expected, patches = score_source(model.model, "vit", None, pytest.fail).scores(image)
    assert list(result.selectors) == list(expected) == selectors.names()
    for name, scores in expected.items():
        assert np.array_equal(result.selectors[name].scores, scores[0].view(patches.grid).numpy())


def test_a_model_without_tokens_has_the_same_own_scores_in_both(tmp_path):
    request, model = loaded("cal", "resnet18")
    picture = read_picture(str(saved(tmp_path, "a.png")))
    image = picture.network_input(input_geometry(picture.size, 64), model.mean, model.std)
    result = Explainer(model, request, pytest.fail).explain(picture)
    with torch.inference_mode():
        expected, patches = score_source(model.model, "cal", None, pytest.fail).scores(image)
    assert list(expected) == list(result.selectors) == [OWN]
    assert np.array_equal(result.selectors[OWN].scores, expected[OWN][0].view(patches.grid).numpy())


def test_a_cost_is_counted_only_where_it_is_asked_for(monkeypatch):
    counted = []
    count = module.selection_flops
    monkeypatch.setattr(
        module, "selection_flops", lambda selector, features: (counted.append(selector), count(selector, features))[1]
    )
    scores = SelectorScores(create_model("vit", "test_vit", img_size=64).eval(), ["gls", "psm"], pytest.fail)
    with torch.inference_mode():
        scores.scores(torch.zeros(2, 3, 64, 64))
    assert counted == []
    assert scores.cost("psm").flops > 0
    assert len(counted) == 1


def test_selectors_without_tokens_to_read_are_left_out_with_one_reason_each():
    problems = []
    reasons = leave_out_without_tokens("cal", ["psm", "gls"], problems.append)
    assert reasons == dict.fromkeys(["psm", "gls"], "model 'cal' has no tokens for selectors to read")
    assert [str(problem) for problem in problems] == [
        f"left out: selector {name!r}: {why}" for name, why in reasons.items()
    ]


@pytest.mark.parametrize(
    ("size", "grid", "expected"), [(224, 14, 8), (448, 28, 16), (96, 6, 3), (32, 2, 1), (64, 1, 1)]
)
def test_a_crop_holds_eight_patches_at_224_pixels_and_in_proportion(size, grid, expected):
    patches = Patches(grid=(grid, grid), patch_size=16, stride=16, image_size=size)
    assert patches_to_crop(None, patches) == expected


def test_the_box_of_a_patch_follows_stride_and_size():
    assert Patches(grid=(3, 4), patch_size=16, stride=12, image_size=52).box(1, 2) == (12, 24, 28, 40)
