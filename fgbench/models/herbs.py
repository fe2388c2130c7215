"""HERBS (Chou et al., arXiv 2303.06442): PIM with a second pyramid, and a first one that learns from it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor
from torch.nn import functional

from fgbench.models.options import number
from fgbench.models.pim import PIM, LevelOutputs, classify
from fgbench.models.plug_in import BottomUp, TopDown
from fgbench.models.pyramid import RESNET, Level

EPOCHS_PER_HALF = 10  # after as many epochs the temperature is halved


class HERBS(PIM):
    """Two pyramids: top-down as in PIM, then bottom-up; tokens are selected by the confidence in the image's class.

    Each pyramid has its own classifiers of tokens. The second one selects, and its selected tokens go into the
    combiner. A token's confidence is its probability of the class that is the likeliest by the mean logits of its
    level. In training the first pyramid is drawn to the second one's logits at a temperature, which is halved every ten
    epochs. With ``predict="combiner"`` the fast implementation leaves the first pyramid's classifiers out.

    The loss is that of PIM with weight 0.3 of the mean logits, and per level the Kullback–Leibler divergence of the
    first pyramid's probabilities from the second one's, averaged over all of its elements.
    Source: HERBS, released code.

    Args:
        backbone: timm's name, as of PIM; the released code is for Swin-L alone.
        num_tokens: As of PIM; on a Swin by default 256, 128, 64 and 32 of images of 384 pixels.
        level_weight: Weight of the cross-entropies of mean logits.
        first_weight: Weight of the divergence of the first pyramid from the second one.
        temperature: That of the divergence in the first ten epochs.
        options: Options of :class:`PIM`. With ``predict="all"`` the heads of both pyramids and the combiner count.

    Raises:
        FgbenchError: If an option is wrong.

    """

    year = 2023
    reading = "image"
    ninths = (1, 2, 4, 2)
    tokens_per_node = 64

    def __init__(
        self,
        backbone: str | None = None,
        *,
        num_tokens: int | Sequence[int] | None = None,
        level_weight: float = 0.3,
        first_weight: float = 1.375,
        temperature: float = 64.0,
        **options: Any,
    ) -> None:
        super().__init__(backbone, num_tokens=num_tokens, level_weight=level_weight, **options)
        self.first_weight = number(first_weight, "first_weight", 0)
        self.temperature = number(temperature, "temperature", 1e-3)
        self.epoch = 1

    def build_pyramids(self, levels: Sequence[Level]) -> None:
        """Build both pyramids, and the classifiers of the tokens of each."""
        bilinear = self.pyramid.family == RESNET
        self.top_down = TopDown(levels, self.width, bilinear=bilinear, between_equal=True)
        self.first_classifiers = self.token_classifiers()
        self.bottom_up = BottomUp(levels, self.width)
        self.classifiers = self.token_classifiers()

    def begin_epoch(self, epoch: int) -> None:
        """Remember the epoch, which sets the temperature."""
        super().begin_epoch(epoch)
        self.epoch = epoch

    def read_levels(self, tokens: list[Tensor]) -> LevelOutputs:
        """Features of both pyramids, and the logits of the second one."""
        first = self.top_down(tokens)
        features = self.bottom_up(first)
        return LevelOutputs(features, classify(self.classifiers, features), first)

    def level_heads(self, found: LevelOutputs, *, every_token: bool) -> dict[str, Tensor]:
        """The mean logits (B, classes) of every level of the second pyramid, then of the first one."""
        heads = super().level_heads(found, every_token=every_token)
        if every_token:
            found.first_logits = classify(self.first_classifiers, found.first)
            means = [logits.mean(dim=1) for logits in found.first_logits]
        else:
            pairs: Any = zip(self.first_classifiers, found.first, strict=True)
            means = [classifier.mean_logits(features) for classifier, features in pairs]
        return heads | {f"first level {index}": mean for index, mean in enumerate(means, start=1)}

    def level_terms(self, found: LevelOutputs, targets: Tensor) -> list[Tensor]:
        """The terms of PIM, and the divergence of each level of the first pyramid from the second one."""
        terms, temperature = super().level_terms(found, targets), self.epoch_temperature
        for first, logits in zip(found.first_logits, found.logits, strict=True):
            wanted = (logits.detach() / temperature).softmax(dim=-1)
            given = (first / temperature).log_softmax(dim=-1)
            terms.append(self.first_weight * functional.kl_div(given, wanted, reduction="none").mean())
        return terms

    @property
    def epoch_temperature(self) -> float:
        """The temperature of the divergence in this epoch."""
        return self.temperature * 0.5 ** ((self.epoch - 1) // EPOCHS_PER_HALF)
