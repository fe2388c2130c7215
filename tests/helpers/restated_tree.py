"""An independent ViT-NeT in plain PyTorch for one image, patch by patch; no code of the package.

`names` says how weights are called: `OURS`, or `RELEASED` as in the authors' files.
"""

from __future__ import annotations

import math

import torch
from helpers import restated_swin
from helpers.plain_models import Weights, gelu, layer_norm, linear
from torch import Tensor

EPS = 1e-5
OURS = {
    **{"narrow": "tree.narrow", "prototypes": "tree.prototypes", "root": "tree.root", "head": "head"},
    **{"left": "left", "right": "right", "left gate": "left_gate", "right gate": "right_gate"},
    **{"attention": "attention", "hidden": "hidden", "hidden norm": "hidden_norm", "out": "out", "norm": "norm"},
    **{"predict": "predict", "class norm": "class_norm"},
}
RELEASED = {
    **{"narrow": "tree.add_on.0", "prototypes": "tree.attrib_pvec", "root": "tree._root"},
    **{"head": "patch_embedding.head", "left": "l", "right": "r", "left gate": "gcb_l", "right gate": "gcb_r"},
    **{"attention": "cm", "hidden": "wv1", "hidden norm": "norm", "out": "wv2", "norm": "ffn_norm"},
    **{"predict": "pred", "class norm": "norm_o"},
}


def gated(z: Tensor, weights: Weights, name: str, names: dict[str, str]) -> Tensor:
    """(S, C) → (S, C)."""
    products = [float(value) for value in linear(z, weights, f"{name}.{names['attention']}")[:, 0].double()]
    shares = torch.softmax(torch.tensor(products, dtype=torch.float64), dim=0).to(z.dtype)
    context = sum(share * patch for share, patch in zip(shares, z, strict=True))
    context = layer_norm(
        linear(context, weights, f"{name}.{names['hidden']}"), weights, f"{name}.{names['hidden norm']}", EPS
    )
    context = linear(gelu(context), weights, f"{name}.{names['out']}")
    return torch.sigmoid(layer_norm(z + context, weights, f"{name}.{names['norm']}", EPS))


def nearest(z: Tensor, prototype: Tensor) -> float:
    """The largest similarity of a patch (S, C) to a prototype (C,)."""
    distances = [math.sqrt(float(((patch.double() - prototype.double()) ** 2).sum())) for patch in z]
    return max(math.log((d + 1) / (d + 1e-4)) for d in distances)


def tree(
    weights: Weights, z: Tensor, logits: Tensor, names: dict[str, str], order: list[int], *, hard: bool = False
) -> Tensor:
    """Patches (S, C) and logits (classes,) of the backbone → the distribution (classes,) of the tree."""
    prototypes, met = weights[names["prototypes"]].flatten(1), iter(order)

    def at(name: str, patches: Tensor) -> Tensor:
        if f"{name}.{names['predict']}.weight" in weights:
            largest = torch.stack([column.max() for column in patches.T])
            found = linear(largest, weights, f"{name}.{names['predict']}") + logits
            return torch.softmax(layer_norm(found, weights, f"{name}.{names['class norm']}", EPS), dim=0)
        weight = nearest(patches, prototypes[next(met)])
        if hard:
            weight = 1.0 if weight > 1 - weight else 0.0
        left = at(f"{name}.{names['left']}", gated(patches, weights, f"{name}.{names['left gate']}", names))
        right = at(f"{name}.{names['right']}", gated(patches, weights, f"{name}.{names['right gate']}", names))
        return weight * left + (1 - weight) * right

    return at(names["root"], z)


def vitnet(
    weights: Weights,
    image: Tensor,
    names: dict[str, str] = OURS,
    order: list[int] | None = None,
    *,
    hard: bool = False,
    tokens: Tensor | None = None,
) -> Tensor:
    """(3, S, S) → the distribution (classes,); `order` has the prototype of every branch, the left side first."""
    if tokens is None:
        tokens = restated_swin.normed_stages(weights, image)[-1]
    z = torch.sigmoid(linear(tokens, weights, names["narrow"]))
    everyone = list(range(len(weights[names["prototypes"]])))
    logits = linear(tokens.mean(dim=0), weights, names["head"])
    return tree(weights, z, logits, names, everyone if order is None else order, hard=hard)
