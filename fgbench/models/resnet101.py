"""ResNet-101 (He et al., CVPR 2016): the convolutional baseline."""

from __future__ import annotations

from typing import Any

import timm
from timm.models.resnet import ResNet
from torch import Tensor, nn

from fgbench.errors import FgbenchError, UnknownNameError
from fgbench.models.backbone import create_with_timm, is_backbone
from fgbench.models.model import Explanation, Model
from fgbench.models.options import check_images, size_option, whole_number


class ResNet101(Model):
    """timm's ResNet with its linear head: one pass without selection.

    Args:
        backbone: A ResNet of timm; resnet101 by default.
        img_size: Side of the images in pixels, or (height, width), from 32.
        num_classes: Classes of the head.
        impl: ``published`` or ``fast``, which are the same.
        pretrained: Whether timm's weights are loaded.
        label_smoothing: Of the cross-entropy.

    Raises:
        FgbenchError: If an option is wrong.

    """

    year = 2016
    default_backbone = "resnet101"
    two_impls = False

    def __init__(
        self,
        backbone: str | None = None,
        *,
        img_size: int | str | tuple[int, int] = 224,
        num_classes: int = 200,
        impl: str = "fast",
        pretrained: bool = False,
        label_smoothing: float = 0.1,
    ) -> None:
        super().__init__(impl, label_smoothing)
        self.image_size = size_option(img_size, 32)
        self.num_classes = whole_number(num_classes, "num_classes", 1)
        name = self.default_backbone if backbone is None else backbone
        self.backbone = build_resnet(name, num_classes, pretrained=pretrained)

    def flow(self, images: Tensor) -> Explanation:
        """Images → logits."""
        check_images(images, self.image_size)
        features = self.step("pass 1", self.backbone.forward_features, images)
        return Explanation(self.step("fusion", self.backbone.forward_head, features))


def build_resnet(name: str, num_classes: int, *, pretrained: bool = False) -> Any:
    """Build a ResNet of timm.

    Args:
        name: timm's name.
        num_classes: Classes of the head; 0 for none.
        pretrained: Whether timm's weights are loaded.

    Raises:
        UnknownNameError: If timm has no such model.
        FgbenchError: If it is no ResNet.

    """
    if not isinstance(name, str) or not is_backbone(name):
        raise UnknownNameError("backbone", str(name), timm.list_models("resnet*"))
    module: nn.Module = create_with_timm(name, num_classes, pretrained=pretrained)
    if not isinstance(module, ResNet):
        raise FgbenchError("this model is built on a ResNet, which is not", name, "for example resnet101")
    return module
