"""The base of the models whose backbone may be no plain ViT: size of the images, number of classes, backbone."""

from __future__ import annotations

from typing import Any, ClassVar

from fgbench.models.model import Model
from fgbench.models.options import size_option, whole_number


class SizedModel(Model):
    """Base of the models that build their backbone themselves.

    Args:
        backbone: timm's name.
        img_size: Side of the images in pixels, or (height, width) in models that take other than squares.
        num_classes: Classes of the head.
        impl: ``published`` or ``fast``.
        pretrained: Whether timm's weights are loaded.
        label_smoothing: Of the cross-entropy.

    Raises:
        FgbenchError: If an option is wrong.

    """

    smallest_side: ClassVar[int] = 1  # of images, in pixels
    needs_squares: ClassVar[bool] = False  # whether images of other shapes are refused
    image_size: Any  # a side in pixels; of a model that takes others than squares, it may be height × width

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
        name = type(self).__name__.lower()
        self.image_size = size_option(img_size, self.smallest_side, square=self.needs_squares, name=name)
        self.num_classes = whole_number(num_classes, "num_classes", 1)
        self.backbone_name = self.default_backbone if backbone is None else backbone
        self.pretrained = pretrained
