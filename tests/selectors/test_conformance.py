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


class ReadsAnotherBlock(NeedsMaps):
    needs = Needs(blocks=slice(0, 2))

    def published(self, features):
        return features.read_blocks(slice(2, 3))[0].row(0).mean(1)[:, features.num_prefix_tokens :]


class ReadsTheListItself(ReadsAnotherBlock):
    def published(self, features):
        return features.attention[-1].row(0).mean(1)[:, features.num_prefix_tokens :]


class ReadsTokensWhereThereAreSome(ReadsAnotherBlock):
    def published(self, features):
        first = features.read_blocks(slice(0, 1))[0].row(0).mean(1)[:, features.num_prefix_tokens :]
        return first if features.tokens is None else 2 * first


class ReadsLogits(ReadsAnotherBlock):
    def published(self, features):
        return features.read_blocks(slice(0, 1))[0].logits_map().mean(1)[:, 0, features.num_prefix_tokens :].clone()


class ReadsNothing(Norm):
    needs = Needs()


class CallsTheClassTokenAPatch(Norm):
    """It needs a class token and does not say so."""

    def published(self, features):
        if not features.has_class_token:
            raise RuntimeError("no class token")
        return super().published(features)


class CountsInsteadOfScoring(Norm):
    def published(self, features):
        return super().published(features).argsort()


class SaysYesOrNo(Norm):
    def published(self, features):
        return super().published(features) > 1


class IsAView(Norm):
    def published(self, features):
        return features.read_tokens()[:, features.num_prefix_tokens :, 0]


class FastIsOtherAtASmallScale(Norm):
    def published(self, features):
        return super().published(features) * 1e-9

    def fast(self, features):
        return super().fast(features) * 2


class FastRanksOtherwise(Norm):
    def published(self, features):
        return 1000 + super().published(features) / 1000

    def fast(self, features):
        return 1000 - super().published(features) / 1000


class EndsEverything(Norm):
    def published(self, features):
        raise BaseException("the end")  # noqa: TRY002  # that is what it does


BREACHES = {
    ReadsAnotherBlock: "it reads more than its 'needs' declare: FeaturesError: attention of block 3",
    ReadsTheListItself: "it reads more than its 'needs' declare: AttributeError",
    ReadsTokensWhereThereAreSome: "its scores change when everything is recorded",
    ReadsLogits: "it reads more than its 'needs' declare: FeaturesError: logits are needed",
    ReadsNothing: "declare neither tokens nor blocks",
    CallsTheClassTokenAPatch: r"does not run: RuntimeError: no class token .*0 prefix tokens",
    CountsInsteadOfScoring: "its scores are torch.int64, not floating point",
    SaysYesOrNo: "its scores are torch.bool, not floating point",
    IsAView: "a view of its input",
    FastIsOtherAtASmallScale: "published and fast disagree",
    FastRanksOtherwise: "published and fast disagree on which patches are the best",
    EndsEverything: "it does not run: BaseException: the end",
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


class Learned(Norm):
    """It draws its weights, and lies among those of ties."""

    learned = True

    def __init__(self, impl="fast"):
        super().__init__(impl)
        self.layer = torch.nn.Linear(24, 1)

    def published(self, features):
        return self.layer(features.read_tokens()[:, features.num_prefix_tokens :]).squeeze(-1).mul(4).round()


def test_a_learned_selector_with_ties_conforms(monkeypatch):
    state = torch.random.get_rng_state()
    check_selector(register(monkeypatch, Learned))
    assert torch.equal(torch.random.get_rng_state(), state)


def test_ctrl_c_ends_the_check(monkeypatch):
    class Interrupted(Norm):
        def published(self, features):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        check_selector(register(monkeypatch, Interrupted))


@pytest.mark.parametrize("cls", BREACHES, ids=lambda cls: cls.__name__)
def test_every_breach_is_found_and_named(monkeypatch, cls):
    with pytest.raises(BrokenPluginError, match=BREACHES[cls]) as caught:
        check_selector(register(monkeypatch, cls))
    assert "plug-in 'mine' from a test is broken" in str(caught.value)


def test_an_unknown_name_is_no_broken_plug_in():
    with pytest.raises(UnknownNameError):
        check_selector("pms")
