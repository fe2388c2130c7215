"""Losses that published models add to cross-entropy."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def contrastive_loss(tokens: Tensor, targets: Tensor, margin: float = 0.4) -> Tensor:
    """The contrastive loss of TransFG on class tokens.

    It is the sum of 1 − cos over ordered pairs of equal targets, and of max(cos − margin, 0) over the other pairs,
    divided by B².
    Source: TransFG (He et al., AAAI 2022), section 3.3; released code.

    Args:
        tokens: Class tokens (B, D).
        targets: Classes (B,).
        margin: Cosine below which a pair of different classes has no loss.

    Returns:
        A scalar.

    """
    unit = functional.normalize(tokens, dim=1)
    cosine = unit @ unit.T
    is_same_class = targets.unsqueeze(0) == targets.unsqueeze(1)
    return torch.where(is_same_class, 1 - cosine, (cosine - margin).clamp_min(0)).mean()


def center_loss(features: Tensor, centers: Tensor) -> Tensor:
    """Squared distance of features to the centers of their classes, summed over F and averaged over B.

    Source: CAL (Rao et al., ICCV 2021), released code.

    Args:
        features: (B, F).
        centers: The center of each image's class (B, F).

    Returns:
        A scalar.

    """
    return functional.mse_loss(features, centers, reduction="sum") / len(features)


def weigh_by_uncertainty(losses: Tensor, log_variances: Tensor) -> Tensor:
    """Sum of losses with learned weights: Σ ½ (e^(−w) · loss + w).

    Source: DCAL (Zhu et al., CVPR 2022), section 4.1, after Kendall, Gal & Cipolla, CVPR 2018.

    Args:
        losses: (K,).
        log_variances: The learned w (K,).

    Returns:
        A scalar.

    """
    return 0.5 * (losses * (-log_variances).exp() + log_variances).sum()
