"""What a mode sets: precision as it is named, memory format, compilation, CUDA graphs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from fgbench.errors import FgbenchError
from fgbench.measure.clocks import Step
from fgbench.measure.points import RunMode

WEIGHTS = {"float16": torch.float16, "bfloat16": torch.bfloat16}
GRAPH_WARM_RUNS = 3  # kernels and workspaces must exist before a capture; torch's own notes ask for three
# Replay and eager run the same kernels; libraries may still split a sum differently inside a capture.
GRAPH_TOLERANCE = {torch.float32: 1e-4, torch.float16: 1e-2, torch.bfloat16: 5e-2}


def set_precision(mode: RunMode) -> None:
    """Set what float32 means in this process: TF32 is a mode of its own, and off in every other."""
    if mode.device == "cuda":
        if mode.dtype == "tf32" and torch.cuda.get_device_capability()[0] < 8:
            raise FgbenchError("this GPU has no TF32:", torch.cuda.get_device_name(), "--dtype float32 runs everywhere")
        if mode.dtype == "bfloat16" and not torch.cuda.is_bf16_supported(including_emulation=False):
            raise FgbenchError("this GPU has no bfloat16:", torch.cuda.get_device_name(), "--dtype float16 halves too")
        torch.backends.cuda.matmul.allow_tf32 = mode.dtype == "tf32"
        torch.backends.cudnn.allow_tf32 = mode.dtype == "tf32"
        torch.backends.cudnn.benchmark = True  # shapes are fixed, and the warm-up pays for the choice
    else:
        torch.set_float32_matmul_precision("highest")


def autocast(mode: RunMode) -> AbstractContextManager[Any]:
    """Autocast for ``amp``; nothing in the other modes."""
    return torch.autocast(mode.device, dtype=half_of_amp(mode)) if mode.dtype == "amp" else nullcontext()


def half_of_amp(mode: RunMode) -> torch.dtype:
    """What ``amp`` computes matrix products in: float16 on a GPU, bfloat16 on a CPU."""
    return torch.float16 if mode.device == "cuda" else torch.bfloat16


def prepare(model: nn.Module, mode: RunMode) -> Callable[[Tensor], Any]:
    """The model in its mode, ready for images (B, 3, S, S)."""
    model = model.eval().to(mode.device)
    if mode.dtype in WEIGHTS:
        model = model.to(WEIGHTS[mode.dtype])
    if mode.channels_last:
        model = model.to(memory_format=torch.channels_last)
    return torch.compile(model, dynamic=False) if mode.compiled else model


def forget_compiled() -> None:
    """Forget the shapes that were compiled so far, before another one.

    torch.compile gives up on a function after eight recompilations and goes on in eager mode, with no more than a word
    in its log: the ninth batch size would be measured uncompiled. Where that still happens, it is an error.
    """
    torch.compiler.reset()
    for name in ("fail_on_recompile_limit_hit", "fail_on_cache_limit_hit"):  # the second one before torch 2.7
        if hasattr(torch._dynamo.config, name):
            setattr(torch._dynamo.config, name, True)


def random_images(mode: RunMode, batch_size: int, image_size: int, seed: int = 0) -> Tensor:
    """Noise (B, 3, S, S) as the mode wants it: what is computed does not depend on it, the values are not special."""
    generator = torch.Generator().manual_seed(seed)
    one = torch.randn(1, 3, image_size, image_size, generator=generator)
    images = torch.empty(batch_size, 3, image_size, image_size, dtype=WEIGHTS.get(mode.dtype), device=mode.device)
    for index in range(batch_size):  # pictures that differ, without a second of random numbers per batch
        images[index] = one[0].roll((7 * index, 11 * index), (1, 2))
    return images.contiguous(memory_format=torch.channels_last) if mode.channels_last else images


def eager_step(run: Callable[[Tensor], Any], images: Tensor, mode: RunMode) -> Step:
    """One forward pass, as a call without arguments."""

    def step() -> object:
        with torch.inference_mode(), autocast(mode):
            return run(images)

    return step


def graph_step(run: Callable[[Tensor], Any], images: Tensor, mode: RunMode) -> tuple[Step, Mapping[str, float]]:
    """One forward pass as the replay of a CUDA graph, checked against eager on other images.

    Raises :class:`FgbenchError` where the pass cannot be captured, or its replay computes something else.
    """
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    step = eager_step(run, images, mode)
    with torch.cuda.stream(stream):
        for _ in range(GRAPH_WARM_RUNS):
            step()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    try:
        with torch.cuda.graph(graph):
            replayed = step()
    except RuntimeError as error:
        raise FgbenchError("this forward pass cannot be captured in a CUDA graph:", first_line(error)) from error
    kept = images.clone()
    images.copy_(random_images(mode, images.shape[0], images.shape[-1], seed=1))
    graph.replay()
    again = replayed.clone() if isinstance(replayed, Tensor) else torch.tensor(float("nan"))
    expected = step()
    images.copy_(kept)
    difference = relative_difference(again, expected)
    tolerance = GRAPH_TOLERANCE[torch.float16 if mode.dtype == "amp" else WEIGHTS.get(mode.dtype, torch.float32)]
    if not difference <= tolerance:
        raise FgbenchError(
            "the CUDA graph computes something else on other images, relative difference", round(difference, 6)
        )
    return graph.replay, {"cuda_graph_relative_difference": difference}


def relative_difference(found: Any, expected: Any) -> float:
    """The largest difference of two tensors over the largest value; NaN where one of them has any."""
    found, expected = found.double(), expected.double()
    return float((found - expected).abs().max() / expected.abs().max().clamp_min(1e-30))


def first_line(error: BaseException) -> str:
    """What an exception says, in one line."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
