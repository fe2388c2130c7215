"""Selectors as subjects: their input, their rows, their failures, and the whole command."""

from __future__ import annotations

import pytest
import torch

from fgbench.errors import FgbenchError
from fgbench.measure.engine_registry import open_engine
from fgbench.measure.point import LoadedSubject
from fgbench.measure.points import RunMode
from fgbench.measure.selections import measure_kernels, measure_selection
from fgbench.measure.subjects.kernel import KernelSubject
from fgbench.measure.subjects.selector import SelectorSubject, selection_subject
from fgbench_selectors import QK, Maps

ONE = RunMode(threads=1)
SHORT_S = 0.05


@pytest.fixture(autouse=True)
def same_threads_as_before():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize(("impl", "kind"), [("published", Maps), ("fast", QK)])
def test_a_selection_starts_from_what_its_backbone_leaves(impl, kind):
    (features,) = SelectorSubject("maws", impl, 64).inputs(1)
    *read, last = features.attention
    assert last is None, "maws reads all blocks but the last"
    assert {type(block) for block in read} == {kind}
    assert {block.shape for block in read} == {(1, 12, 17)}
    if impl == "fast":
        torch.testing.assert_close(read[0].lse, read[0].logits_map().logsumexp(-1))
    else:
        torch.testing.assert_close(read[0].logits.softmax(-1), read[0].probs)
        (features,) = SelectorSubject("psm", impl, 64).inputs(1)
        assert features.attention[0].logits is None


def test_tokens_are_given_to_those_who_read_them():
    (features,) = SelectorSubject("gls", "fast", 64).inputs(1)
    assert features.tokens.shape == (1, 17, 768)
    assert set(features.attention) == {None}


def test_the_count_is_that_of_fgbench_flops():
    from fgbench.flops.grid import CountGrid
    from fgbench.flops.rows import flops_rows

    request = CountGrid(sizes=[64], backbones=["vit_base_patch16_224"])
    for row in flops_rows(request, print):
        found = selection_subject(row.selector, row.impl, 64).count(1)
        assert (found.macs, found.flops()) == (row.macs, row.flops), (row.selector, row.impl)
        assert found.bytes > 0


def test_two_images_are_twice_the_work():
    for selector, impl in ((None, None), ("psm", "published"), ("gls", "fast")):
        one, two = (selection_subject(selector, impl, 64).count(batch) for batch in (1, 2))
        assert two.flops() == 2 * one.flops()


def test_what_is_measured_is_told():
    found = measure_selection(SelectorSubject("psm", "fast", 64), open_engine(ONE), 1, SHORT_S)
    assert found["backends"] == {"left": ["dense"]}
    assert found["status"] in ("ok", "unconverged", "contended")
    assert found["latency_ci95_low_s"] <= found["latency_s"] <= found["latency_ci95_high_s"]
    assert found["added_memory_bytes"] is None or 0 <= found["added_memory_bytes"] < 2**28


def test_what_takes_longer_than_its_time_is_run_once():
    found = measure_selection(selection_subject(None, None, 64), open_engine(ONE), 1, 1e-9)
    assert (found["status"], len(found["blocks"])) == ("unconverged", 1)
    assert "single run" in found["reason"]
    assert found["latency_s"] == found["blocks"][0]
    assert found["latency_ci95_low_s"] is None


def test_a_back_end_that_does_not_run_leaves_the_others():
    found = measure_kernels(open_engine(ONE), 2, 17, ["dense", "blocks", "triton"], SHORT_S)
    assert [found[name]["chosen"] for name in ("dense", "blocks")] == [True, False]
    assert found["dense"]["latency_s"] > 0 < found["blocks"]["latency_s"]
    if not torch.cuda.is_available():
        assert found["triton"]["status"] == "error"
        assert found["triton"]["latency_s"] is None


def test_a_kernel_computes_v_a():
    subject = KernelSubject("blocks", 17, heads=3)
    q, k, lse, v = subject.inputs(2, torch.float64)
    expected = torch.einsum("bhi,bhij->bhj", v, QK(q, k).logits_map().softmax(-1))
    torch.testing.assert_close(subject.build("cpu")(q, k, lse, v), expected, check_dtype=False, rtol=1e-5, atol=1e-6)
    assert subject.count(2).flops() == 2 * subject.count(1).flops() > 0


def test_autocast_is_refused_for_what_has_no_weights():
    with pytest.raises(FgbenchError, match="cannot load selector psm fast in amp: it has no weights"):
        LoadedSubject(SelectorSubject("psm", "fast", 64), open_engine(RunMode(threads=1, dtype="amp")))
