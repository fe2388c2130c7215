"""A selection by itself: what it is given, and what a row says."""

from __future__ import annotations

import pytest
import torch

from fgbench.measure.copy_rate import copy_rate
from fgbench.measure.points import RunMode
from fgbench.measure.subjects.selector import (
    SelectionPoint,
    count_point,
    features_for,
    measure_backends,
    measure_point,
)
from fgbench_selectors import QK, Maps, get

ONE = RunMode(threads=1)
SHORT_S = 0.05


def point(selector: str | None, impl: str | None, image_size: int = 64, **options) -> SelectionPoint:
    return SelectionPoint(
        selector=selector, impl=impl, image_size=image_size, batch_size=options.pop("batch_size", 1), mode=ONE
    )


@pytest.fixture(autouse=True)
def same_threads_as_before():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize(("impl", "kind"), [("published", Maps), ("fast", QK)])
def test_a_selection_starts_from_what_its_backbone_leaves(impl, kind):
    maws = get("maws", impl=impl)
    *read, last = features_for(point("maws", impl), maws, 64, "cpu").attention
    assert last is None, "maws reads all blocks but the last"
    assert {type(block) for block in read} == {kind}
    assert {block.shape for block in read} == {(1, 12, 17)}
    if impl == "fast":
        torch.testing.assert_close(read[0].lse, read[0].logits_map().logsumexp(-1))
    else:
        torch.testing.assert_close(read[0].logits.softmax(-1), read[0].probs)
        assert features_for(point("psm", impl), get("psm", impl=impl), 64, "cpu").attention[0].logits is None


def test_tokens_are_given_to_those_who_read_them():
    features = features_for(point("gls", "fast"), get("gls"), 64, "cpu")
    assert features.tokens.shape == (1, 17, 768)
    assert set(features.attention) == {None}


def test_the_count_is_that_of_fgbench_flops():
    from fgbench.flops.grid import CountGrid
    from fgbench.flops.rows import flops_rows

    request = CountGrid(sizes=[64], backbones=["vit_base_patch16_224"])
    for row in flops_rows(request, print):
        found = count_point(point(row.selector, row.impl))
        assert (found.macs, found.flops()) == (row.macs, row.flops), (row.selector, row.impl)
        assert found.bytes > 0


def test_two_images_are_twice_the_work():
    for selector, impl in ((None, None), ("psm", "published"), ("gls", "fast")):
        one, two = (count_point(point(selector, impl, batch_size=batch)) for batch in (1, 2))
        assert two.flops() == 2 * one.flops()


def test_what_is_measured_is_told():
    found = measure_point(point("psm", "fast"), SHORT_S)
    assert found["backends"] == {"left": ["dense"]}
    assert found["status"] in ("ok", "unconverged", "contended")
    assert found["latency_ci95_low_s"] <= found["latency_s"] <= found["latency_ci95_high_s"]
    assert found["added_memory_bytes"] is None or 0 <= found["added_memory_bytes"] < 2**28


def test_what_takes_longer_than_its_time_is_run_once():
    found = measure_point(point(None, None), 1e-9)
    assert (found["status"], len(found["blocks"])) == ("unconverged", 1)
    assert "single run" in found["reason"]
    assert found["latency_s"] == found["blocks"][0]
    assert found["latency_ci95_low_s"] is None


def test_a_back_end_that_does_not_run_leaves_the_others():
    found = measure_backends(2, 17, ["dense", "blocks", "triton"], ONE, SHORT_S)
    assert [found[name]["chosen"] for name in ("dense", "blocks")] == [True, False]
    assert found["dense"]["latency_s"] > 0 < found["blocks"]["latency_s"]
    if not torch.cuda.is_available():
        assert found["triton"]["status"] == "error"
        assert found["triton"]["latency_s"] is None


def test_copies_have_a_rate(monkeypatch):
    monkeypatch.setattr("fgbench.measure.copy_rate.ELEMENTS", {"cpu": 2**16})
    assert 1e8 < copy_rate(ONE) < 1e13
