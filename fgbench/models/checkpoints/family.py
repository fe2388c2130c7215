"""Names of weights that the released codes on jeonsworld's vision transformer have in common, and ours for them."""

from __future__ import annotations

TRANSFORMER_BLOCK = (
    (r"\.attention_norm\.", ".norm1."),
    (r"\.ffn_norm\.", ".norm2."),
    (r"\.ffn\.(fc\d)\.", r".mlp.\1."),
    (r"\.attn\.out\.", ".attn.proj."),
    (r"\.attn\.query\.", ".attn.q."),
    (r"\.attn\.key\.", ".attn.k."),
    (r"\.attn\.value\.", ".attn.v."),
)


def embeddings(root: str) -> tuple[tuple[str, str], ...]:
    """Names of embeddings and blocks below a module; ``root`` is a pattern."""
    return (
        (rf"^{root}embeddings\.patch_embeddings\.", "encoder.vit.patch_embed.proj."),
        (rf"^{root}embeddings\.position_embeddings$", "encoder.vit.pos_embed"),
        (rf"^{root}embeddings\.cls_token$", "encoder.vit.cls_token"),
        (rf"^{root}encoder\.layer\.", "encoder.vit.blocks."),
    )


EMBEDDINGS = embeddings(r"transformer\.")
JOINT_HEAD = {0: "norm", 1: "hidden", 2: "hidden_norm", 4: "fc"}  # its layers, of SIM-Trans and FAL-ViT
