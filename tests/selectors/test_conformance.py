"""Every registered selector keeps the contract, plug-ins included – and the check can fail."""

from __future__ import annotations

import pytest
import torch

from fgbench_selectors import BrokenPluginError, Needs, Selector, UnknownNameError, selectors
from fgbench_selectors.conformance import check_selector
from fgbench_selectors.registry import Entry


@pytest.mark.parametrize("name", selectors.names())
def test_selector_conforms(name):
    check_selector(name)


class Norm(Selector):
    """Length of every patch token."""

    needs = Needs(tokens=True)
    score_shape = ("batch", "patches")

    def published(self, features):
        return features.read_tokens()[:, features.num_prefix_tokens :].norm(dim=-1)


class OtherShape(Norm):
    score_shape = ("batch", "tokens")


class Infinite(Norm):
    def published(self, features):
        return super().published(features) / 0


class ChangesInput(Norm):
    def published(self, features):
        features.read_tokens().mul_(2)
        return super().published(features)


class Unsteady(Norm):
    def published(self, features):
        return super().published(features) + torch.rand(())


class LetsGradientThrough(Norm):
    def forward(self, features):
        return self.published(features)


class LooksAtNeighbours(Norm):
    def published(self, features):
        scores = super().published(features)
        return scores - scores.mean()


class FastIsOther(Norm):
    def fast(self, features):
        return super().fast(features) * 1.1


class ReadsValues(Norm):
    def published(self, features):
        scores = super().published(features)
        return scores + 0 * scores.max().item()


class Raises(Norm):
    def published(self, features):
        raise KeyError("lost")


class NeedsMaps(Norm):
    needs = Needs(blocks=slice(None))

    def published(self, features):
        first = features.read_blocks(slice(None))[0]
        return first.row(0).mean(1)[:, features.num_prefix_tokens :] + hasattr(first, "probs")


BREACHES = {
    OtherShape: "scores have shape",
    Infinite: "not finite",
    ChangesInput: "changes its input",
    Unsteady: "a second call gives other scores",
    LetsGradientThrough: "gradient flows through it",
    LooksAtNeighbours: "depend on its neighbours",
    FastIsOther: "published and fast disagree",
    ReadsValues: "does not run on the meta device",
    Raises: "it does not run: KeyError",
    NeedsMaps: "ready maps give other scores",
}


def register(monkeypatch, cls: type) -> str:
    monkeypatch.setattr(selectors, "_from_files", {"mine": Entry("mine", "a test", lambda: cls)})
    return "mine"


def test_a_good_selector_conforms(monkeypatch):
    check_selector(register(monkeypatch, Norm))


@pytest.mark.parametrize("cls", BREACHES, ids=lambda cls: cls.__name__)
def test_every_breach_is_found_and_named(monkeypatch, cls):
    with pytest.raises(BrokenPluginError, match=BREACHES[cls]) as caught:
        check_selector(register(monkeypatch, cls))
    assert "plug-in 'mine' from a test is broken" in str(caught.value)


def test_an_unknown_name_is_no_broken_plug_in():
    with pytest.raises(UnknownNameError):
        check_selector("pms")
