"""A model of 300 parameters, so that files with its weights stay small."""

from torch import nn

from fgbench.models.model import Explanation, Model


class Tiny(Model):
    """One convolution, the mean over places, a linear head."""

    name = "tiny"
    default_backbone = "resnet10t"
    two_impls = False

    def __init__(
        self, backbone=None, *, img_size=64, num_classes=8, impl="fast", pretrained=False, label_smoothing=0.1
    ):
        super().__init__(impl, label_smoothing)
        self.image_size, self.num_classes = img_size, num_classes
        self.backbone = nn.Conv2d(3, 4, 16, stride=16)
        self.head = nn.Linear(4, num_classes)

    def flow(self, images):
        features = self.step("pass 1", self.backbone, images)
        return Explanation(self.step("fusion", self.head, features.mean((2, 3))))
