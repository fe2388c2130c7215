"""R2-Trans: how many patches are dropped, and on what its predictions depend."""

from __future__ import annotations

import pytest
import torch
from helpers.model_scenes import enliven, images

from fgbench.models.build import create_model
from fgbench.models.model import STAGES


def built(backbone: str = "fgtest_vit", size: int = 96, **options):
    return enliven(create_model("r2trans", backbone, img_size=size, num_classes=3, **options)).eval()


def stages_of(model, batch) -> list[str]:
    met = []
    model.on_step = lambda stage, run: (met.append(stage), run())[1]
    with torch.no_grad():
        model(batch)
    model.on_step = None
    return sorted(set(met), key=STAGES.index)


def test_its_published_prediction_is_that_of_one_pass():
    model, batch = built(), images(2, 96)
    plain = create_model("vit", "fgtest_vit", img_size=96, num_classes=3).eval()
    plain.load_state_dict({name: w for name, w in model.state_dict().items() if name in plain.state_dict()})
    with torch.no_grad():
        assert torch.equal(model(batch), plain(batch))
        assert torch.equal(model.explain(batch).logits, plain(batch))
    assert stages_of(model, batch) == ["pass 1", "fusion"]
    model.impl = "published"
    assert stages_of(model, batch) == ["pass 1", "selector", "pass 2", "fusion"]
    assert stages_of(built(predict="mixture"), batch) == ["pass 1", "selector", "pass 2", "fusion"]


def test_the_number_of_dropped_patches_is_that_of_the_batch():
    model = built()
    values = torch.full((2, 36), 0.5)
    values[0, :12] = 0.1  # 12 below the mean
    values[1, :7] = 0.2  # 7 below the mean
    assert model.number_dropped(values) == 9  # of 9.5
    assert model.number_dropped(values[:1]) == 12
    assert model.number_dropped(values[1:]) == 7
    assert model.number_dropped(torch.full((1, 36), 0.1)) in (0, 35)  # by the rounding of the mean; one patch is kept
    assert built(drop=0.3).number_dropped(values) == 10
    assert built(drop=1).number_dropped(values) == 35


def test_the_patches_of_lowest_values_are_dropped():
    model = built(drop=0.5)
    model.score_norm.weight.data.fill_(1)
    model.score_norm.bias.data.fill_(0)
    scores = torch.rand(2, 36, generator=torch.Generator().manual_seed(0))
    kept = model.kept(scores)
    assert torch.equal(kept, scores.argsort(dim=1)[:, 18:])
    model.score_norm.bias.data[int(scores[0].argmin())] = 100  # each place has a weight and a bias of its own
    assert kept[0].tolist() != model.kept(scores)[0].tolist()
    with torch.no_grad():
        found = model.explain(images(2, 96))
    assert found.selected.shape == (2, 18)
    assert found.boxes.shape == (2, 18, 4)


def test_other_images_of_a_batch_change_the_mixture_unless_a_share_is_fixed():
    batch = images(3, 224)
    with torch.no_grad():
        alone, together = (built(size=224, predict="mixture")(x)[0] for x in (batch[:1], batch))
        assert (alone - together).abs().max() > 1e-3
        fixed = built(size=224, predict="mixture", drop=0.4)
        torch.testing.assert_close(fixed(batch[:1])[0], fixed(batch)[0], rtol=0, atol=1e-5)


@pytest.mark.parametrize("backbone", ["vit_small_patch16_rope_mixed_224", "vit_small_patch16_dinov3"])
def test_patches_that_are_kept_keep_their_rotary_positions(backbone):
    model = built(backbone, predict="mixture", drop=0.0)
    batch = images(2, 96)
    with torch.no_grad():
        heads = model.explain(batch).heads
    torch.testing.assert_close(heads["first"], heads["second"], rtol=0, atol=1e-4)


def test_the_epsilon_of_a_file_is_not_that_of_the_scores():
    model = built()
    model.set_norm_eps(1e-12)
    scores = torch.tensor([[0.0, 1e-3] * 18])
    expected = (scores - 5e-4) / (2.5e-7 + 1e-5) ** 0.5
    model.score_norm.weight.data.fill_(1)
    model.score_norm.bias.data.fill_(0)
    torch.testing.assert_close(model.score_norm(scores), expected)
