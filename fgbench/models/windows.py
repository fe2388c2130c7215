"""Backbones whose windows follow the size of the images, and the base of the models on them (MPSA, ViT-NeT)."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from fgbench.errors import FgbenchError
from fgbench.models.backbone import create_with_timm, for_timm
from fgbench.models.initialization import HEAD_INITS, start_head
from fgbench.models.model import Model
from fgbench.models.options import one_of, size_option, whole_number
from fgbench.models.pyramid import SWIN, Pyramid, family_of
from fgbench.results.image_size import ImageSize, height_width

SIDE_OF_WINDOW = 32  # pixels of an image for one patch of the side of a window


class WindowedPyramid(Pyramid):
    """The stages of a backbone; the windows of a Swin have as many patches a side as the last stage.

    Source: MPSA and ViT-NeT, released codes.

    Args:
        name: timm's name.
        image_size: Of the images, in pixels.
        window: Side of a window in patches, of a Swin alone; by default that of the image over 32, so that the last
            stage is one window. A smaller stage is one window.
        pretrained: Whether timm's weights are loaded.
        options: Other options of :class:`fgbench.models.pyramid.Pyramid`.

    Raises:
        FgbenchError: As :class:`Pyramid`, or if the window is no whole number from 1, or the backbone has none.

    """

    def __init__(
        self, name: str, image_size: ImageSize, *, window: int | None = None, pretrained: bool = False, **options: Any
    ) -> None:
        side = min(height_width(image_size)) // SIDE_OF_WINDOW if window is None else whole_number(window, "window", 1)
        if family_of(name) != SWIN:
            super().__init__(name, image_size, pretrained=pretrained, **options)
            if window is not None:
                raise FgbenchError("only a Swin has windows, which is not", name, "leave window out")
            return
        with torch.device("meta"):  # for its levels; its windows would be those of its name
            super().__init__(name, image_size, **options)
        norm, shape = self.net.norm, {"img_size": for_timm(image_size), "window_size": side}
        self.net = create_with_timm(name, 0, pretrained=pretrained, drop_path_rate=0.0, **shape)  # training sets it
        self.net.head = nn.Identity()
        if isinstance(norm, nn.Identity):
            self.net.norm = norm


class WindowedModel(Model):
    """Base of the models on a :class:`WindowedPyramid` with a linear head.

    Args:
        backbone: timm's name.
        img_size: Side of the square images in pixels, from 32.
        num_classes: Classes of the head.
        impl: ``published`` or ``fast``.
        pretrained: Whether timm's weights are loaded.
        label_smoothing: Of the loss.
        window: Side of the windows of a Swin in patches; the side of the image over 32 by default.
        head_init: Initial weights of the head (:data:`fgbench.models.initialization.HEAD_INITS`); by default, after
            the backbone's weights are loaded, 0 as in the released codes.

    Raises:
        FgbenchError: If an option is wrong, or options do not fit each other.

    """

    head: nn.Linear  # that of :meth:`build_head`

    def __init__(
        self,
        backbone: str | None = None,
        *,
        img_size: int | str | tuple[int, int] = 224,
        num_classes: int = 200,
        impl: str = "fast",
        pretrained: bool = False,
        label_smoothing: float = 0.1,
        window: int | None = None,
        head_init: str | None = None,
    ) -> None:
        super().__init__(impl, label_smoothing)
        self.image_size = size_option(img_size, SIDE_OF_WINDOW, square=True, name=type(self).__name__.lower())
        self.num_classes = whole_number(num_classes, "num_classes", 1)
        self.head_init = one_of("zeros" if head_init is None else head_init, "head_init", HEAD_INITS)
        self._starts_head = pretrained or head_init is not None
        name = self.default_backbone if backbone is None else backbone
        self.pyramid = self.build_pyramid(name, window=window, pretrained=pretrained)

    def build_pyramid(self, name: str, **options: Any) -> WindowedPyramid:
        """Build the backbone.

        Args:
            name: timm's name.
            options: Options of :class:`WindowedPyramid`.

        """
        raise NotImplementedError

    def build_head(self, width: int) -> nn.Linear:
        """A head for (B, width), drawn by ``head_init``; by timm's rule where neither it nor weights were asked for."""
        head = nn.Linear(width, self.num_classes)
        start_head(head, self._head_rule if self._starts_head else "timm")
        return head

    @property
    def _head_rule(self) -> str:
        """How the head is drawn where the backbone's is not taken."""
        return "timm" if self.head_init == "backbone" else self.head_init

    @property
    def takes_head(self) -> bool:
        """Whether ``head_init`` is ``backbone``."""
        return self.head_init == "backbone"

    def start_from_backbone(self) -> tuple[str, ...]:
        """Draw the head, unless it is that of the backbone; the other layers stay as they were drawn."""
        if not self.takes_head:
            start_head(self.head, self.head_init)
        return ()
