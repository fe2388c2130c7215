"""ResNet-101 (He et al., CVPR 2016): the convolutional baseline."""

from __future__ import annotations

from typing import Any

import timm
from timm.models.resnet import ResNet
from torch import Tensor, nn

from fgbench.errors import FgbenchError, UnknownNameError
from fgbench.models.backbone import create_with_timm, is_backbone
from fgbench.models.model import Explanation
from fgbench.models.options import check_images
from fgbench.models.sized import SizedModel


class ResNet101(SizedModel):
    """timm's ResNet with its linear head: one pass without selection.

    Args:
        backbone: A ResNet of timm; resnet101 by default.
        options: Options of :class:`fgbench.models.sized.SizedModel`; images have sides from 32 pixels.

    Raises:
        FgbenchError: If an option is wrong.

    """

    year = 2016
    default_backbone = "resnet101"
    two_impls = False
    smallest_side = 32

    def __init__(self, backbone: str | None = None, **options: Any) -> None:
        super().__init__(backbone, **options)
        self.backbone = build_resnet(self.backbone_name, self.num_classes, pretrained=self.pretrained)

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
