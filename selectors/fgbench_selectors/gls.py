"""Global–local similarity (GLS) of GLSim (Rios, Hu & Lai, arXiv 2407.12891, section 3.2)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from fgbench_selectors.errors import FgbenchError
from fgbench_selectors.features import Features, Needs
from fgbench_selectors.selector import Selector

METRICS = ("cosine", "l1", "l2")


class GLS(Selector):
    """Similarity of every patch token to the class token → (B, G²).

    Where the backbone has no class token, the mean of the patch tokens is used instead.
    Source: GLSim, equations 1–2 and Table 14.

    Args:
        impl: ``published`` or ``fast``.
        metric: ``cosine``; ``l1``, minus the mean absolute difference; ``l2``, minus the mean squared difference.
            In every metric the most similar patch has the highest score.

    Raises:
        FgbenchError: If the metric is unknown.

    """

    needs = Needs(tokens=True)
    score_shape = ("batch", "patches")

    def __init__(self, impl: str = "fast", metric: str = "cosine") -> None:
        super().__init__(impl)
        if metric not in METRICS:
            raise FgbenchError("unknown similarity metric", metric, f"known: {', '.join(METRICS)}")
        self.metric = metric

    def published(self, features: Features) -> Tensor:
        """Compare the broadcast class token with every patch: O(N·D), through (B, G², D) products."""
        glob, local = self._split(features)
        if self.metric == "cosine":
            return functional.cosine_similarity(glob, local, dim=-1)
        difference = glob - local
        return -(difference.abs() if self.metric == "l1" else difference.square()).mean(dim=-1)

    def fast(self, features: Features) -> Tensor:
        """Divide one matrix–vector product by the norms (cosine); the other metrics have no cheaper form."""
        if self.metric != "cosine":
            return self.published(features)
        glob, local = self._split(features)
        dot = (local @ glob.transpose(-2, -1)).squeeze(-1)
        norms: Tensor = torch.linalg.vector_norm(local, dim=-1) * torch.linalg.vector_norm(glob, dim=-1)
        return dot / norms.clamp_min(torch.finfo(dot.dtype).tiny)

    def _split(self, features: Features) -> tuple[Tensor, Tensor]:
        tokens = features.read_tokens()
        tokens = tokens.float() if tokens.dtype in (torch.float16, torch.bfloat16) else tokens
        local = tokens[:, features.num_prefix_tokens :]
        glob = tokens[:, :1] if features.has_class_token else local.mean(dim=1, keepdim=True)
        return glob, local
