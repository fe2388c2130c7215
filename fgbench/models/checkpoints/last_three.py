"""Formats of ACC-ViT and FAL-ViT, whose heads read the class tokens of the last three blocks."""

from __future__ import annotations

from fgbench.models.checkpoints.family import JOINT_HEAD, of_family

# Numbers in names of ACC-ViT: blocks 10, 11 and 12, and 13 for the extra block.
ACC_NORMS = {10: "first_norm", 11: "second_norm", 12: "encoder.vit.norm", 13: "object_norm"}
ACC_HEADS = {10: "first_head", 11: "second_head", 12: "head", 13: "object_head"}
ACC_VIT = of_family(
    "acc-vit",
    "transformer.encoder.aof.attention_norm.weight",
    (r"^transformer\.encoder\.aof\.", "object_block."),
    *((rf"^transformer\.encoder\.norm{number}\.", f"{name}.") for number, name in ACC_NORMS.items()),
    *((rf"^part_head{number}\.", f"{name}.") for number, name in ACC_HEADS.items()),
    model="ACCViT",
)
FAL_VIT = of_family(
    "fal-vit",
    "transformer.embeddings.patch_embeddings2.weight",
    (r"^transformer\.embeddings\.patch_embeddings1\.", "encoder.vit.patch_embed.proj."),
    (r"^transformer\.embeddings\.position_embeddings1$", "encoder.vit.pos_embed"),
    (r"^transformer\.embeddings\.patch_embeddings2\.", "finer.proj."),
    (r"^transformer\.embeddings\.position_embeddings2$", "finer.pos_embed"),
    (r"^transformer\.encoder\.cls_norm\.", "encoder.vit.norm."),
    (r"^part_head1\.", "coarse_head."),
    *((rf"^part_head2\.{index}\.", f"head.{name}.") for index, name in JOINT_HEAD.items()),
    model="FALViT",
)
