"""``v A`` by every back end, against the map in float64; and the choice of the back end."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from helpers.selectors_reference import check, drawn, exactly
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode

from fgbench_selectors import QK, Features, FeaturesError
from fgbench_selectors.backends import blocks, fused
from fgbench_selectors.backends.left import BACKENDS, DENSE_TOKENS, choose, left, left_of_maps, logsumexp
from fgbench_selectors.backends.recording import note, record_backends

ON_CPU = ("dense", "blocks", "kernel")
ROUNDING = {torch.float64: 1e-12, torch.float32: 5e-6, torch.float16: 1e-4, torch.bfloat16: 1e-4}


@settings(max_examples=60, deadline=None)
@given(
    batch=st.integers(1, 3),
    heads=st.integers(1, 4),
    tokens=st.integers(1, 70),
    width=st.sampled_from([1, 8, 12, 64]),
    spread=st.sampled_from([0.1, 1.0, 3.0]),
    dtype=st.sampled_from(list(ROUNDING)),
    backend=st.sampled_from(ON_CPU),
    handed_over=st.booleans(),
    seed=st.integers(0, 2**32 - 1),
)
def test_every_back_end_gives_what_the_map_gives(
    batch, heads, tokens, width, spread, dtype, backend, handed_over, seed
):
    q, k, v = drawn(batch, heads, tokens, width, spread, dtype, seed)
    scale = width**-0.5
    lse = fused.logsumexp(q, k, scale) if handed_over else None
    check(left(q, k, lse, v, scale, backend), exactly(q, k, v, scale), ROUNDING[dtype])


@pytest.mark.parametrize("backend", ON_CPU)
def test_rows_that_point_at_one_token_lose_nothing(backend):
    """Logits of ±100: all but one probability of a row are below what float32 can hold."""
    q, k, v = drawn(2, 3, 40, 8, spread=12.0)
    check(left(q, k, fused.logsumexp(q, k, 0.35), v, 0.35, backend), exactly(q, k, v, 0.35), 2e-4)


@pytest.mark.parametrize("backend", ON_CPU)
def test_an_empty_batch_has_an_empty_answer(backend):
    q = torch.empty(0, 3, 10, 8)
    assert left(q, q, None, torch.empty(0, 3, 10), 0.35, backend).shape == (0, 3, 10)


def test_blocks_of_any_number_of_rows_agree(monkeypatch):
    monkeypatch.setattr(blocks, "MIN_STREAM_ROWS", 1)
    q, k, v = drawn(2, 3, 41, 8)
    for elements in (1, 500, 2000, 2**22):
        monkeypatch.setattr(blocks, "STREAM_ELEMENTS", elements)
        for lse in (None, fused.logsumexp(q, k, 0.3)):
            check(left(q, k, lse, v, 0.3, "blocks"), exactly(q, k, v, 0.3), 5e-6)
        check(logsumexp(q, k, 0.3), (q.double() @ k.double().mT * 0.3).logsumexp(-1), 5e-6)


def test_who_is_chosen_on_a_cpu():
    def queries(batch: int, tokens: int) -> torch.Tensor:
        return torch.empty(batch, 1, 1, 8).expand(batch, 12, tokens, 8)

    assert choose(queries(1, DENSE_TOKENS)) == "dense"
    assert choose(queries(1, DENSE_TOKENS + 1)) == "blocks"
    assert choose(queries(64, DENSE_TOKENS)) == "blocks", "never more than one streamed block"
    assert choose(queries(64, 50)) == "dense"
    assert set(BACKENDS) == {"triton", "kernel", "dense", "blocks"}


# --- the log-sum-exp of the backbone's own attention --------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16], ids=str)
def test_attending_gives_torch_s_own_output_and_the_log_sum_exp(dtype):
    q, k, _ = drawn(2, 3, 50, 16, dtype=dtype)
    out, lse = fused.attend(q, k, k, 0.25)
    assert torch.equal(out, functional.scaled_dot_product_attention(q, k, k, scale=0.25))
    check(lse, (q.double() @ k.double().mT * 0.25).logsumexp(dim=-1), ROUNDING[dtype])


def test_gradient_flows_through_the_output_and_not_through_the_log_sum_exp():
    q, k, _ = (x.detach().requires_grad_() for x in drawn(2, 3, 50, 16))
    out, lse = fused.attend(q, k, k, 0.25)
    assert not lse.requires_grad
    expected = torch.autograd.grad(functional.scaled_dot_product_attention(q, k, k, scale=0.25).square().sum(), (q, k))
    for found, one in zip(torch.autograd.grad(out.square().sum(), (q, k)), expected, strict=True):
        assert torch.equal(found, one)


def test_a_choice_for_a_graph_holds_for_the_layout_it_was_made_for():
    """Queries whose last axis is not dense have no fused kernel, compiled as little as eager."""
    q = torch.randn(2, 3, 16, 20).mT
    expected = functional.scaled_dot_product_attention(q, q, q, scale=0.25)
    attend = torch.compile(lambda x: fused.attend(x, x, x, 0.25)[0], backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(attend(q), expected)


@pytest.mark.filterwarnings("ignore:There is a performance drop")
def test_batches_of_batches_attend_without_a_log_sum_exp():
    q = torch.randn(4, 2, 3, 20, 16)
    found = torch.vmap(lambda x: fused.attend(x, x, x, 0.25)[0])(q)
    torch.testing.assert_close(found, functional.scaled_dot_product_attention(q, q, q, scale=0.25))


def test_where_the_user_has_switched_a_kernel_off_another_one_answers():
    q, k, v = drawn(2, 3, 50, 16)
    with sdpa_kernel(SDPBackend.MATH), record_backends() as chosen:
        _, lse = fused.attend(q, k, k, 0.25)
        check(left(q, k, None, v, 0.25, "kernel"), exactly(q, k, v, 0.25), 5e-6)
    assert lse is None
    assert chosen["attention"] == ["scaled_dot_product_attention"]


class Operators(TorchDispatchMode):
    """The names of all operators that ran."""

    def __init__(self):
        super().__init__()
        self.names = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.names.append(func.__name__.partition(".")[0])
        return func(*args, **(kwargs or {}))


def test_a_log_sum_exp_that_was_handed_over_saves_a_pass():
    """No row is normalised again: one product and one exponential per block."""
    q, k, v = drawn(1, 2, 60, 16)
    lse = fused.attend(q, k, k, 0.25)[1]
    ran = {}
    for name, block in (("alone", QK(q, k)), ("handed over", QK(q, k, lse=lse))):
        with Operators() as seen:
            block.left(v)
        ran[name] = seen.names
    assert "softmax" in ran["alone"] or "_softmax" in ran["alone"]
    assert not {"softmax", "_softmax", "logsumexp"} & set(ran["handed over"])
    assert ran["handed over"].count("exp_") == 1


@pytest.mark.parametrize(
    "wrong",
    [torch.zeros(1, 2, 4), torch.zeros(1, 2, 5).double(), torch.zeros(1, 2, 5).half(), torch.zeros(1, 2, 5).long()],
)
def test_the_log_sum_exp_must_fit_the_queries(wrong):
    q = torch.zeros(1, 2, 5, 4)
    with pytest.raises(FeaturesError, match=r"lse must be \(\(1, 2, 5\), 'torch.float32', 'cpu'\), got"):
        QK(q, q, lse=wrong)


def test_features_that_move_take_it_along_and_in_another_dtype_it_is_another_one():
    q, k, v = drawn(1, 2, 50, 16, spread=3.0)
    block = Features(attention=[QK(q, k, lse=fused.logsumexp(q, k, 0.25))], grid=(7, 7))
    assert block.map(lambda x: x[:1].clone()).attention[0].lse is not None
    halves = block.map(lambda x: x.bfloat16()).attention[0]
    assert halves.lse is None
    check(halves.left(v), exactly(halves.q, halves.k, v, 0.25), 5e-6)


def test_v_in_another_precision_is_taken_as_it_is_meant():
    q, k, v = drawn(1, 2, 50, 16)
    for some, rounding in ((v.double(), 5e-6), (v.bfloat16(), 5e-6)):
        for block in (QK(q, k), QK(q.half(), k.half())):
            check(block.left(some), exactly(block.q, block.k, some, 0.25), rounding)
        assert QK(q, k).map(lambda x: x.to("meta")).left(some.to("meta")).dtype == torch.float32


def test_autocast_rounds_no_answer():
    q, k, v = drawn(1, 2, 50, 16)
    block = QK(q, k)
    expected = block.row(0), block.column_softmax(0), block.left(v)
    with torch.autocast("cpu", torch.bfloat16):
        found = block.row(0), block.column_softmax(0), block.left(v.detach().requires_grad_())
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-7)


# --- ready maps -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16], ids=str)
def test_ready_maps(dtype):
    q, k, v = drawn(2, 3, 50, 16)
    maps = (q @ k.mT * 0.25).softmax(dim=-1).to(dtype)
    wide = v.double() if dtype == torch.float64 else v
    check(left_of_maps(maps, wide), (v.double().unsqueeze(-2) @ maps.double()).squeeze(-2), 1e-6)


# --- one operator in a graph ------------------------------------------------------------------------------------


def test_the_operators_keep_torch_s_contract():
    """Schema, fake tensors, autograd's registration: what a compiler relies on."""
    q, k, v = drawn(2, 3, 20, 8)
    lse = fused.logsumexp(q, k, 0.3)
    checks = ("test_schema", "test_faketensor", "test_autograd_registration")
    for arguments in ((q, k, None, v, 0.3), (q, k, lse, v, 0.3), (q.bfloat16(), k.bfloat16(), lse, v, 0.3)):
        torch.library.opcheck(torch.ops.fgbench.left.default, arguments, test_utils=checks)
    torch.library.opcheck(torch.ops.fgbench.logsumexp.default, (q, k, 0.3), test_utils=checks)
    torch.library.opcheck(torch.ops.fgbench.left_of_maps.default, (q @ k.mT, v), test_utils=checks)


