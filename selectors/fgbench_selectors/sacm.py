"""Selective attention collection module (SACM) of AF-Trans (Zhang et al., ICASSP 2022). A reconstruction."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from fgbench_selectors.errors import FeaturesError, FgbenchError
from fgbench_selectors.features import Features, Needs
from fgbench_selectors.lifted import AnyAttention
from fgbench_selectors.selector import Selector


class SACM(Selector):
    """Products of the maps over heads, weighted by a squeeze-and-excitation over blocks → (B, G²).

    Â_l = product over heads of A_l; squeeze z_l = mean of Â_l; w = sigmoid(MLP(z)); score = Σ_l w_l Â_l[0].
    No code was published: this is a reconstruction from the paper's abstract and GLSim's cost model, and the width and
    the activation of the MLP are parameters.

    The last layer starts at zero, so that every block weighs ½ before training. Without ``depth`` there is nothing to
    train and every block weighs ½, until a state dict with an excitation is loaded, which also gives the depth.

    Scores are float64: the product of H probabilities is about (1/N)^H, which leaves float32's normal range at H = 12
    and N > 1,400. Devices without float64 (MPS) are refused.
    Source: AF-Trans, abstract; GLSim, section 2 and Table 6.

    Args:
        impl: ``published`` or ``fast``.
        depth: L, the number of blocks, from which the excitation gets its parameters; None for none.
        hidden_ratio: Hidden width of the MLP as a multiple of L.
        activation: Class of the MLP's activation.

    Raises:
        FgbenchError: If an option has the wrong type or range.

    """

    needs = Needs(blocks=slice(None), class_token=True)
    score_shape = ("batch", "patches")
    learned = True

    def __init__(
        self,
        impl: str = "fast",
        depth: int | None = None,
        hidden_ratio: float = 1.0,
        activation: type[nn.Module] = nn.ReLU,
    ) -> None:
        super().__init__(impl)
        if depth is not None and (not isinstance(depth, int) or depth < 1):
            raise FgbenchError("depth must be a whole number from 1, got", depth)
        if not isinstance(hidden_ratio, (int, float)) or not 0 < hidden_ratio < math.inf:
            raise FgbenchError("hidden_ratio must be a positive number, got", hidden_ratio)
        if not (isinstance(activation, type) and issubclass(activation, nn.Module)):
            raise FgbenchError("activation must be a class of torch.nn modules, got", activation, "such as nn.ReLU")
        self.depth, self.hidden_ratio, self.activation = depth, hidden_ratio, activation
        self._like: Tensor
        self.register_buffer("_like", torch.empty(0), persistent=False)  # follows .to() and .double()
        self.excitation: nn.Sequential | None = None
        if depth is not None:
            self.excitation = self._build(depth, self._hidden(depth))

    def published(self, features: Features) -> Tensor:
        """Multiply the heads' maps one after another and average the product: O(L·H·N²)."""
        squeezed, rows = [], []
        for block in _blocks(features):
            probs = block.probs_map()
            product = probs[:, 0].double()
            for head in range(1, probs.shape[1]):
                product = product * probs[:, head]
            squeezed.append(product.mean(dim=(1, 2)))
            rows.append(product[:, 0])
        return self._weigh(squeezed, rows, features)

    def fast(self, features: Features) -> Tensor:
        """Compute the mean and the row as the attention of one wide head: O(N) memory, one exponential per pair."""
        products = [block.head_product() for block in _blocks(features)]
        return self._weigh([mean for mean, _ in products], [row for _, row in products], features)

    def _weigh(self, squeezed: list[Tensor], rows: list[Tensor], features: Features) -> Tensor:
        z = torch.stack(squeezed, dim=-1).detach()  # the maps get no gradient
        collected: Tensor = self._excite(z).unsqueeze(-2) @ torch.stack(rows, dim=-2).detach()
        return collected.squeeze(-2)[:, features.num_prefix_tokens :]

    def _excite(self, z: Tensor) -> Tensor:
        """(B, L) squeezed blocks → (B, L) weights."""
        blocks = z.shape[-1]
        if self.excitation is None:  # ½ for every block, by the operations of an excitation, so that they are counted
            first = z.new_zeros(self._hidden(blocks), blocks)
            hidden = self.activation()(functional.linear(z, first, first[:, 0]))
            return functional.linear(hidden, first.T, first[0]).sigmoid()
        if self.depth != blocks:
            raise FeaturesError(
                f"sacm's excitation is for depth={self.depth} and met blocks:", blocks, f"make one with depth={blocks}"
            )
        weights: Tensor = self.excitation(z.to(next(self.excitation.parameters()).dtype))
        return weights.to(z.dtype)

    def _hidden(self, blocks: int) -> int:
        return max(1, round(self.hidden_ratio * blocks))

    def _build(self, blocks: int, hidden: int) -> nn.Sequential:
        first, last = nn.Linear(blocks, hidden), nn.Linear(hidden, blocks)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        return nn.Sequential(first, self.activation(), last, nn.Sigmoid()).to(self._like).train(self.training)

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *rest: Any) -> None:
        """Build the excitation that a state dict holds; torch then loads its weights as of every submodule."""
        first = state_dict.get(f"{prefix}excitation.0.weight")
        if self.excitation is None and first is not None:
            hidden, self.depth = first.shape
            self.excitation = self._build(self.depth, hidden)
        super()._load_from_state_dict(state_dict, prefix, *rest)


def _blocks(features: Features) -> list[AnyAttention]:
    if features.device.type == "mps":
        raise FeaturesError("sacm needs float64, which the device lacks:", "mps", "move the features to the CPU")
    return features.read_blocks(slice(None))
