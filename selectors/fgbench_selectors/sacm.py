"""Selective attention collection module: AF-Trans (Zhang et al., ICASSP 2022). A reconstruction."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from fgbench_selectors.errors import FeaturesError
from fgbench_selectors.features import Features, Needs
from fgbench_selectors.selector import Selector


class SACM(Selector):
    """The blocks' maps, heads multiplied, weighted by a squeeze-and-excitation over blocks → (B, G²).

    Â_l = product over heads of A_l; squeeze z_l = mean of Â_l; w = sigmoid(MLP(z)); score = Σ_l w_l Â_l[0].
    No code was published, so this is a reconstruction from the paper's abstract and GLSim's cost model:
    the hidden width (``hidden_ratio`` · L) and the activation are parameters. The last layer starts at zero:
    untrained, every block weighs ½. ``depth`` fixes L; left out, the excitation is built for the number of
    blocks that it meets, anew when that changes.

    Scores are float64: the product of H probabilities is about (1/N)^H, which leaves float32's normal range
    at H = 12 and N > 1,400.
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
        self.depth, self.hidden_ratio, self.activation = depth, hidden_ratio, activation
        self.excitation: nn.Sequential | None = None
        if depth is not None:
            self.excitation = self._build(depth, torch.empty(0))

    def published(self, features: Features) -> Tensor:
        """Multiply the heads' maps one after another, average whole maps: O(L·H·N²)."""
        squeezed, rows = [], []
        for block in features.read_blocks(slice(None)):
            probs = block.probs_map()
            product = probs[:, 0].double()
            for head in range(1, probs.shape[1]):
                product = product * probs[:, head]
            squeezed.append(product.mean(dim=(1, 2)))
            rows.append(product[:, 0])
        return self._weigh(squeezed, rows, features)

    def fast(self, features: Features) -> Tensor:
        """The same mean and row, streamed: O(N) memory from queries and keys."""
        streamed = [block.head_product() for block in features.read_blocks(slice(None))]
        return self._weigh([mean for mean, _ in streamed], [row for _, row in streamed], features)

    def _weigh(self, squeezed: list[Tensor], rows: list[Tensor], features: Features) -> Tensor:
        z = torch.stack(squeezed, dim=-1).detach()  # the maps are read, not trained
        excitation = self._excitation_for(z)
        weights = excitation(z.to(next(excitation.parameters()).dtype)).to(z.dtype)
        collected: Tensor = weights.unsqueeze(-2) @ torch.stack(rows, dim=-2).detach()
        return collected.squeeze(-2)[:, features.num_prefix_tokens :]

    def _excitation_for(self, z: Tensor) -> nn.Sequential:
        met = z.shape[-1]
        if self.depth not in (None, met):
            raise FeaturesError(
                f"sacm was built for depth={self.depth} and met blocks:", met, "leave depth out, or match it"
            )
        if self.excitation is None or self.excitation[0].in_features != met:
            self.excitation = self._build(met, z)
        return self.excitation

    def _build(self, blocks: int, like: Tensor) -> nn.Sequential:
        hidden = max(1, round(self.hidden_ratio * blocks))
        first = nn.Linear(blocks, hidden, device=like.device)
        last = nn.Linear(hidden, blocks, device=like.device)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        return nn.Sequential(first, self.activation(), last, nn.Sigmoid())
