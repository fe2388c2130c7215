"""ResNet-101: the convolutional baseline (He et al., CVPR 2016)."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from fgbench.errors import FgbenchError
from fgbench.models.backbone import create_with_timm
from fgbench.models.model import Explanation, Model


class ResNet101(Model):
    """timm's ResNet with its linear head: one pass, no selection. ``backbone`` may be any ResNet of timm's."""

    default_backbone = "resnet101"
    two_impls = False

    def __init__(
        self,
        backbone: str | None = None,
        *,
        img_size: int = 224,
        num_classes: int = 200,
        impl: str = "fast",
        pretrained: bool = False,
        label_smoothing: float = 0.1,
    ) -> None:
        super().__init__(impl, label_smoothing)
        self.backbone = build_resnet(backbone or self.default_backbone, num_classes, pretrained=pretrained)
        self.image_size, self.num_classes = img_size, num_classes

    def flow(self, images: Tensor) -> Explanation:
        """Images → logits."""
        features = self.step("pass 1", self.backbone.forward_features, images)
        return Explanation(self.step("fusion", self.backbone.forward_head, features))


def build_resnet(name: str, num_classes: int, *, pretrained: bool = False) -> Any:
    """A ResNet of timm's, or an error where the name is no ResNet's."""
    import timm
    from timm.models.resnet import ResNet

    from fgbench.errors import UnknownNameError

    if not timm.is_model(name.partition(".")[0]):
        raise UnknownNameError("backbone", name, timm.list_models("resnet*"))
    module: nn.Module = create_with_timm(name, num_classes, pretrained=pretrained)
    if not isinstance(module, ResNet):
        raise FgbenchError("this model is built on a ResNet, which is not", name, "for example resnet101")
    return module
