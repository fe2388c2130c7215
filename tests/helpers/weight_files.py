"""The bytes of small files that hold weights or arrays."""

from __future__ import annotations

import io

import numpy as np
import torch


def torch_file(held=None, **options):
    buffer = io.BytesIO()
    torch.save({"a.weight": torch.ones(2)} if held is None else held, buffer, **options)
    return buffer.getvalue()


def array_file():
    buffer = io.BytesIO()
    np.save(buffer, np.ones(3))
    return buffer.getvalue()


def google_arrays(depth=4, width=64, heads=2, side=4, head=None):
    """A small ViT in the layout of Google's .npz files."""
    rng = np.random.default_rng(0)
    each = width // heads

    def draw(*shape):
        return rng.normal(0, 0.2, shape).astype(np.float32)

    arrays = {
        "cls": draw(1, 1, width),
        "embedding/kernel": draw(16, 16, 3, width),
        "embedding/bias": draw(width),
        "Transformer/posembed_input/pos_embedding": draw(1, side * side + 1, width),
        "Transformer/encoder_norm/scale": draw(width),
        "Transformer/encoder_norm/bias": draw(width),
    }
    for block in range(depth):
        root = f"Transformer/encoderblock_{block}"
        for norm in ("LayerNorm_0", "LayerNorm_2"):
            arrays |= {f"{root}/{norm}/scale": draw(width), f"{root}/{norm}/bias": draw(width)}
        attention = f"{root}/MultiHeadDotProductAttention_1"
        for part in ("query", "key", "value"):
            arrays |= {f"{attention}/{part}/kernel": draw(width, heads, each)}
            arrays |= {f"{attention}/{part}/bias": draw(heads, each)}
        arrays |= {f"{attention}/out/kernel": draw(heads, each, width), f"{attention}/out/bias": draw(width)}
        arrays |= {f"{root}/MlpBlock_3/Dense_0/kernel": draw(width, 4 * width)}
        arrays |= {f"{root}/MlpBlock_3/Dense_0/bias": draw(4 * width)}
        arrays |= {f"{root}/MlpBlock_3/Dense_1/kernel": draw(4 * width, width)}
        arrays |= {f"{root}/MlpBlock_3/Dense_1/bias": draw(width)}
    if head:
        arrays |= {"head/kernel": draw(width, head), "head/bias": draw(head)}
    return arrays
