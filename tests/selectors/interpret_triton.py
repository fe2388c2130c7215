"""Compare triton's kernels with blocks of rows, on shapes that divide nothing; run with TRITON_INTERPRET=1."""

from __future__ import annotations

import torch

from fgbench_selectors.backends import blocks, fused, triton_kernels

SHAPES = ((1, 2, 70, 24), (2, 3, 197, 64), (1, 2, 130, 80), (1, 1, 1, 8))

compared = 0
for batch, heads, tokens, width in SHAPES:
    generator = torch.Generator().manual_seed(tokens)
    projected = torch.randn(batch, tokens, 3 * heads * width, generator=generator)
    v = torch.rand(batch, tokens, generator=generator).unsqueeze(1).expand(-1, heads, -1)
    scale = width**-0.5
    for dtype in (torch.float32, torch.float16):
        q, k, _ = (x.unflatten(-1, (heads, width)).transpose(1, 2).to(dtype) for x in projected.chunk(3, dim=-1))
        expected = blocks.left_by_blocks(q, k, None, v, scale)
        found = triton_kernels.left(q, k, fused.logsumexp(q, k, scale), v, scale)
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)
        compared += 1
    maps = torch.cat([block for _, block in blocks.prob_blocks(q, k, scale, keep=True)], dim=1)
    maps = maps.view(batch, heads, tokens, tokens)
    for some in (maps, maps.bfloat16()):
        found = triton_kernels.left_of_maps(some, v)
        torch.testing.assert_close(found, (v.unsqueeze(-2) @ some.float()).squeeze(-2), rtol=1e-5, atol=1e-6)
        compared += 1
print("kernels:", compared)
