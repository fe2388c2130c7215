"""Facts about classes from their source code, compared with the classes."""

from __future__ import annotations

import pytest

from fgbench.models.build import model_options
from fgbench.plugins.facts import class_facts
from fgbench.plugins.kinds import models
from fgbench.plugins.names import default_backbone, own_facts, reads_class_token
from fgbench_selectors import Needs
from fgbench_selectors.registry import Entry, selectors


@pytest.mark.parametrize("name", models.names())
def test_the_source_of_a_model_says_what_the_class_has(name):
    facts, kind = own_facts(models, name), models.load(name)
    assert facts is not None
    assert facts.doc.splitlines()[0] == kind.__doc__.splitlines()[0]
    assert facts.attributes["default_backbone"] == kind.default_backbone == default_backbone(name)
    assert facts.attributes["accepts"] == kind.accepts
    assert facts.attributes["two_impls"] == kind.two_impls
    assert set(facts.options) - {"backbone"} == model_options(kind)


@pytest.mark.parametrize("name", selectors.names())
def test_the_source_of_a_selector_says_what_the_class_has(name):
    facts, kind = own_facts(selectors, name), selectors.load(name)
    assert facts is not None
    assert facts.doc.splitlines()[0] == kind.__doc__.splitlines()[0]
    assert Needs(**vars(facts.attributes["needs"])) == kind.needs
    assert facts.attributes["score_shape"] == kind.score_shape
    assert reads_class_token(name) == kind.needs.class_token


def test_classes_of_others_are_not_read_from_their_source(monkeypatch):
    monkeypatch.setattr(selectors, "_from_files", {"mine": Entry("mine", "a test", lambda: None)})
    assert own_facts(selectors, "mine") is None
    assert own_facts(selectors, "nobody") is None


@pytest.mark.parametrize("value", ["fgbench.models.vit:Nothing", "fgbench.nothing:ViT", "nothing.at.all:ViT"])
def test_what_has_no_source_is_told(value):
    with pytest.raises(LookupError):
        class_facts(value)
