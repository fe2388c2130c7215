"""Structure of the attended object (SIM-Trans): a graph of patches, and the closed form of the row that is read."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from fgbench_selectors.backends.precision import accurate, without_autocast

HIDDEN = 512  # width between the two graph layers
SLOPE = 0.2  # of LeakyReLU below 0
TEST_DROPOUT = 0.1  # share of entries that the released code drops between the graph layers at test


@dataclass(frozen=True, slots=True)
class AttendedObject:
    """The patches that the class token attends to more than to the mean patch.

    Args:
        weights: p (B, G²), the mean over heads of the attention; 0 outside of the object.
        anchor: The patch a with the largest weight (B,).
        nodes: X (B, G², 2), distance and angle of every patch from the anchor, each from 0 to about 1; 0 outside.

    """

    weights: Tensor
    anchor: Tensor
    nodes: Tensor


def attended_object(row: Tensor, grid: tuple[int, int]) -> AttendedObject:
    """Find the object in the attention of the class token.

    m = Σ_h A₀; the object is where m_j > mean of m. With Δr, Δc rows and columns from the anchor, the features are
    √(Δr² + Δc²)/G and (atan2(Δc, Δr)/π + 1)/2.
    Source: SIM-Trans; released code.

    Args:
        row: A₀ (B, H, G²), attention of the class token to the patches, float32 or better.
        grid: Patches per column and row.

    """
    total = row.sum(dim=1)
    inside = (total > total.mean(dim=1, keepdim=True)).to(row.dtype)
    weights = total / row.shape[1] * inside
    anchor = weights.argmax(dim=1)
    place, first = torch.arange(row.shape[-1], device=row.device), anchor.unsqueeze(1)
    down = (place // grid[1] - first // grid[1]).to(row.dtype) / grid[0]
    right = (place % grid[1] - first % grid[1]).to(row.dtype) / grid[0]
    distance = (down.square() + right.square()).sqrt()
    angle = (torch.atan2(right, down) / math.pi + 1) / 2
    return AttendedObject(weights, anchor, torch.stack((distance, angle), dim=-1) * inside.unsqueeze(-1))


def graph_row(found: AttendedObject, first: Tensor, second: Tensor, kept: Tensor | None = None) -> Tensor:
    """The anchor's row of two graph layers with the adjacency p pᵀ, as published: O(G⁴·(512 + D)).

    Z = ReLU(LeakyReLU(p pᵀ X W₁)), O = LeakyReLU(p pᵀ Z W₂).
    Source: SIM-Trans; released code.

    Args:
        found: The object.
        first: W₁ (2, 512).
        second: W₂ (512, D).
        kept: Factors of Z (B, G², 512), 0 for what dropout drops; None for 1.

    Returns:
        O[a] (B, D).

    """
    adjacency = found.weights.unsqueeze(2) @ found.weights.unsqueeze(1)
    hidden = functional.leaky_relu(adjacency @ (found.nodes @ first), SLOPE).relu()
    if kept is not None:
        hidden = hidden * kept
    out = functional.leaky_relu(adjacency @ (hidden @ second), SLOPE)
    return out.gather(1, found.anchor.view(-1, 1, 1).expand(-1, 1, out.shape[-1])).squeeze(1)


def closed_form(found: AttendedObject, first: Tensor, second: Tensor, kept: Tensor | None = None) -> Tensor:
    """The same row without the graph: O(G² + 512·D). Arguments and results as of :func:`graph_row`.

    The adjacency has rank one and p ≥ 0, so that p passes through both activations. With u = ReLU(W₁ᵀ Xᵀ p) it is
    Z = p uᵀ, and O[a] = LeakyReLU(p_a · Σp² · (u W₂)). Of what is kept, F, the sum is pᵀ(Z ⊙ F) = u ⊙ (p²)ᵀF.
    """
    row = found.weights.unsqueeze(1)
    hidden = (row @ found.nodes @ first).relu()
    hidden = hidden * (row @ found.weights.unsqueeze(2) if kept is None else row.square() @ kept)
    own = found.weights.gather(1, found.anchor.unsqueeze(1)).unsqueeze(2)
    return functional.leaky_relu(own * (hidden @ second), SLOPE).squeeze(1)


class StructureGraph(nn.Module):
    """The two graph layers of SIM-Trans, without bias; all places share them.

    They are computed in float32 or better, as in the released code.

    Args:
        width: D, width of the tokens.
        dropout: Probability that an entry is dropped in training: twice behind the first layer, once behind the second.
        test_dropout: Whether the second of these dropouts is on at test, too, with probability 0.1.

    """

    def __init__(self, width: int, *, dropout: float = 0.0, test_dropout: bool = False) -> None:
        super().__init__()
        self.dropout, self.test_dropout = dropout, test_dropout
        self.weight1, self.weight2 = nn.Parameter(torch.empty(2, HIDDEN)), nn.Parameter(torch.empty(HIDDEN, width))
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Draw both weights as the released code does: uniform within ±1/√outputs."""
        for weight in (self.weight1, self.weight2):
            nn.init.uniform_(weight, -(weight.shape[1] ** -0.5), weight.shape[1] ** -0.5)

    def forward(self, row: Tensor, grid: tuple[int, int], *, published: bool) -> tuple[Tensor, AttendedObject]:
        """What is added to the class token.

        Args:
            row: A₀ (B, H, G²), attention of the class token to the patches.
            grid: Patches per column and row.
            published: Whether the graph is computed; otherwise the closed form.

        Returns:
            O[a] (B, D), and the object.

        """
        with without_autocast(row.device):
            found = attended_object(accurate(row), grid)
            added = (graph_row if published else closed_form)(
                found, accurate(self.weight1), accurate(self.weight2), self._kept(found)
            )
            return functional.dropout(added, self.dropout, self.training), found

    def _kept(self, found: AttendedObject) -> Tensor | None:
        """Factors of Z (B, G², 512) by dropout; None where nothing is dropped."""
        in_training = self.dropout if self.training else 0.0
        rates = [rate for rate in (in_training, TEST_DROPOUT if self.test_dropout else in_training) if rate]
        kept: Tensor | None = None
        for rate in rates:
            whole = found.weights.new_ones(*found.weights.shape, HIDDEN) if kept is None else kept
            kept = functional.dropout(whole, rate, training=True)
        return kept
