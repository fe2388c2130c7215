"""MPSA (Wang et al., TIP 2024): the last tokens of a backbone attend to soft parts of all of its stages."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from fgbench.errors import FgbenchError
from fgbench.models.model import Explanation
from fgbench.models.options import number, one_of, whole_number, yes_or_no
from fgbench.models.parts import Kept, PartAttention, PartSampling, kept_parts
from fgbench.models.pyramid import SWIN, Level, family_of
from fgbench.models.windows import WindowedModel, WindowedPyramid

EXTREMES = ("image", "batch")
NEARLY_NOTHING = 1e-8  # keeps divisors and distances from 0, as in the released code


class MPSA(WindowedModel):
    """Soft parts are sampled from the tokens of every stage; the last tokens attend to them, weighed by importance.

    Of every stage half as many parts as channels are weighted means of its tokens, and a share of them is dropped. The
    tokens of the last stage attend to the others. What they get from all stages is put side by side; its mean, weighed
    by the importance that they have for the parts, is classified. The stage ``parts`` is the sampling and the
    attention. The scores are the weights of the mean.

    In training, the loss is cross-entropy and the mean distance of these weights from those that Grad-CAM gives the
    tokens.

    ``published`` samples all parts and drops some afterwards, ``fast`` samples those alone that are kept.
    Source: MPSA, released code.

    Args:
        backbone: A Swin, a plain ViT or a ResNet of timm. A ViT is built without class token, and its stages are the
            ends of four equal parts of it.
        parts_ratio: Channels of a stage for every part.
        parts_drop: Share of the parts that are dropped, rounded down; 0.2 for NABirds in the released code.
        heads: Heads of attention of the last stage. The heads of the others are as wide.
        test_dropout: Whether the parts are drawn anew in every forward pass at test as in training: predictions of the
            released code are random. Otherwise the same are kept at test, the last ones.
        normalize: Whose smallest and largest importance become 0 and 1: ``image``, those of each image; ``batch``,
            those of the whole batch, as in the released code, in which an image depends on its neighbours. A batch of
            one image has the same logits by both.
        attention_dropout: Probability that an attention weight is dropped in training.
        head_dropout: Probability that a channel of a fused token is dropped in training.
        options: Options of :class:`fgbench.models.windows.WindowedModel`.

    Raises:
        FgbenchError: If an option is wrong, or options do not fit each other.

    """

    default_backbone = "swin_base_patch4_window12_384"
    group = "parts"
    year = 2024

    def __init__(
        self,
        backbone: str | None = None,
        *,
        parts_ratio: int = 2,
        parts_drop: float = 0.4,
        heads: int = 32,
        test_dropout: bool = False,
        normalize: str = "image",
        attention_dropout: float = 0.0,
        head_dropout: float = 0.0,
        **options: Any,
    ) -> None:
        super().__init__(backbone, **options)
        self.test_dropout = yes_or_no(test_dropout, "test_dropout")
        self.normalize = one_of(normalize, "normalize", EXTREMES)
        ratio, drop = whole_number(parts_ratio, "parts_ratio", 1), number(parts_drop, "parts_drop", 0, 0.999)
        dropout = number(attention_dropout, "attention_dropout", 0, 0.999)
        self.head_drop = nn.Dropout(number(head_dropout, "head_dropout", 0, 0.999))
        levels = self.pyramid.levels
        head_width = _head_width(levels, whole_number(heads, "heads", 1))
        over_batch = normalize == "batch"
        self.stages: Any = nn.ModuleList(
            PartStage(level, levels[-1], ratio, drop, head_width, dropout=dropout, over_batch=over_batch)
            for level in levels
        )
        self.pooling = nn.Parameter(torch.full((len(levels), 1, 1, 1), 1 / len(levels)))
        width = sum(level.width for level in levels)
        self.norm, self.head = nn.LayerNorm(width), self.build_head(width)

    def build_pyramid(self, name: str, **options: Any) -> WindowedPyramid:
        """The stages of a backbone; that of a Swin passes its last norm."""
        options |= {"blocks": "even", "class_token": False, "last_norm": family_of(name) == SWIN}
        return WindowedPyramid(name, self.image_size, **options)

    @property
    def reads_as_backbone(self) -> bool:
        """False: no backbone has a head on the parts of its stages."""
        return False

    def flow(self, images: Tensor) -> Explanation:
        """Images → logits, and the weights (B, N) of the last stage's tokens, whose sum is 1."""
        levels = self.step("pass 1", self.pyramid, images)
        fused, importance = self.step("parts", self.attend_to_parts, levels)
        logits, weights = self.step("fusion", self.classify, fused, importance)
        return Explanation(logits, weights.detach())

    def loss(self, images: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Cross-entropy, in training with the distance of the weights from those by Grad-CAM; and the logits."""
        if not self.training or not torch.is_grad_enabled():
            return super().loss(images, targets)
        levels = self.step("pass 1", self.pyramid, images)
        fused, importance = self.step("parts", self.attend_to_parts, levels)
        if not fused.requires_grad:  # all before it is frozen
            fused.requires_grad_()
        logits, weights = self.step("fusion", self.classify, fused, importance)
        loss = self.cross_entropy(logits, targets)
        (gradient,) = torch.autograd.grad(loss, fused, retain_graph=True)
        cam = grad_cam(fused.detach(), gradient)
        return loss + functional.pairwise_distance(weights, cam, eps=NEARLY_NOTHING).mean(), logits

    def attend_to_parts(self, levels: list[Tensor]) -> tuple[Tensor, Tensor]:
        """Attend to the parts of all stages.

        Args:
            levels: The tokens (B, S, d) of every stage.

        Returns:
            What the tokens of the last stage get from all stages (B, N, Σ d), and their importance for each stage
            (stages, B, N, 1).

        """
        tokens = [stage.norm(level) for stage, level in zip(self.stages, levels, strict=True)]
        got, importance = [], []
        for stage, own in zip(self.stages, tokens, strict=True):
            kept = self.kept(stage, own)
            parts = stage.sampling(own)[:, kept] if self.published else stage.sampling(own, kept)
            out, weight = stage.attention(tokens[-1], parts)
            got.append(out)
            importance.append(weight)
        return functional.gelu(torch.cat(got, dim=-1)), torch.stack(importance)

    def kept(self, stage: Any, tokens: Tensor) -> Kept:
        """The parts of a stage that are kept in this forward pass; on the meta device none are drawn."""
        drawn = (self.training or self.test_dropout) and not tokens.is_meta
        return kept_parts(stage.parts, stage.dropped, drawn=drawn)

    def classify(self, fused: Tensor, importance: Tensor) -> tuple[Tensor, Tensor]:
        """The logits (B, classes), and the weights (B, N) of the tokens; arguments as :meth:`attend_to_parts` returns.

        The weights of an image sum to 1.
        """
        weights = (importance * self.pooling).sum(dim=0)
        weights = weights / weights.sum(dim=1, keepdim=True)
        tokens = self.head_drop(self.norm(fused))
        logits: Tensor = self.head((tokens.transpose(1, 2) @ weights).squeeze(-1))
        return logits, weights.squeeze(-1)


class PartStage(nn.Module):
    """What MPSA has of its own for one stage.

    Args:
        level: The stage.
        last: The last stage.
        ratio: Channels for every part.
        drop: Share of the parts that are dropped, rounded down.
        head_width: Channels of a head of attention.
        dropout: Probability that an attention weight is dropped in training.
        over_batch: Whether importance is scaled by the extremes of the whole batch.

    Attributes:
        parts: R, the number of parts.
        dropped: How many of them are dropped.

    """

    def __init__(
        self, level: Level, last: Level, ratio: int, drop: float, head_width: int, *, dropout: float, over_batch: bool
    ) -> None:
        super().__init__()
        self.parts = max(1, level.width // ratio)
        self.dropped = int(drop * self.parts)
        self.norm = nn.LayerNorm(level.width)
        self.sampling = PartSampling(level.width, level.num_patches, self.parts)
        self.attention = PartAttention(
            level.width,
            last.width,
            last.num_patches,
            self.parts - self.dropped,
            level.width // head_width,
            dropout=dropout,
            over_batch=over_batch,
        )
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Draw the layers as the released code does: Kaiming's normal rule; biases of linear layers 0."""
        for layer in self.modules():
            if isinstance(layer, (nn.Linear, nn.Conv2d)):
                nn.init.kaiming_normal_(layer.weight)
            if isinstance(layer, nn.Linear):
                nn.init.zeros_(layer.bias)


def grad_cam(fused: Tensor, gradient: Tensor) -> Tensor:
    """Grad-CAM of fused tokens: GELU of the sum of their channels, each times the mean of its gradient over tokens.

    Source: MPSA, released code.

    Args:
        fused: (B, N, C).
        gradient: Of the loss (B, N, C).

    Returns:
        Weights of the tokens (B, N), less their smallest, over their sum.

    """
    cam = functional.gelu((fused * gradient.mean(dim=1, keepdim=True)).sum(dim=-1))
    cam = cam - cam.amin(dim=-1, keepdim=True)
    return cam / (NEARLY_NOTHING + cam.sum(dim=-1, keepdim=True))


def _head_width(levels: tuple[Level, ...], heads: int) -> int:
    """Channels of a head of attention; an error where they do not divide the width of every stage."""
    width = levels[-1].width // heads
    if width * heads != levels[-1].width or any(level.width % width for level in levels):
        widths = ", ".join(str(level.width) for level in levels)
        raise FgbenchError(f"heads do not divide stages of {widths} channels:", heads, "give another number of heads")
    return width
