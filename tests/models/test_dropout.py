"""Dropout in training: its places, its share, and what is predicted and saved without it."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from helpers.model_scenes import enliven, images, on_small_vit
from torch import Tensor, nn

from fgbench.models.initialization import DROPOUT_PLACES

PLACES = {"mlp": ("pos_drop", "drop1", "drop2"), "branches": ("proj_drop", "drop2"), "embedding": ("pos_drop",)}


def dropped(model: Any) -> dict[str, tuple[int, int]]:
    """Of every dropout that drops anything in a forward pass: the units that were set to 0, and all."""
    found: dict[str, tuple[int, int]] = {}
    handles = []
    for name, module in model.named_modules():
        if isinstance(module, nn.Dropout):

            def look(own: nn.Dropout, given: tuple[Tensor], out: Tensor, name: str = name) -> None:
                kept = out != 0
                torch.testing.assert_close(out[kept], given[0][kept] / (1 - own.p if own.training else 1))
                zeros, units = found.get(name, (0, 0))
                found[name] = zeros + int((~kept & (given[0] != 0)).sum()), units + out.numel()

            handles.append(module.register_forward_hook(look))
    with torch.no_grad():
        model(images(16, 64))
    for handle in handles:
        handle.remove()
    return {name: counts for name, counts in found.items() if counts[0]}


@pytest.mark.parametrize("place", DROPOUT_PLACES)
def test_dropout_drops_its_share_of_units_where_it_is_told_to_and_in_training_alone(place):
    model = enliven(on_small_vit("vit", dropout=0.1, dropout_at=place))
    assert dropped(model.eval()) == {}
    torch.manual_seed(1)
    found = dropped(model.train())
    blocks = [f"blocks.{block}." for block in range(4)] if place != "embedding" else []
    expected = [f"encoder.vit.{part}" for part in PLACES[place] if part == "pos_drop"]
    for block in blocks:
        for part in PLACES[place]:
            if part != "pos_drop":
                expected.append(f"encoder.vit.{block}{'attn' if part == 'proj_drop' else 'mlp'}.{part}")
    assert sorted(found) == sorted(expected)
    for zeros, units in found.values():
        assert units >= 16 * 17 * 64
        assert abs(zeros / units - 0.1) < 5 * math.sqrt(0.1 * 0.9 / units)


@pytest.mark.parametrize(
    "name",
    [
        *("transfg", "ffvt", "ramstrans", "glsim", "dcal", "ev", "aftrans", "ielt", "r2trans"),
        *("simtrans", "aatrans", "accvit", "falvit"),
    ],
)
@pytest.mark.parametrize("impl", ["fast", "published"])
def test_a_model_trains_with_dropout_and_predicts_and_is_saved_as_without(name, impl):
    plain = enliven(on_small_vit(name, impl=impl)).eval()
    model = enliven(on_small_vit(name, impl=impl, dropout=0.3)).eval()
    batch, targets = images(3, 64), torch.tensor([0, 1, 2])
    assert list(model.state_dict()) == list(plain.state_dict())
    with torch.no_grad():
        assert torch.equal(model(batch), plain(batch))
    model.train()
    losses = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        loss, _ = model.loss(batch, targets, torch.tensor([1, 2, 0])) if name == "dcal" else model(batch, targets)
        losses.append(loss.item())
    loss.backward()
    assert losses[0] == losses[1] != losses[2]
    assert all(p.grad is None or torch.isfinite(p.grad).all() for p in model.parameters())


def test_the_second_class_token_of_ramstrans_is_embedded_with_dropout_too():
    model = enliven(on_small_vit("ramstrans", dropout=0.5)).train()
    torch.manual_seed(0)
    tokens = model.start(images(8, 64)).tokens[:, 1]
    assert 0.4 < (tokens == 0).float().mean() < 0.6
    assert (model.eval().start(images(8, 64)).tokens[:, 1] == model.second_class_token[0]).all()


def test_dropout_of_glsim_s_branches_gives_way_to_stochastic_depth():
    model = enliven(on_small_vit("glsim", dropout=0.1)).train()
    torch.manual_seed(0)
    found = dropped(model)
    assert {name.rsplit(".", 1)[1] for name in found} == {"proj_drop", "drop2"}
    assert {"aggregator.attn.proj_drop", "aggregator.mlp.drop2"} <= set(found)
    model.set_stochastic_depth(0.1)
    assert dropped(model) == {}
    model.set_stochastic_depth(0)
    assert set(dropped(model)) == set(found)
    other = enliven(on_small_vit("transfg", dropout=0.1)).train()
    other.set_stochastic_depth(0.1)
    assert "encoder.vit.pos_drop" in dropped(other)
