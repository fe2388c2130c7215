"""The costs of single operators, calculated by hand from docs/counting.md."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from fgbench import count_flops

X = torch.randn(4, 6)
IMAGE = torch.randn(1, 2, 4, 4)
INDEX = torch.zeros(2, 3, dtype=torch.int64)
SOURCE = torch.ones(4, 6)  # larger than the index: the rest of it is not read
Q = torch.randn(1, 2, 5, 4)
PAIRS = 2 * 5 * 5

COSTS = {
    "bicubic resampling": (lambda: functional.interpolate(IMAGE, scale_factor=2, mode="bicubic"), 32 * 128),
    "bilinear resampling": (lambda: functional.interpolate(IMAGE, scale_factor=2, mode="bilinear"), 4 * 128),
    "average pooling": (lambda: functional.avg_pool2d(IMAGE, 2), 4 * 8),
    "average pooling, oblong": (lambda: functional.avg_pool2d(IMAGE, (2, 4)), 8 * 4),
    "max pooling": (lambda: functional.max_pool2d(IMAGE, 2), 4 * 8),
    "folding": (lambda: functional.fold(torch.randn(1, 2 * 9, 4), 4, 3), 2 * 9 * 4),
    "scatter": (lambda: torch.scatter(X, 1, INDEX, SOURCE), 0),
    "scatter_add": (lambda: torch.scatter_add(X, 1, INDEX, SOURCE), 6),
    "scatter, adding": (lambda: torch.scatter(X, 1, INDEX, SOURCE, reduce="add"), 6),
    "scatter, multiplying by a number": (lambda: torch.scatter(X, 1, INDEX, 2.0, reduce="multiply"), 6),
    "scatter_reduce": (lambda: torch.scatter_reduce(X, 1, INDEX, SOURCE, "sum"), 6),
    "index_add": (lambda: torch.index_add(X, 0, torch.tensor([0, 2]), torch.ones(2, 6)), 12),
    "index_put": (lambda: X.clone().index_put_((torch.tensor([1]),), torch.ones(6)), 0),
    "index_put, adding": (lambda: X.clone().index_put_((torch.tensor([1]),), torch.ones(6), accumulate=True), 6),
    "equal": (lambda: torch.equal(X, X), 24),
    "addmm with an activation": (lambda: torch._addmm_activation(torch.ones(4), X, SOURCE[:, :4].new_ones(6, 4)), 208),
    "lerp": (lambda: torch.lerp(X, X, 0.5), 3 * 24),
    "addcmul": (lambda: torch.addcmul(X, X, X), 2 * 24),
    "rms norm": (lambda: functional.rms_norm(X, (6,), torch.ones(6)), 4 * 24),
    "logsumexp": (lambda: torch.logsumexp(X, -1), 4 * 24),
    "variance": (lambda: X.var(-1), 4 * 24),
    "standard deviation": (lambda: X.std(-1), 4 * 24),
    "mean": (lambda: X.mean(-1), 24),
    "log-softmax": (lambda: X.log_softmax(-1), 5 * 24),
    "glu": (lambda: functional.glu(X), 2 * 12),
    "fused attention": (
        lambda: functional.scaled_dot_product_attention(Q, Q, Q),
        2 * (2 * PAIRS * 4) + Q.numel() + 5 * PAIRS,
    ),
    "fused attention with a mask": (
        lambda: functional.scaled_dot_product_attention(Q, Q, Q, attn_mask=torch.ones(5, 5)),
        2 * (2 * PAIRS * 4) + Q.numel() + 6 * PAIRS,
    ),
    "fused attention that looks back": (
        lambda: functional.scaled_dot_product_attention(Q, Q, Q, is_causal=True),
        2 * (2 * PAIRS * 4) + Q.numel() + 6 * PAIRS,
    ),
}


@pytest.mark.parametrize("case", COSTS)
@pytest.mark.filterwarnings("ignore:The reduce argument of torch.scatter")
def test_an_operator_costs_what_the_documentation_says(case):
    run, work = COSTS[case]
    assert count_flops(run).flops() == work
