"""Training steps as a mode: what runs, what is counted, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

import fgbench
from fgbench.errors import FgbenchError
from fgbench.measure.engine_registry import open_engine
from fgbench.measure.points import RunMode
from fgbench.measure.subjects.kernel import KernelSubject
from fgbench.models.build import create_model
from fgbench.models.training_step import LR, MOMENTUM, TrainingStep, ready_to_train, targets_for

STUB = Path(__file__).parents[1] / "helpers" / "stub_engine.py"
SMALL = {"backbone": "test_vit", "num_classes": 10, "threads": 1, "max_time_s": 0.05, "device": "cpu"}


@pytest.fixture(autouse=True)
def same_threads_as_before():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def test_a_row_of_a_training_step_says_that_it_is_one():
    forward = fgbench.measure("glsim", 64, batch_size=2, **SMALL)
    row = fgbench.measure("glsim", 64, batch_size=2, training=True, **SMALL)
    assert row.is_training
    assert not forward.is_training
    assert row.environment["engine"]["optimizer"].startswith("momentum: SGD with momentum 0.9")
    assert 2 < row.environment["macs_per_image"] / forward.environment["macs_per_image"] <= 3
    assert row.environment["flops_per_image"] > 2 * row.environment["macs_per_image"]
    assert "flops_per_image" not in forward.environment
    assert row.part is None


def test_any_network_that_gives_logits_is_trained():
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 5))
    before = {name: value.clone() for name, value in network.state_dict().items()}
    row = fgbench.measure(network, 16, batch_size=4, training=True, device="cpu", threads=1, max_time_s=0.05)
    assert row.latency_s > 0
    assert row.environment["missing"].get("mfu") is None
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items()), "the caller's own"


def test_a_step_moves_every_weight_as_sgd_with_momentum_does():
    torch.manual_seed(0)
    model = ready_to_train(create_model("vit", "test_vit", img_size=64, num_classes=10))
    images, targets = torch.randn(2, 3, 64, 64), targets_for(2, 10, "cpu")
    loss, _ = model(images, targets)
    (gradient,) = torch.autograd.grad(loss, [model.get_parameter("head.weight")])
    before = model.get_parameter("head.weight").detach().clone()
    step = TrainingStep(model)
    assert step(images, targets) == pytest.approx(loss.item())
    torch.testing.assert_close(model.get_parameter("head.weight"), before - LR * gradient)
    assert all(parameter.grad is None for parameter in model.parameters())
    step(images, targets)
    (state,) = {
        id(v): v for v in [step.optimizer.state[model.get_parameter("head.weight")]["momentum_buffer"]]
    }.values()
    assert state.abs().sum() > (1 + MOMENTUM / 2) * gradient.abs().sum()


def test_autocast_computes_the_forward_pass():
    engine = open_engine(RunMode(threads=1, dtype="amp", training=True))
    kinds = set()
    network = create_model("vit", "test_vit", img_size=64, num_classes=10)
    network.head.register_forward_hook(lambda module, inputs, output: kinds.add(output.dtype))
    step = engine.trainer(network)
    step(torch.randn(2, 3, 64, 64), targets_for(2, 10, "cpu"))
    assert kinds == {torch.bfloat16}
    assert {parameter.dtype for parameter in network.parameters()} == {torch.float32}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dtype": "float16"}, "needs a scaler of its loss: '--train'; --dtype amp has one"),
        ({"engine": "stub", "plugins": [STUB]}, "engine 'stub' has no mode 'training'"),
    ],
)
def test_modes_that_cannot_train_are_refused(options, message):
    with pytest.raises(FgbenchError, match=message):
        fgbench.measure("glsim", 64, training=True, **SMALL | options)


class Ten(nn.Module):
    """Ten classes, whatever is asked for; its first layer is frozen."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.head = nn.Conv2d(3, 4, 3).requires_grad_(False), nn.Linear(4, 10)

    def forward(self, images):
        return self.head(self.conv(images).mean(dim=(2, 3)))


def test_classes_are_those_of_the_logits_and_frozen_weights_stay(tmp_path):
    (tmp_path / "net.py").write_text(
        "import torch\nfrom torch import nn\n"
        "def ten(): return nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 10))\n"
    )
    small = {"training": True, "device": "cpu", "threads": 1, "max_time_s": 0.05}
    assert fgbench.measure(f"{tmp_path / 'net.py'}:ten", 16, batch_size=12, **small).latency_s
    all_of_it = fgbench.measure(Ten().requires_grad_(True), 16, batch_size=2, **small)
    head_only = fgbench.measure(Ten(), 16, batch_size=2, **small)
    assert head_only.environment["macs_per_image"] < all_of_it.environment["macs_per_image"]
    with pytest.raises(FgbenchError, match="all of them are frozen: 'Ten'"):
        fgbench.measure(Ten().requires_grad_(False), 16, batch_size=2, **small)


def test_a_kernel_is_not_trained():
    with pytest.raises(FgbenchError, match="only a network that classifies images is trained"):
        fgbench.measure(KernelSubject("dense", 20), training=True, device="cpu", threads=1, max_time_s=0.05)
