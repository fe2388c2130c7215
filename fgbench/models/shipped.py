"""The small vision transformer that is shipped with its weights, as timm has models: ``vit_fgbench_patch12_96``.

It learned a coarse world of drawn objects (:mod:`fgbench.pretraining`), so that fine-tuning and selection can be tried
where no weights can be downloaded. Importing this module registers it with timm.
"""

from __future__ import annotations

import warnings
from typing import Any

with warnings.catch_warnings():  # torchvision scripts functions with a deprecated torch.jit while it is imported
    warnings.simplefilter("ignore")
    from timm.models import generate_default_cfgs, register_model
    from timm.models.vision_transformer import VisionTransformer, _create_vision_transformer

from fgbench.results.shipped import DEPTH, FAMILIES, HEADS, IMAGE_SIZE, MEAN, PATCH, SHIPPED, STD, TAG, WEIGHTS, WIDTH

default_cfgs = generate_default_cfgs(
    {
        f"{SHIPPED}.{TAG}": {
            "file": str(WEIGHTS),
            "num_classes": FAMILIES,
            "input_size": (3, IMAGE_SIZE, IMAGE_SIZE),
            "pool_size": None,
            "crop_pct": 0.75,
            "interpolation": "bilinear",
            "fixed_input_size": True,
            "mean": MEAN,
            "std": STD,
            "first_conv": "patch_embed.proj",
            "classifier": "head",
            "license": "apache-2.0",
        }
    }
)


@register_model
def vit_fgbench_patch12_96(pretrained: bool = False, **options: Any) -> VisionTransformer:
    """A ViT of width 96, six blocks and patches of 12 pixels at 96; with weights of the drawn world."""
    shape = {"img_size": IMAGE_SIZE, "patch_size": PATCH, "embed_dim": WIDTH, "depth": DEPTH, "num_heads": HEADS}
    model: VisionTransformer = _create_vision_transformer(SHIPPED, pretrained=pretrained, **{**shape, **options})
    return model
