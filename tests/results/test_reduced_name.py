"""Names of models that reduce their tokens."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fgbench.results.reduced_name import ReducedName, base_model, model_label, reduced_names

WORDS = st.from_regex(r"[a-z][a-z0-9_]{0,11}", fullmatch=True)
NUMBER_LIST = st.lists(st.integers(1, 24), min_size=2, max_size=5).map(tuple)
VALUES = st.one_of(st.booleans(), st.integers(0, 99), NUMBER_LIST, st.sampled_from(["psm", "column_mass"]))


@given(
    WORDS,
    WORDS,
    st.one_of(st.none(), st.integers(1, 100).map(lambda n: n / 100)),
    st.dictionaries(WORDS, VALUES, max_size=3),
)
def test_a_name_is_read_as_it_was_written(model, reduction, rate, options):
    written = ReducedName(model, reduction, rate, options)
    assert ReducedName.of(written.name) == written
    assert base_model(written.name) == model


@pytest.mark.parametrize(
    ("name", "model", "label"),
    [
        ("vit", "vit", "vit"),
        ("vit+evit@0.7", "vit", "vit evit 0.7"),
        ("vit+evit@.70", "vit", "vit evit 0.7"),
        ("glsim+tome+r=13", "glsim", "glsim tome r=13"),
        ("vit+topk@0.5+selector=gls+at=4-7", "vit", "vit topk 0.5 at=4-7 selector=gls"),
        ("convnext_tiny", "convnext_tiny", "convnext_tiny"),
        ("net.py:mine", "net.py:mine", "net.py:mine"),
        ("a+b.py:mine", "a+b.py:mine", "a+b.py:mine"),
        ("vit+", "vit+", "vit+"),
    ],
)
def test_labels_and_base_models(name, model, label):
    assert (base_model(name), model_label(name)) == (model, label)


def test_every_model_gets_every_reduction_at_every_rate():
    assert reduced_names(["vit"], ["none", "evit", "tome+r=13"], []) == ["vit", "vit+evit", "vit+tome+r=13"]
    assert reduced_names(["vit", "glsim"], ["evit"], [0.5, 0.7]) == [
        "vit+evit@0.5",
        "vit+evit@0.7",
        "glsim+evit@0.5",
        "glsim+evit@0.7",
    ]
    assert reduced_names(["vit+topk@0.3"], ["evit"], [0.5]) == ["vit+topk@0.3"]
    assert reduced_names(["vit"], ["evit@0.6", "topk"], [0.5]) == ["vit+evit@0.6", "vit+topk@0.5"]
