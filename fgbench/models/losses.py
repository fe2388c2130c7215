"""The losses that published models add to cross-entropy."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def contrastive_loss(tokens: Tensor, targets: Tensor, margin: float = 0.4) -> Tensor:
    """Pull class tokens (B, D) of one class together, push those of others below a cosine of ``margin``.

    The sum of 1 − cos over ordered pairs of equal targets, and of max(cos − margin, 0) over the others, divided by
    B². Source: TransFG (He et al., AAAI 2022), section 3.3; released code.
    """
    unit = functional.normalize(tokens, dim=1)
    cosine = unit @ unit.T
    alike = targets.unsqueeze(0) == targets.unsqueeze(1)
    return torch.where(alike, 1 - cosine, (cosine - margin).clamp_min(0)).mean()


def center_loss(features: Tensor, centers: Tensor) -> Tensor:
    """Squared distance of features (B, F) to their classes' centers (B, F), added over F, averaged over B.

    Source: CAL (Rao et al., ICCV 2021), released code.
    """
    return functional.mse_loss(features, centers, reduction="sum") / len(features)


def weigh_by_uncertainty(losses: Tensor, log_variances: Tensor) -> Tensor:
    """Σ ½ (e^(−w) · loss + w) over losses (K,) with learned w (K,).

    Source: DCAL (Zhu et al., CVPR 2022), section 4.1, after Kendall, Gal & Cipolla, CVPR 2018.
    """
    return 0.5 * (losses * (-log_variances).exp() + log_variances).sum()
