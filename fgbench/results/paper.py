"""Constants of the paper's tables: sizes, backbones, models, selectors. ``recipe`` has those of training. No torch.

Source: GLSim, arXiv 2407.12891.
"""

from __future__ import annotations

IMAGE_SIZES = (224, 448, 768, 1024)  # pixels, square; Tables 1, 7 and 8
NUM_CLASSES = 200  # of the heads in Tables 1, 7 and 8, as CUB has
BACKBONES = ("vit_base_patch16_224", "vit_base_patch14_dinov2", "vit_tiny_patch16_224")  # of Tables 1, 7 and 8

MODELS = ("vit", "resnet101", "cal", "transfg", "ffvt", "ramstrans", "dcal", "glsim")  # of Table 4 and Figure 4
# The backbones of these models, as timm names them. The first one of each is the default here.
VIT_B16 = ("vit_base_patch16_224", "vit_base_patch16_224.augreg_in21k", "vit_base_patch16_224.orig_in21k")
SWIN_L = ("swin_large_patch4_window12_384", "swin_large_patch4_window12_384.ms_in22k")
OTHER_BACKBONES = {
    **{"resnet101": ("resnet101",), "cal": ("resnet101",), "pim": SWIN_L, "herbs": SWIN_L},
    "mpsa": ("swin_base_patch4_window12_384", "swin_base_patch4_window12_384.ms_in22k"),
    "vitnet": ("swin_base_patch4_window7_224", "swin_base_patch4_window7_224.ms_in22k"),
}

SELECTORS = ("psm", "rollout", "maws", "sacm", "gls")  # of Tables 1, 7 and 8
# The selectors of models; a model that is not listed has none.
MODEL_SELECTORS = {
    "transfg": "psm",
    "ffvt": "maws",
    "ramstrans": "rollout",
    "aftrans": "sacm",
    "dcal": "rollout",
    "glsim": "gls",
    "ielt": "mhv",
    "r2trans": "column_mass",
    "aatrans": "column_entropy",
    "pim": "confidence",
    "herbs": "confidence",
    "accvit": "rollout",
    "falvit": "attention_sum",
}
SELECTING_MODELS = ("transfg", "ffvt", "ramstrans", "aftrans", "dcal", "glsim")  # of Table 6
# Patches of TransFG and AF-Trans overlap: stride P − 4 (TransFG, section 3.1). Tables 1, 7 and 8 count their selectors
# on these patches.
OVERLAP = 4  # pixels
OVERLAPPED = ("psm", "sacm")


def published_backbones(model: str) -> tuple[str, ...]:
    """The backbones that the published figures of a model are on, as timm names them."""
    return OTHER_BACKBONES.get(model, VIT_B16)
