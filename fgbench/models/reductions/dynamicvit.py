"""DynamicViT (Rao et al., NeurIPS 2021): small networks learn which patches are dropped."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from fgbench.models.blocks import FixedNorm
from fgbench.models.options import number
from fgbench.models.reductions.evit import share_of_patches
from fgbench.models.reductions.reduction import Reduction
from fgbench.models.token_ops import best, take
from fgbench_selectors.backends.precision import accurate

if TYPE_CHECKING:
    from fgbench.models.attention import Projected
    from fgbench.models.encoder import Encoder, State

EPSILON = 1e-6  # of the masked softmax in training
INITIAL_STD = 0.02
FEWEST = 0.5  # divisor of a sum over no patch


class DynamicViT(Reduction):
    """Before a block, a predictor scores the patches, and the best ⌊keep_rate^s · G²⌋ of stage s stay.

    In training all tokens stay. A Gumbel-softmax of the two log-probabilities of a patch decides whether it is kept,
    and a patch that is not kept is masked in the attention of all others from there on. The loss of its own is the
    squared distance of the kept share from keep_rate^s in each stage; the released one also has terms of distillation,
    which need a teacher. Both implementations are the same.
    Source: DynamicViT, section 3; released code.

    Args:
        encoder: The encoder.
        ratio_weight: Weight of the loss of its own, which is a mean over stages.
        options: Options of :class:`fgbench.models.reductions.reduction.Reduction`.

    """

    scores_tokens = False
    two_impls = False

    def __init__(self, encoder: Encoder, *, ratio_weight: float = 2.0, **options: Any) -> None:
        super().__init__(encoder, **options)
        self.ratio_weight = number(ratio_weight, "ratio_weight", 0)
        self.predictors = nn.ModuleList(Predictor(encoder.embed_dim) for _ in self.at)
        self._distances: list[Tensor] = []  # of training passes, one per stage

    def before_block(self, index: int, state: State) -> None:
        """Drop patches before a block in which a stage begins; in training mask them."""
        stage = self.stage_at(index)
        if stage is None:
            return
        assert state.sources is not None
        prefix = state.sources.num_prefix
        patches = state.tokens[:, prefix:]
        if self.training:
            self._mask(stage, state, self.predictors[stage](patches, state.memo.get("kept")))
            return
        keep = self.predictors[stage](patches)[..., 0]
        kept = min(share_of_patches(self.keep_rate, stage, state), patches.shape[1])
        state.tokens = take(state.tokens, self.drop(state, best(keep, kept)))

    def attend(self, attn: Any, projected: Projected, state: State) -> Tensor | None:
        """In training, attention (B, H, N, d) whose softmax leaves out masked keys, but for each token itself."""
        kept: Tensor | None = state.memo.get("kept") if self.training else None
        if kept is None:
            return None
        assert state.sources is not None
        prefix = kept.new_ones(kept.shape[0], state.sources.num_prefix)
        mask = torch.cat([prefix, kept], dim=1)[:, None, None]
        length = mask.shape[-1]
        if projected.q.shape[2] == length:  # otherwise prefix tokens alone ask, which are never masked
            mask = mask + (1 - mask) * torch.eye(length, dtype=mask.dtype, device=mask.device)
        logits = (projected.q * attn.scale) @ projected.k.transpose(-2, -1)
        weights = (logits - logits.amax(dim=-1, keepdim=True)).float().exp() * mask
        probs = (weights + EPSILON / length) / (weights.sum(dim=-1, keepdim=True) + EPSILON)
        out: Tensor = attn.attn_drop(probs.type_as(logits)) @ projected.v
        return out

    def loss(self) -> Tensor | None:
        """The weighted mean of the distances of kept shares, over the stages of all passes since the last call."""
        distances, self._distances = self._distances, []
        return self.ratio_weight * torch.stack(distances).mean() if distances else None

    def _mask(self, stage: int, state: State, log_probs: Tensor) -> None:
        """Decide which patches are kept, by log-probabilities (B, n, 2), and mask the others."""
        assert state.sources is not None
        kept = functional.gumbel_softmax(log_probs, hard=True)[..., 0]
        if "kept" in state.memo:
            kept = kept * state.memo["kept"]
        state.memo["kept"] = kept
        self._distances.append((kept.mean(dim=1) - self.keep_rate ** (stage + 1)).square().mean())
        prefix = state.sources.num_prefix
        there = torch.cat([kept.new_ones(kept.shape[0], prefix), kept], dim=1).detach()
        order = torch.arange(there.shape[1], device=there.device).expand_as(there)
        state.sources = state.sources.moved(torch.where(there > 0, order, -1))
        state.key_bias = torch.zeros_like(there).masked_fill(there == 0, -torch.inf)[:, None, None]


class Predictor(nn.Module):
    """Log-probabilities that a patch is kept and dropped, by the patch and the mean of all that are kept.

    The names of its layers are those of the released code.

    Args:
        width: D.

    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.in_conv = nn.Sequential(FixedNorm(width), nn.Linear(width, width), nn.GELU())
        self.out_conv = nn.Sequential(
            nn.Linear(2 * (width // 2), width // 2),
            nn.GELU(),
            nn.Linear(width // 2, width // 4),
            nn.GELU(),
            nn.Linear(width // 4, 2),
        )
        for layer in self.modules():
            if isinstance(layer, nn.Linear):
                nn.init.trunc_normal_(layer.weight, std=INITIAL_STD)
                nn.init.zeros_(layer.bias)

    def forward(self, patches: Tensor, kept: Tensor | None = None) -> Tensor:
        """Patches (B, n, D), and 1 for each that is kept (B, n) or None for all → (B, n, 2), float32 or better.

        In half precision log-probabilities near ln ½ would be equal for patches whose logits are not.
        """
        x = self.in_conv(patches)
        half = x.shape[-1] // 2
        mine, every = x[..., :half], x[..., half : 2 * half]
        if kept is None:
            mean = every.mean(dim=1, keepdim=True)
        else:
            mask = kept.unsqueeze(-1).to(x.dtype)
            mean = (every * mask).sum(dim=1, keepdim=True) / mask.sum(dim=1, keepdim=True).clamp_min(FEWEST)
        logits: Tensor = self.out_conv(torch.cat([mine, mean.expand_as(mine)], dim=-1))
        return accurate(logits).log_softmax(dim=-1)
