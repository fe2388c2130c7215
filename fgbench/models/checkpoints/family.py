"""Names of weights that the released codes on jeonsworld's vision transformer have in common, and ours for them."""

from __future__ import annotations

from typing import Any

from fgbench.models.checkpoints.format import Format

TRANSFORMER_BLOCK = (
    (r"\.attention_norm\.", ".norm1."),
    (r"\.ffn_norm\.", ".norm2."),
    (r"\.ffn\.(fc\d)\.", r".mlp.\1."),
    (r"\.attn\.out\.", ".attn.proj."),
    (r"\.attn\.query\.", ".attn.q."),
    (r"\.attn\.key\.", ".attn.k."),
    (r"\.attn\.value\.", ".attn.v."),
)
TRANSFORMER = r"transformer\."  # where most of these codes have the backbone, as a pattern
JOINT_HEAD = {0: "norm", 1: "hidden", 2: "hidden_norm", 4: "fc"}  # its layers, of SIM-Trans and FAL-ViT


def of_family(name: str, signature: str, *renames: tuple[str, str], root: str = TRANSFORMER, **options: Any) -> Format:
    """A format of the family: the common names, norms with ε = 10⁻⁶, and position embeddings resized bilinearly.

    Args:
        name: Its name.
        signature: A name of a weight that no other format has.
        renames: Pairs of a pattern and its replacement for the names that the code has of its own.
        root: A pattern of the first parts of the names of embeddings and blocks.
        options: Further fields of :class:`Format`.

    """
    embeddings = (
        (rf"^{root}embeddings\.patch_embeddings\.", "encoder.vit.patch_embed.proj."),
        (rf"^{root}embeddings\.position_embeddings$", "encoder.vit.pos_embed"),
        (rf"^{root}embeddings\.cls_token$", "encoder.vit.cls_token"),
        (rf"^{root}encoder\.layer\.", "encoder.vit.blocks."),
    )
    every = (*embeddings, *renames, *TRANSFORMER_BLOCK)
    return Format(name, signature, every, norm_eps=1e-6, interpolation="bilinear", **options)
