"""The learned part of SACM: when it has parameters, and where they come from."""

from __future__ import annotations

import pytest
import torch
from helpers.strategies import make_case

from fgbench_selectors import IMPLS, Features, FeaturesError, get


def trained(depth: int = 3, **options) -> torch.nn.Module:
    """An excitation that no longer weighs every block the same."""
    selector = get("sacm", depth=depth, **options)
    for parameter in selector.parameters():
        torch.nn.init.normal_(parameter, generator=torch.Generator().manual_seed(1))
    return selector


def test_sacm_trains_its_excitation_and_nothing_else():
    case = make_case(depth=3)
    selector = get("sacm", depth=3)
    features = case.features.map(lambda x: x.float().requires_grad_())
    selector(features).sum().backward()
    assert all(p.grad is not None for p in selector.parameters())
    assert all(block.q.grad is None for block in features.attention)


def test_a_depth_gives_it_parameters_at_once():
    assert sum(p.numel() for p in get("sacm", depth=12).parameters()) == 2 * (12 * 12 + 12)
    torch.optim.SGD(get("sacm", depth=12).parameters(), lr=1)


@pytest.mark.parametrize("impl", IMPLS)
def test_without_a_depth_it_weighs_any_number_of_blocks_the_same(impl):
    selector = get("sacm", impl=impl)
    state = torch.random.get_rng_state()
    for depth in (3, 5):
        features = make_case(depth=depth).features
        torch.testing.assert_close(selector(features), get("sacm", depth=depth)(features).detach())
    assert list(selector.parameters()) == []
    torch.random.set_rng_state(state)
    selector(features)
    assert torch.equal(torch.random.get_rng_state(), state), "a score draws no random numbers"


def test_another_number_of_blocks_than_it_was_made_for_is_an_error():
    selector = trained(depth=3)
    with pytest.raises(FeaturesError, match="for depth=3 and met blocks: 5; make one with depth=5"):
        selector(make_case(depth=5).features)
    assert selector.excitation[0].in_features == 3


def test_a_first_call_in_inference_mode_leaves_it_trainable():
    selector, features = get("sacm", depth=3), make_case(depth=3).features
    with torch.inference_mode():
        selector(features)
    selector(features).sum().backward()
    assert all(p.grad is not None for p in selector.parameters())


@pytest.mark.parametrize("options", [{}, {"depth": 3, "hidden_ratio": 2}], ids=["without depth", "with depth"])
def test_a_state_dict_brings_the_excitation_along(options):
    source, features = trained(hidden_ratio=2), make_case(depth=3).features
    selector = get("sacm", **options)
    selector.load_state_dict(source.state_dict())
    torch.testing.assert_close(selector(features), source(features))
    assert selector.depth == 3


def test_a_state_dict_of_a_model_brings_the_excitation_along():
    model, source = (torch.nn.ModuleDict({"selector": made}) for made in (get("sacm"), trained()))
    model.load_state_dict(source.state_dict())
    assert len(list(model.parameters())) == 4


def test_a_state_dict_of_another_depth_is_refused():
    with pytest.raises(RuntimeError, match="size mismatch for excitation"):
        get("sacm", depth=4).load_state_dict(trained(depth=3).state_dict())


def test_what_was_asked_of_the_selector_reaches_an_excitation_that_is_loaded_later():
    selector = get("sacm").eval().double().to("meta")
    selector.load_state_dict(trained().to("meta").state_dict())
    assert {(p.dtype, p.device.type) for p in selector.parameters()} == {(torch.float64, "meta")}
    assert not any(module.training for module in selector.modules())


def test_a_device_without_float64_is_refused_in_one_line(monkeypatch):
    monkeypatch.setattr(Features, "device", property(lambda self: torch.device("mps")))
    for impl in IMPLS:
        with pytest.raises(FeaturesError, match="sacm needs float64, which the device lacks: 'mps'"):
            get("sacm", impl=impl)(make_case().features)
