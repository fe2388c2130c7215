"""Backbones whose windows follow the size of the images, and the base of the models on them (MPSA, ViT-NeT)."""

from __future__ import annotations

from typing import Any

from torch import nn

from fgbench.models.initialization import HEAD_INITS, start_head
from fgbench.models.options import one_of
from fgbench.models.pyramid import SWIN, Pyramid, family_of
from fgbench.models.sized import SizedModel
from fgbench.results.image_size import ImageSize, height_width

SIDE_OF_WINDOW = 32  # pixels of an image for one patch of the side of a window


class WindowedPyramid(Pyramid):
    """The stages of a backbone; the windows of a Swin have as many patches a side as the last stage.

    It has no stochastic depth of its own: training sets it.
    Source: MPSA and ViT-NeT, released codes.

    Args:
        name: timm's name.
        image_size: Of the images, in pixels.
        window: Side of a window in patches, of a Swin alone; by default that of the image over 32, so that the last
            stage is one window. A smaller stage is one window.
        options: Other options of :class:`fgbench.models.pyramid.Pyramid`.

    Raises:
        FgbenchError: As :class:`Pyramid`.

    """

    def __init__(self, name: str, image_size: ImageSize, *, window: int | None = None, **options: Any) -> None:
        if window is None and family_of(name) == SWIN:
            window = min(height_width(image_size)) // SIDE_OF_WINDOW
        super().__init__(name, image_size, window=window, drop_path=0.0, **options)


class WindowedModel(SizedModel):
    """Base of the models on a :class:`WindowedPyramid` with a linear head.

    Args:
        backbone: timm's name.
        img_size: Side of the square images in pixels, from 32.
        window: Side of the windows of a Swin in patches; the side of the image over 32 by default.
        head_init: Initial weights of the head (:data:`fgbench.models.initialization.HEAD_INITS`); by default, after
            the backbone's weights are loaded, 0 as in the released codes.
        options: Options of :class:`fgbench.models.sized.SizedModel`.

    Raises:
        FgbenchError: If an option is wrong, or options do not fit each other.

    """

    smallest_side = SIDE_OF_WINDOW
    needs_squares = True
    head: nn.Linear  # that of :meth:`build_head`

    def __init__(
        self,
        backbone: str | None = None,
        *,
        window: int | None = None,
        head_init: str | None = None,
        **options: Any,
    ) -> None:
        super().__init__(backbone, **options)
        self.head_init = one_of("zeros" if head_init is None else head_init, "head_init", HEAD_INITS)
        self._starts_head = self.pretrained or head_init is not None
        self.pyramid = self.build_pyramid(self.backbone_name, window=window, pretrained=self.pretrained)

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
