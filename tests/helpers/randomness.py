"""Random weights and images, far from the identity: peaked attention, uneven statistics, distinct objects."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

Q_AND_K = 1.6


def images(count: int, size: int, seed: int = 0) -> Tensor:
    """(count, 3, size, size): smooth noise with one textured object in each, of its own place and extent."""
    made = torch.Generator().manual_seed(seed)
    axis = torch.linspace(0, 1, size)
    background = nn.functional.interpolate(
        torch.randn(count, 3, 14, 14, generator=made), size=(size, size), mode="bilinear", align_corners=True
    )
    texture = torch.randn(count, 3, size, size, generator=made)
    out = []
    for i in range(count):
        y, x = (0.2 + 0.6 * torch.rand(2, generator=made)).tolist()
        height, width = (0.05 + 0.15 * torch.rand(2, generator=made)).tolist()
        inside = torch.exp(-(((axis[:, None] - y) / height) ** 2) - ((axis[None, :] - x) / width) ** 2)
        out.append(0.3 * background[i] + inside * (3 + texture[i]))
    return torch.stack(out)


def randomise(weights: dict[str, Tensor], seed: int = 0) -> dict[str, Tensor]:
    """The same names and shapes, with values of realistic size that tell every parameter from its default."""
    made = torch.Generator().manual_seed(seed)

    def normal(like: Tensor, std: float, mean: float = 0.0) -> Tensor:
        return mean + std * torch.randn(like.shape, generator=made)

    out = {}
    for name, w in weights.items():
        last = name.rsplit(".", 1)[-1]
        if not w.is_floating_point():
            out[name] = w.clone()
        elif last == "running_var":
            out[name] = 0.5 + 1.5 * torch.rand(w.shape, generator=made)
        elif last == "running_mean":
            out[name] = normal(w, 0.2)
        elif w.dim() == 0 or last in ("pooling", "pooling_weights"):  # of MPSA: factors that are above 0
            out[name] = normal(w, 0.05, 0.4)
        elif last in ("position", "part_pos", "atten_pos"):  # of its parts
            out[name] = normal(w, 0.5)
        elif last == "sigma":  # the factor of AA-Trans' maps
            out[name] = normal(w, 0.05, 1.0)
        elif name.endswith(("structure.weight1", "gc1.weight")):  # SIM-Trans: products of small weights, which matter
            out[name] = normal(w, 1.0)
        elif name.endswith(("structure.weight2", "gc2.weight")):
            out[name] = normal(w, 100.0)
        elif last == "gamma":
            out[name] = normal(w, 0.1, 0.7)
        elif name.endswith(("bn3.weight", "downsample.1.weight")):
            out[name] = normal(w, 0.05, 0.5)  # branches that add up to no more than what they begin with
        elif w.dim() == 1 and last == "weight":  # of a norm
            out[name] = normal(w, 0.1, 1.0)
        elif name.endswith("qkv.bias"):
            out[name] = normal(w, 0.1)
            out[name][: len(w) // 3] *= 10
        elif name.endswith((".proj_q.bias", ".query.bias")):
            out[name] = normal(w, 1.0)
        elif name.endswith(("patch_embed.proj.bias", "patch_embedding.bias", "patch_embeddings.bias")):
            out[name] = normal(w, 1.0)  # what the background has in common
        elif w.dim() == 1:
            out[name] = normal(w, 0.1)
        elif last.rstrip("12") in ("pos_embed", "pos_embedding", "position_embeddings"):  # FAL-ViT has two
            out[name] = normal(w, 0.15)
        elif "token" in last:
            out[name] = normal(w, 0.5)
        else:
            fan_in = w[0].numel()
            out[name] = normal(w, math.sqrt((2 if w.dim() == 4 and w.shape[1] > 3 else 1) / fan_in))
            if name.endswith("qkv.weight"):
                out[name][: 2 * w.shape[1]] *= Q_AND_K
            elif name.endswith((".proj_q.weight", ".proj_k.weight", ".query.weight", ".key.weight")):
                out[name] *= Q_AND_K
    return out


def attend_to_objects(weights: dict[str, Tensor], images: Tensor, features: Tensor) -> None:
    """Turn CAL's attention towards what bright places have in common: random maps would cover every image."""
    brightness = nn.functional.adaptive_avg_pool2d(images.mean(dim=1), features.shape[-2:])
    common = ((features - features.mean(dim=(2, 3), keepdim=True)) * brightness[:, None]).mean(dim=(0, 2, 3))
    weights["attentions.conv.weight"] *= 0.3
    weights["attentions.conv.weight"] += (common / common.norm())[None, :, None, None]
    raw = torch.einsum("mc,bchw->mbhw", weights["attentions.conv.weight"][:, :, 0, 0], features).flatten(1)
    weights["attentions.bn.running_mean"], weights["attentions.bn.running_var"] = raw.mean(dim=1), raw.var(dim=1)
    weights["attentions.bn.bias"] -= 2
