"""Images and weights with a well-defined selection: peaked attention, and one bright object per image."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from fgbench.models.build import create_model, models
from fgbench.models.model import Model

ON_SWIN = {"MPSA": ("fgtest_swin", "fgtest_vit"), "ViTNeT": ("fgtest_swin", "fgtest_swin_deep")}


def images(batch: int, size: int, seed: int = 0) -> Tensor:
    """(B, 3, S, S): noise with a bright square somewhere else in every image."""
    generator = torch.Generator().manual_seed(seed)
    scenes = 0.3 * torch.randn(batch, 3, size, size, generator=generator)
    corners = torch.randint(0, size // 2, (batch, 2), generator=generator)
    for scene, (y, x) in zip(scenes, corners.tolist(), strict=True):
        scene[:, y : y + size // 3, x : x + size // 3] += 2
    return scenes


@torch.no_grad()
def enliven(model: Any, seed: int = 0) -> Any:
    """Draw weights of a trained model's size, so that nothing is near zero, identity or uniform."""
    generator = torch.Generator().manual_seed(seed)

    def draw(tensor: Tensor, around: float, spread: float) -> None:
        tensor.copy_(around + spread * torch.randn(tensor.shape, generator=generator))

    for name, parameter in model.named_parameters():
        if "bn" in name and name.endswith("bias"):
            draw(parameter, 0.3, 0.1)  # channels that live: CAL's signed root jumps where a feature is all but zero
        elif parameter.ndim == 0 or name == "pooling":  # of MPSA: factors that are above 0
            draw(parameter, 0.4, 0.05)
        elif name.startswith("structure.weight"):  # products of small weights of patches, which matter
            draw(parameter, 0.0, 1.0 if name.endswith("1") else 100.0)
        elif "norm" in name or "bn" in name or name.endswith("gamma"):
            draw(parameter, 0.0 if name.endswith("bias") else 1.0, 0.1)
        elif parameter.ndim == 1:
            draw(parameter, 0.0, 0.1)
        elif "attn.qkv.weight" in name:
            draw(parameter, 0.0, 2.2 / parameter.shape[-1] ** 0.5)
        elif parameter.ndim <= 3:
            draw(parameter, 0.0, 1.0 / parameter.shape[-1] ** 0.5)
        else:
            draw(parameter, 0.0, (2.0 / parameter[0].numel()) ** 0.5)
    for module in model.modules():
        if isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d)):
            draw(module.running_mean, 0.0, 0.1)
            module.running_var.copy_(1 + 0.2 * torch.rand(module.running_var.shape, generator=generator))
    return model


def backbones_of(kind: type[Model]) -> tuple[str, str]:
    """Two small backbones that a model can be built on."""
    if kind.__name__ in ON_SWIN:
        return ON_SWIN[kind.__name__]
    if kind.default_backbone.startswith("resnet"):
        return "fgtest_resnet", "fgtest_resnet_basic"
    if kind.default_backbone.startswith("swin"):
        return "fgtest_swin", "fgtest_vit_reg4"
    return "fgtest_vit", "fgtest_vit_reg4"


def built(name="glsim", size=64, seed=0, **options):
    """A model on a small backbone with random weights everywhere, in eval mode."""
    backbone = options.pop("backbone", backbones_of(models.load(name))[0])
    return enliven(create_model(name, backbone, img_size=size, num_classes=3, **options), seed).eval()


def logits(model, size=64):
    with torch.no_grad():
        return model(images(2, size))


def on_small_vit(name: str, num_classes: int = 3, **options: Any) -> Any:
    """A new model on a small ViT of patches that do not overlap, drawn after a seed."""
    torch.manual_seed(0)
    return create_model(name, "fgtest_vit", img_size=64, num_classes=num_classes, overlap=0, **options)
