"""Triton's kernels compile for GPUs that are not installed, and fit into their shared memory."""

from __future__ import annotations

import pytest
import torch

SHARED_BYTES = {80: 163 * 1024, 89: 99 * 1024, 90: 227 * 1024}  # that one program may have, by compute capability
DTYPES = {torch.float32: "*fp32", torch.float16: "*fp16", torch.bfloat16: "*bf16"}


@pytest.fixture(scope="module")
def triton():
    return pytest.importorskip("triton", minversion="3.4", reason="the compiler's own interface was another one")


def shared_bytes(kernel, pointers: dict[str, str], floats: tuple[str, ...], constants: dict, capability: int) -> int:
    from triton import compile as compile_kernel
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    options = {name: constants[name] for name in ("num_warps", "num_stages", "enable_fp_fusion") if name in constants}
    fixed = {name: value for name, value in constants.items() if name not in options}
    signature = {}
    for name in kernel.arg_names:
        signature[name] = pointers.get(name) or ("constexpr" if name in fixed else "fp32" if name in floats else "i32")
    source = ASTSource(fn=kernel, signature=signature, constexprs=fixed)
    made = compile_kernel(source, target=GPUTarget("cuda", capability, 32), options=options)
    assert "cubin" in made.asm
    return made.metadata.shared


@pytest.mark.slow
@pytest.mark.parametrize("capability", SHARED_BYTES)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("head_dim", [64, 80, 256])
def test_the_kernel_for_queries_and_keys(triton, head_dim, dtype, capability):
    from fgbench_selectors.backends import triton_kernels

    pointers = {"q": DTYPES[dtype], "k": DTYPES[dtype], **dict.fromkeys(("lse", "v", "out"), "*fp32")}
    constants = {"HEAD_DIM": head_dim, **triton_kernels.tiles(head_dim, dtype)}
    taken = shared_bytes(triton_kernels._left_kernel, pointers, ("scale",), constants, capability)
    assert taken <= SHARED_BYTES[capability]


@pytest.mark.slow
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_the_kernel_for_ready_maps(triton, dtype):
    from fgbench_selectors.backends import triton_kernels

    pointers = {"probs": DTYPES[dtype], "v": "*fp32", "out": "*fp32"}
    constants = {"BLOCK_I": 16, "BLOCK_J": 256, "num_warps": 4, "enable_fp_fusion": True}
    assert shared_bytes(triton_kernels._maps_kernel, pointers, (), constants, 90) <= SHARED_BYTES[90]
