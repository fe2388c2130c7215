"""Training on a GPU: float16 with scaled gradients, and a continued run with the same scale."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import safetensors.torch
import torch
from accelerate import Accelerator
from helpers.small_training import RECIPE, plan, quiet

from fgbench.training.training import LAST, Step, train

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")]
FP16 = replace(RECIPE, mixed_precision="fp16", epochs=4)


class StopHereError(Exception): ...


def on_gpu() -> Accelerator:
    return Accelerator(mixed_precision="fp16")


def test_float16_trains_and_keeps_float32_weights(tmp_path):
    kept = []
    predictions, _ = train(plan(tmp_path, "glsim", recipe=FP16), on_gpu(), kept.append, quiet)
    assert predictions.images == 20
    assert all(math.isfinite(epoch.train_loss) for epoch in kept)
    assert {tensor.dtype for tensor in safetensors.torch.load_file(tmp_path / LAST).values()} == {torch.float32}


def test_a_run_that_was_stopped_goes_on_with_the_scale_of_its_gradients(tmp_path):
    straight = []
    train(plan(tmp_path / "straight", "vit", recipe=FP16), on_gpu(), straight.append, quiet)

    def stop_in_epoch_three(step):
        if isinstance(step, Step) and step.epoch == 3:
            raise StopHereError

    kept = []
    with pytest.raises(StopHereError):
        train(plan(tmp_path / "stopped", "vit", recipe=FP16), on_gpu(), kept.append, stop_in_epoch_three)
    accelerator = on_gpu()
    accelerator.scaler.update(1.0)  # another scale than the one that is kept
    train(plan(tmp_path / "stopped", "vit", recipe=FP16), accelerator, kept.append, quiet)
    assert [epoch.epoch for epoch in kept] == [1, 2, 3, 4]
    losses = [[epoch.train_loss for epoch in epochs] for epochs in (kept, straight)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-2)  # kernels of a GPU add in any order
