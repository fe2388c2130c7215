"""A vision transformer without a class token: nothing classifies by it, and some selectors can read it all the same."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from fgbench.models.backbone import build_vit
from fgbench.models.encoder import Encoder, State
from fgbench.models.model import Explanation, Model
from fgbench.models.options import whole_number
from fgbench.models.vit import VisionTransformerModel
from fgbench_selectors import Features, Needs


class PatchEncoder(Encoder):
    """An encoder of patches, and maybe registers, alone."""

    def __init__(self, vit: Any, name: str, image_size: int) -> None:
        vit.cls_token = nn.Parameter(torch.empty(0))  # models that classify by it refuse to be built without one
        super().__init__(vit, name, image_size)
        vit.cls_token = None

    def features(self, state: State, record: Needs, *, depth: int | None = None) -> Features:
        """What was recorded, as selectors take it; those that read the class token's row refuse it."""
        not_run = (depth or self.depth) - len(state.attention)
        return Features(
            tokens=self.norm(state.tokens).detach() if record.tokens else None,
            attention=[*state.attention, *[None] * not_run],
            num_prefix_tokens=self.num_prefix_tokens,
            grid=self.grid,
            has_class_token=False,
        )


class PatchViT(VisionTransformerModel):
    """A backbone that selectors look at and that predicts nothing."""

    def __init__(
        self,
        backbone: str,
        *,
        img_size: int = 224,
        num_classes: int = 200,
        impl: str = "fast",
        pretrained: bool = False,
        overlap: int = 0,
    ) -> None:
        Model.__init__(self, impl)
        whole_number(overlap, "overlap", 0)
        vit: Any = build_vit(backbone, img_size, num_classes, pretrained=pretrained, overlap=overlap)
        vit.head, vit.attn_pool = nn.Identity(), None
        self.num_classes = num_classes
        self.encoder = PatchEncoder(vit, backbone, img_size)

    def flow(self, images: Tensor) -> Explanation:
        """No logits: there is no class token to read them from."""
        self.encoder(images)
        return Explanation(images.new_empty(len(images), 0))


def lacks_class_token(backbone: str, image_size: int) -> bool:
    """Whether a backbone of timm's has no class token. Raises as :func:`fgbench.models.backbone.build_vit` does."""
    with torch.device("meta"):
        return getattr(build_vit(backbone, image_size), "cls_token", None) is None
