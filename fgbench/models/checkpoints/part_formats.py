"""Formats of the released files of MPSA and ViT-NeT: their own layers around a Swin, or a ViT without class token."""

from __future__ import annotations

from fgbench.models.checkpoints.format import VIT, Format
from fgbench.models.checkpoints.plug_in_names import BUFFERS, MERGING

PARTS_OF_MPSA = (  # below ``block``; {} is the number of a stage
    (r"norm_list\.{}\.", "norm."),
    (r"parts_generation_list\.{}\.part_pos$", "sampling.position"),
    (r"parts_generation_list\.{}\.", "sampling."),
    (r"mpsa_list\.{}\.atten_pos$", "attention.position"),
    (r"mpsa_list\.{}\.weights_scale$", "attention.scale"),
    (r"mpsa_list\.{}\.o\.", "attention.out."),
    (r"mpsa_list\.{}\.parts_attention\.ln\.", "attention.importance.norm."),
    (r"mpsa_list\.{}\.parts_attention\.", "attention.importance."),
    (r"mpsa_list\.{}\.", "attention."),
)
MPSA = Format(
    "mpsa",
    "block.mpsa_list.0.atten_pos",
    (
        (r"^backbone\.", VIT),
        *((r"^block\." + name.replace("{}", r"(\d+)"), rf"stages.\1.{own}") for name, own in PARTS_OF_MPSA),
        (r"^pooling_weights$", "pooling"),
    ),
    model="MPSA",
    unused=BUFFERS,
)

PARTS_OF_TREE = (  # below ``tree``, in this order: some have the names of others
    (r"\.l(?=\.)", ".left"),
    (r"\.r(?=\.)", ".right"),
    (r"\.gcb_l\.", ".left_gate."),
    (r"\.gcb_r\.", ".right_gate."),
    (r"\.cm\.", ".attention."),
    (r"\.wv1\.", ".hidden."),
    (r"^(tree\..*)\.norm\.", r"\1.hidden_norm."),
    (r"\.wv2\.", ".out."),
    (r"\.ffn_norm\.", ".norm."),
    (r"\.pred\.", ".predict."),
    (r"\.norm_o\.", ".class_norm."),
)
VIT_NET = Format(
    "vit-net",
    "tree.attrib_pvec",
    (
        (r"^tree\.attrib_pvec$", "tree.prototypes"),
        (r"^tree\.add_on\.0\.", "tree.narrow."),
        (r"^tree\._root\.", "tree.root."),
        *PARTS_OF_TREE,
        (r"^patch_embedding\.head\.", "head."),
        *((rf"^patch_embedding\.{given}", VIT + own) for given, own in MERGING),
        (r"^patch_embedding\.", VIT),
    ),
    model="ViTNeT",
    unused=BUFFERS,
)