def test_autocast_changes_nothing():
    q, k, v = drawn(1, 3, 10, 8)
    expected = left(q, k, None, v, 0.3), logsumexp(q, k, 0.3), left_of_maps((q @ k.mT).softmax(-1), v)
    maps = (q @ k.mT).softmax(-1)
    with torch.autocast("cpu", torch.bfloat16):
        found = left(q, k, None, v, 0.3), logsumexp(q, k, 0.3), left_of_maps(maps, v)
        assert torch.equal(torch.ops.fgbench.left(q, k, None, v, 0.3), expected[0])
    for one, other in zip(found, expected, strict=True):
        assert torch.equal(one, other)


def test_who_records_inside_of_a_recording_takes_nothing_away_from_it():
    with record_backends() as outer:
        with record_backends() as inner:
            note("left", "a")
        note("left", "b")
    assert (outer, inner) == ({"left": ["a", "b"]}, {"left": ["a"]})


def test_what_ran_is_named():
    q, k, v = drawn(1, 3, 10, 8)
    with record_backends() as chosen:
        left(q, k, None, v, 0.3)
        left(q, k, None, v, 0.3)
        left_of_maps((q @ k.mT).softmax(-1), v)
        QK(q, k).head_product()
    told = {"left": ["dense"], "left_of_maps": ["blocks"], "logsumexp": ["blocks"]}
    assert chosen == told
    left(q, k, None, v, 0.3)
    assert chosen == told


# --- triton's kernels, run by its interpreter ---------------------------------------------------------------------


def test_triton_s_kernels_by_its_interpreter():
    """What a GPU would compute, instruction by instruction, on a CPU. Speed and bfloat16 products take a GPU."""
    pytest.importorskip("triton", minversion="3.4", reason="older interpreters do not run with today's numpy")
    script = Path(__file__).with_name("interpret_triton.py")
    environment = {**os.environ, "TRITON_INTERPRET": "1"}
    run = subprocess.run(
        [sys.executable, str(script)], env=environment, capture_output=True, text=True, timeout=900, check=False
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout.split() == ["kernels:", "16"]
