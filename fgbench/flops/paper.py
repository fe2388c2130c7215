"""Convention "paper": the closed forms of GLSim's Tables 1, 7 and 8. No torch.

They give every printed digit and mix units as the paper does: the backbone counts multiply–adds (the patch embedding
twice), PSM and rollout two operations per multiply–add. PSM and SACM are counted on overlapping patches, and divided by
a backbone with patches side by side.
"""

from __future__ import annotations

from dataclasses import dataclass

from fgbench.errors import FgbenchError
from fgbench.results.paper import OVERLAP, OVERLAPPED


@dataclass(frozen=True, slots=True, kw_only=True)
class Geometry:
    """A plain vision transformer at one image size."""

    image_size: int  # pixels, square
    patch_size: int  # pixels, square
    embed_dim: int
    depth: int
    num_heads: int
    num_classes: int
    num_prefix_tokens: int = 1
    stride: int | None = None  # pixels between patches; the patch size when left out

    def num_patches(self, stride: int | None = None) -> int:
        """Number of patches, rounded down as a convolution does; ``stride`` replaces that of the geometry."""
        step = stride or self.stride or self.patch_size
        side = (self.image_size - self.patch_size) // step + 1
        return side * side

    def num_tokens(self, selector: str | None = None) -> int:
        """N for a selector (None: the backbone); patches overlap for PSM and SACM unless a stride is given.

        Raises:
            FgbenchError: If the patches are too small to overlap.

        """
        overlapped = selector in OVERLAPPED and self.stride is None
        step = self.patch_size - OVERLAP if overlapped else None
        if step is not None and step < 1:
            raise FgbenchError(
                f"the paper counts {selector} on patches that overlap by {OVERLAP} pixels, and these are no larger:",
                self.patch_size,
                "give --patch-stride",
            )
        return self.num_patches(step) + self.num_prefix_tokens


@dataclass(frozen=True, slots=True, kw_only=True)
class PaperCost:
    """Value of a closed form.

    Args:
        num_tokens: N.
        flops: The figure in the paper's own mixed unit.
        macs: Multiply–adds of matrix products.

    """

    num_tokens: int
    flops: int
    macs: int


def backbone_cost(g: Geometry) -> PaperCost:
    """Backbone: 2(N−1)·3P²·D + L(12ND² + 2N²D) + D·classes; the ``macs`` count the patch embedding once."""
    n, embedding = g.num_tokens(), 3 * g.patch_size**2 * g.embed_dim * g.num_patches()
    blocks = g.depth * (12 * n * g.embed_dim**2 + 2 * n**2 * g.embed_dim)
    macs = embedding + blocks + g.embed_dim * g.num_classes
    return PaperCost(num_tokens=n, flops=macs + embedding, macs=macs)


def psm_cost(g: Geometry) -> PaperCost:
    """PSM: (L−1)·H·N²(2N−1) over L = depth − 1 blocks."""
    if g.depth < 2:
        raise FgbenchError("the paper's form for psm needs two blocks or more, got", g.depth)
    n, products = g.num_tokens("psm"), (g.depth - 2) * g.num_heads
    return PaperCost(num_tokens=n, flops=products * n**2 * (2 * n - 1), macs=products * n**3)


def rollout_cost(g: Geometry) -> PaperCost:
    """Rollout: L(HN² + N² + N + 1) + (L−1)N²(2N−1)."""
    n, heads, depth = g.num_tokens("rollout"), g.num_heads, g.depth
    flops = depth * (heads * n**2 + n**2 + n + 1) + (depth - 1) * n**2 * (2 * n - 1)
    return PaperCost(num_tokens=n, flops=flops, macs=(depth - 1) * n**3)


def maws_cost(g: Geometry) -> PaperCost:
    """MAWS: L(5NH + 2H + N) over L = depth − 1 blocks; no matrix product."""
    n, heads = g.num_tokens("maws"), g.num_heads
    return PaperCost(num_tokens=n, flops=(g.depth - 1) * (5 * n * heads + 2 * heads + n), macs=0)


def sacm_cost(g: Geometry) -> PaperCost:
    """SACM: L(H−1)N² + N² + 1 + 6L + L(N−1); the excitation's two layers and the weighted sum are products."""
    n, depth = g.num_tokens("sacm"), g.depth
    patches = n - g.num_prefix_tokens
    flops = depth * (g.num_heads - 1) * n**2 + n**2 + 1 + 6 * depth + depth * patches
    return PaperCost(num_tokens=n, flops=flops, macs=2 * depth**2 + depth * n)


def gls_cost(g: Geometry) -> PaperCost:
    """GLS: (3D + 3)(N−1); the cosine has no matrix product."""
    n = g.num_tokens("gls")
    return PaperCost(num_tokens=n, flops=(3 * g.embed_dim + 3) * (n - g.num_prefix_tokens), macs=0)


SELECTOR_COSTS = {
    "psm": psm_cost,
    "rollout": rollout_cost,
    "maws": maws_cost,
    "sacm": sacm_cost,
    "gls": gls_cost,
}


def selector_params(selector: str, depth: int) -> int:
    """Number of parameters of a selector for ``depth`` blocks: SACM's excitation has two layers of L × L weights."""
    return 2 * depth**2 + 2 * depth if selector == "sacm" else 0
