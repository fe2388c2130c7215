"""Requests of a comparison: what is counted, what is measured, and the command lines of both sides."""

from __future__ import annotations

from pathlib import Path

import pytest

from fgbench.errors import FgbenchError
from fgbench.flops.grid import CountGrid
from fgbench.regress.request import PairsRequest, RegressRequest, RunGroup, SidesRequest
from fgbench.results import paper

GROUP = RunGroup(model="glsim", image_size=448, backbone=None, selector="gls", impl="fast", dtype="bfloat16")


def test_the_words_of_a_run_are_those_of_earlier_versions():
    """They are part of the key under which a store has finished pairs, and older versions read them."""
    request = PairsRequest(device="cpu", threads=2, cap_s=0.5)
    assert request.words(GROUP, [1, 8]) == [
        *("throughput", "--model=glsim", "--sizes=448", "--batch-sizes=1", "--batch-sizes=8", "--selectors=gls"),
        *("--impl=fast", "--dtype=bfloat16", "--device=cpu", "--num-classes=200", "--threads=2", "--max-time=0.5s"),
        *("--timeout=600s", "--no-energy", "--again", "--format=json"),
    ]
    plain = RunGroup(model="vit", image_size=64, backbone="test_vit", selector=None, impl=None, dtype="float32")
    assert PairsRequest(timeout_s=0.25).words(plain, [1]) == [
        *("throughput", "--model=vit", "--sizes=64", "--batch-sizes=1", "--backbones=test_vit", "--dtype=float32"),
        *("--num-classes=200", "--timeout=0.25s", "--no-energy", "--again", "--format=json"),
    ]


def test_a_grid_is_the_baselines_where_nothing_else_is_asked_for():
    known = CountGrid(sizes=[64], backbones=["test_vit"], models=["vit"], conventions=("fvcore",), num_classes=7)
    assert RegressRequest().grid(known) == known
    narrowed = RegressRequest(sizes=[96], models=["glsim"], convention="full").grid(known)
    assert (narrowed.sizes, narrowed.models, narrowed.conventions) == ([96], ["glsim"], ("full",))
    assert (narrowed.backbones, narrowed.num_classes) == (["test_vit"], 7)


def test_the_grid_of_a_new_baseline_is_the_papers_and_everything_that_is_registered():
    grid = RegressRequest().grid(None)
    assert (grid.backbones, grid.sizes) == (paper.BACKBONES, (224, 448, 768, 1024))
    assert (grid.selectors, grid.models, grid.conventions) == (None, None, ("full",))


def test_what_is_measured_has_defaults_of_its_own():
    pairs = RegressRequest(selectors=["gls"]).pairs(Path("kept.db"), again=False)
    assert (pairs.models, pairs.image_sizes, pairs.batch_sizes) == (paper.MODELS, (224,), (1,))
    assert (pairs.impls, pairs.dtypes, pairs.selectors) == (("fast",), ("float32",), ["gls"])
    assert (pairs.store, pairs.first_pairs, pairs.more_pairs) == (Path("kept.db"), 3, 4)


@pytest.mark.parametrize(
    ("request_", "sides", "says"),
    [
        ({}, {}, "nothing to compare with"),
        ({"update": True}, {"a_a": True}, "--update writes a baseline"),
        ({"baseline": Path("b"), "batch_sizes": [1]}, {}, "--batch-sizes does nothing here; it needs what is measured"),
        ({"convention": "full"}, {"a_a": True}, "--convention does nothing here; it needs --baseline FILE"),
        ({"benchmarks": ["a", "b"]}, {"plugins": ["p.py"]}, "--plugin does nothing here"),
        ({"benchmarks": ["a", "b"], "again": True}, {}, "--again does nothing here"),
    ],
)
def test_an_option_that_does_nothing_is_refused(request_, sides, says):
    with pytest.raises(FgbenchError, match=says):
        RegressRequest(**request_).check_with(SidesRequest(**sides), judges=False)
