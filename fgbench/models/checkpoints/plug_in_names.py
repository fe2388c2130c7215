"""Formats of files for models on the levels of a backbone: PIM, HERBS, and Swin backbones."""

from __future__ import annotations

from fgbench.models.checkpoints.format import VIT, Format

LEVELS = range(1, 5)
# Swin's merging belongs to the stage before it in the authors' code and in timm before 0.9, and to the next one since.
MERGING = tuple((rf"layers\.{stage}\.downsample\.", f"layers.{stage + 1}.downsample.") for stage in (2, 1, 0))
BUFFERS = r"\.(relative_position_index|attn_mask)$"  # follow from the image size

COMBINER = tuple(
    (rf"^combiner\.{name}(?=\.|$)", f"combiner.{own}")
    for name, own in {
        **{"param_pool0": "pool_in", "adj1": "adjacency", "alpha1": "alpha", "conv_q1": "query", "conv_k1": "key"},
        **{"conv1": "graph", "batch_norm1": "norm", "param_pool1": "pool_out", "classifier": "fc"},
    }.items()
)


def _pyramid(root: str, step: str, own: str, first: int) -> tuple[tuple[str, str], ...]:
    """Names of a pyramid: of its projections, and of its steps, of which ``own.steps.0`` is that of level ``first``."""
    layers = {0: "first", 2: "second"}
    return (
        *(
            (rf"^{root}\.Proj_layer{level}\.{layer}\.", f"{own}.project.{level - 1}.{name}.")
            for level in LEVELS
            for layer, name in layers.items()
        ),
        *((rf"^{root}\.{step}_layer{level}\.", f"{own}.steps.{level - first}.linear.") for level in LEVELS),
    )


def _classifiers(root: str, own: str) -> tuple[tuple[str, str], ...]:
    """Names of the classifiers of tokens."""
    layers = {0: "hidden", 1: "norm", 3: "fc"}
    return tuple(
        (rf"^{root}_layer{level}\.{layer}\.", f"{own}.{level - 1}.{name}.")
        for level in LEVELS
        for layer, name in layers.items()
    )


BACKBONE = (*((rf"^backbone\.{given}", f"backbone.{own}") for given, own in MERGING), (r"^backbone\.", VIT))
UNUSED = rf"^backbone\.(norm|fc_norm|head|fc)\.|{BUFFERS}"  # what the code leaves behind the last level
PIM = Format(
    "pim",
    "fpn.Proj_layer1.0.weight",
    (*BACKBONE, *_pyramid("fpn", "Up", "top_down", 2), *_classifiers("fpn_classifier", "classifiers"), *COMBINER),
    model="PIM",
    interpolation="bilinear",
    unused=UNUSED,
    convolutions_of_one=True,
)
HERBS = Format(
    "herbs",
    "fpn_up.Proj_layer1.0.weight",
    (
        *BACKBONE,
        *_pyramid("fpn_down", "Up", "top_down", 2),
        *_pyramid("fpn_up", "Down", "bottom_up", 1),
        *_classifiers("fpn_classifier_down", "first_classifiers"),
        *_classifiers("fpn_classifier_up", "classifiers"),
        *COMBINER,
    ),
    model="HERBS",
    unused=UNUSED,
    convolutions_of_one=True,
)
OF_BACKBONE = (r"^(?!head\.)", VIT)
SWIN = Format("timm Swin", "layers.0.blocks.0.norm1.weight", (OF_BACKBONE,), backbone_only=True)
EARLIER_SWIN = Format(
    "Swin with merging at the end of a stage",
    "layers.0.downsample.norm.weight",
    (*((f"^{given}", own) for given, own in MERGING), OF_BACKBONE),
    backbone_only=True,
    unused=BUFFERS,
)
