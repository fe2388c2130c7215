"""Back ends of a GPU: triton's kernels, torch's fused kernels, and selection without synchronisation."""

from __future__ import annotations

import pytest
import torch
from helpers.lifelike import lifelike_features
from helpers.selectors_reference import check, drawn, exactly
from torch.nn.attention import SDPBackend, sdpa_kernel

from fgbench_selectors import QK, Features, get
from fgbench_selectors.backends import fused
from fgbench_selectors.backends.left import choose, left, left_of_maps, logsumexp
from fgbench_selectors.backends.recording import record_backends

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device is there"),
]
SHAPES = ((1, 12, 197, 64), (2, 12, 785, 64), (3, 3, 130, 80), (1, 2, 1, 8), (2, 12, 1370, 64))
ROUNDING = {torch.float32: 2e-5, torch.float16: 2e-5, torch.bfloat16: 2e-5}


def on_gpu(shape: tuple[int, ...], dtype: torch.dtype) -> list[torch.Tensor]:
    return [x.cuda() for x in drawn(*shape, dtype=dtype)]


@pytest.mark.parametrize("dtype", ROUNDING, ids=str)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("backend", ["triton", "kernel", "dense", "blocks"])
def test_every_back_end_gives_what_the_map_gives(shape, dtype, backend):
    q, k, v = on_gpu(shape, dtype)
    scale = shape[-1] ** -0.5
    for lse in (None, fused.attend(q, k, k, scale)[1]):
        check(left(q, k, lse, v, scale, backend), exactly(q, k, v, scale), ROUNDING[dtype])


@pytest.mark.parametrize("dtype", ROUNDING, ids=str)
def test_triton_is_chosen(dtype):
    q = torch.empty(1, 12, 197, 64, dtype=dtype, device="cuda")
    assert choose(q) == "triton"
    assert choose(q.double()) == "blocks"


@pytest.mark.parametrize("dtype", ROUNDING, ids=str)
@pytest.mark.parametrize("kernel", ["FLASH_ATTENTION", "EFFICIENT_ATTENTION", "CUDNN_ATTENTION"])
def test_attention_kernels_return_their_log_sum_exp(kernel, dtype):
    q, k, _ = on_gpu((2, 3, 70, 64), dtype)
    with sdpa_kernel(getattr(SDPBackend, kernel)), record_backends() as chosen:
        try:
            expected = torch.nn.functional.scaled_dot_product_attention(q, k, k, scale=0.125)
        except RuntimeError:
            pytest.skip("this kernel does not take these queries here")
        out, lse = fused.attend(q, k, k, 0.125)
    assert chosen["attention"][0] in ("flash", "efficient", "cudnn")
    torch.testing.assert_close(out, expected)
    check(lse, (q.double() @ k.double().mT * 0.125).logsumexp(dim=-1), 1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_ready_maps(shape, dtype):
    q, k, v = on_gpu(shape, torch.float32)
    maps = (q @ k.mT * shape[-1] ** -0.5).softmax(dim=-1).to(dtype)
    check(left_of_maps(maps, v), (v.double().unsqueeze(-2) @ maps.double()).squeeze(-2), 2e-6)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_half_precision_selects_what_float64_selects(dtype):
    equal = []
    for seed in range(10):
        halves = lifelike_features(images=8, seed=seed).map(lambda x: x.to("cuda", dtype))
        handed_over = [QK(b.q, b.k, b.scale, fused.attend(b.q, b.k, b.k, b.scale)[1]) for b in halves.attention]
        for name in ("psm", "rollout", "maws", "attention", "column_mass"):
            found = get(name)(Features(attention=handed_over)).argmax(dim=-1)
            equal.append((found == get(name)(halves.map(lambda x: x.double())).argmax(dim=-1)).flatten())
    assert torch.cat(equal).double().mean() >= 0.999


@pytest.mark.parametrize(
    "name",
    [
        *("psm", "rollout", "maws", "sacm", "gls", "attention", "attention_sum"),
        *("mhv", "column_mass", "column_entropy", "confidence"),
    ],
)
def test_selection_never_waits_for_the_host(name):
    q, k, _ = on_gpu((2, 12, 197, 64), torch.bfloat16)
    lse = logsumexp(q, k, 0.125)
    tokens = q.transpose(1, 2).flatten(2)
    features = Features(tokens=tokens, attention=[QK(q, k, 0.125, lse)] * 3, class_logits=tokens)
    selector = get(name).cuda()
    selector(features)
    torch.cuda.set_sync_debug_mode("error")
    try:
        selector(features)
    finally:
        torch.cuda.set_sync_debug_mode("default")


def test_a_selection_is_captured_in_a_cuda_graph():
    q, k, _ = on_gpu((2, 12, 785, 64), torch.bfloat16)
    lse = logsumexp(q, k, 0.125)
    features = Features(attention=[QK(q, k, 0.125, lse)] * 4)
    selector = get("psm")
    expected = selector(features).clone()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        scores = selector(features)
    scores.zero_()
    graph.replay()
    assert torch.equal(scores, expected)
