"""Names of models, selectors and data sets, in fgbench and in the paper."""

from __future__ import annotations

MODELS = {
    "resnet101": "ResNet-101",
    "cal": "CAL",
    "vit": "ViT B-16",
    "transfg": "TransFG",
    "ffvt": "FFVT",
    "ramstrans": "RAMS-Trans",
    "aftrans": "AF-Trans",
    "dcal": "DCAL",
    "glsim": "GLSim",
    "ielt": "IELT",
    "r2trans": "R2-Trans",
    "simtrans": "SIM-Trans",
    "aatrans": "AA-Trans",
    "pim": "PIM",
    "herbs": "HERBS",
    "mpsa": "MPSA",
    "vitnet": "ViT-NeT",
    "accvit": "ACC-ViT",
    "falvit": "FAL-ViT",
}
# The methods of Tables 2 and 3 that are models here.
METHODS = {
    "ViT B-16": "vit",
    "TransFG": "transfg",
    "RAMS-Trans": "ramstrans",
    "AFTrans": "aftrans",
    "GLSim (Ours)": "glsim",
    "IELT": "ielt",
    "R2-Trans": "r2trans",
    "SIM-Trans": "simtrans",
}
# Those that timm has as they are: networks by their names there.
NETWORKS = {"DeiT B-16": "deit_base_patch16_224", "ResNet-152": "resnet152"}
DATASETS = {
    **{"cub": "CUB", "dafb": "DAFB", "dogs": "Dogs", "flowers": "Flowers", "food": "Food"},
    **{"inat17": "iNat17", "moe": "Moe", "nabirds": "NABirds", "pets": "Pets", "vegfru": "VegFru"},
}
