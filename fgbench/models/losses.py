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


def near_contrastive_loss(tokens: Tensor, targets: Tensor, margin: float = 0.3) -> Tensor:
    """The contrastive loss of SIM-Trans on class tokens.

    It is the sum of 1 − cos over ordered pairs of equal targets, and of 1 + cos over pairs of other targets that are
    near, divided by B². With the distance (1 − cos)/2, token j is near i unless its distance exceeds ``margin`` and the
    mean distance of i to the other tokens of its class together; that mean is 0 where there are none.
    Source: SIM-Trans (Sun, He & Peng, ACM MM 2022), released code.

    Args:
        tokens: Class tokens (B, D).
        targets: Classes (B,).
        margin: Distance beyond the mean of the own class up to which a pair of different classes has a loss.

    Returns:
        A scalar.

    """
    unit = functional.normalize(tokens, dim=1)
    cosine = unit @ unit.T
    is_same_class = targets.unsqueeze(0) == targets.unsqueeze(1)
    with torch.no_grad():
        distance = (1 - cosine) / 2
        itself = torch.eye(len(targets), dtype=torch.bool, device=targets.device)
        others = (is_same_class & ~itself).to(distance.dtype)
        mean = (distance * others).sum(dim=1, keepdim=True) / (others.sum(dim=1, keepdim=True) + 1e-6)
        is_near = distance <= margin + mean
    return torch.where(is_same_class, 1 - cosine, torch.where(is_near, 1 + cosine, 0.0)).mean()


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
