"""Counts of training steps: torch's own counter agrees, and what has no cost is named."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from fgbench.flops.count_steps import count_step
from fgbench.flops.counter import FlopCounter, count_flops
from fgbench.flops.handlers import UncountedOperatorError
from fgbench.models.build import create_model
from fgbench.models.training_step import TrainingStep, ready_to_train, targets_for


def on_meta(name: str, backbone: str, size: int = 64) -> nn.Module:
    with torch.device("meta"):
        return create_model(name, backbone, img_size=size, num_classes=10)


@pytest.mark.parametrize(
    ("name", "backbone"),
    [
        ("glsim", "test_vit"),
        ("transfg", "test_vit"),
        ("resnet101", "resnet18"),
        ("cal", "resnet18"),
    ],
)
def test_products_and_convolutions_are_those_of_torchs_counter(name, backbone):
    count = count_step(on_meta(name, backbone), 64)
    step = TrainingStep(ready_to_train(on_meta(name, backbone)))
    images, targets = torch.empty(2, 3, 64, 64, device="meta"), targets_for(2, 10, "meta")
    step(images, targets)
    with FlopCounterMode(display=False) as counter:
        step(images, targets)
    assert 2 * count.macs == counter.get_total_flops()
    assert count.flops > 2 * count.macs


def test_a_step_is_three_passes_less_the_gradient_of_the_images():
    """Every layer's products run once more for its weights, and once more for its input, which images do not need."""
    model = on_meta("vit", "test_vit")
    forward = 2 * count_flops(model, torch.empty(1, 3, 64, 64)).macs
    first_layer = 2 * count_flops(model, torch.empty(1, 3, 64, 64)).by_operator["aten::convolution"].macs
    assert count_step(on_meta("vit", "test_vit"), 64).macs == 3 * forward - first_layer


@pytest.mark.parametrize("layer", [nn.Conv2d(3, 4, 3, groups=1), nn.ConvTranspose2d(3, 4, 3, stride=2)])
def test_gradients_of_convolutions_cost_what_the_convolution_costs(layer):
    layer, images = layer.to("meta"), torch.empty(2, 3, 8, 8, device="meta", requires_grad=True)
    forward = count_flops(layer, images).by_operator["aten::convolution"]
    with FlopCounter(backward=True) as counter:
        layer(images).sum().backward()
    assert counter.result().by_operator["aten::convolution_backward"].macs == 2 * forward.macs


def test_the_optimizer_is_counted():
    """Momentum: a product, an addition, and the addition to the weight with its product, per parameter."""
    model = on_meta("vit", "test_vit")
    params = sum(parameter.numel() for parameter in model.parameters())
    count = count_step(model, 64)
    assert count.by_operator["aten::mul_"].others >= params
    assert sum(cost.others for name, cost in count.by_operator.items() if name in ("aten::add_", "aten::mul_")) >= (
        3 * params
    )


def test_an_operator_of_a_backward_pass_without_a_cost_is_named():
    image = torch.empty(1, 1, 8, 8, 8, device="meta", requires_grad=True)
    with pytest.raises(UncountedOperatorError, match="backward"), FlopCounter(backward=True):
        nn.functional.max_pool3d(image, 2).sum().backward()
