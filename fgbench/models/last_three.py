"""Base of the models whose heads read the class token after each of the last three blocks; a head on all three."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import replace
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from fgbench.errors import FgbenchError
from fgbench.models.encoder import Encoder, State
from fgbench.models.vision_transformer import VisionTransformerModel
from fgbench_selectors import Selector

PLACES = 3  # last blocks whose class tokens classify
HEAD_WIDTH = 1024


class LastThreeModel(VisionTransformerModel):
    """A model that classifies by the class tokens after the last three blocks (ACC-ViT, FAL-ViT).

    Args:
        backbone: timm's name.
        options: Options of :class:`VisionTransformerModel`.

    Raises:
        FgbenchError: If the backbone has fewer than three blocks, or an option is wrong.

    """

    published_name: ClassVar[str]  # in errors

    def __init__(self, backbone: str | None = None, **options: Any) -> None:
        super().__init__(backbone, **options)
        check_depth(self.encoder, self.published_name)

    def run_all(self, state: State, selector: Selector | None = None) -> tuple[list[Tensor], State]:
        """Run all blocks, and record the input of a selector.

        The fast implementation computes the last block for the class token alone, unless the selector reads tokens.

        Args:
            state: The state before block 1, which is changed.
            selector: The selector.

        Returns:
            The class tokens (B, D) after the last three blocks, not normalised; and the state before the last block.

        """
        encoder, needs = self.encoder, None if selector is None else selector.needs
        maps = selector is not None and self.keeps_maps(selector)
        reads_tokens = self.published or (needs is not None and needs.tokens)
        _, second, last = range(encoder.depth)[-PLACES:]
        encoder.run(state, range(second), needs, maps=maps)
        class_tokens = [state.tokens[:, 0]]
        encoder.run(state, range(second, last), needs, maps=maps)
        before_last = replace(state)
        class_tokens.append(state.tokens[:, 0])
        asking = slice(None) if reads_tokens else slice(0, 1)
        encoder.run(state, range(last, encoder.depth), needs, maps=maps, asking=asking)
        return [*class_tokens, state.tokens[:, 0]], before_last


def check_depth(encoder: Encoder, name: str) -> None:
    """Check that an encoder has three blocks; ``name`` is the model's, for the error :class:`FgbenchError`."""
    if encoder.depth < PLACES:
        what = f"{name} reads the class tokens of the last {PLACES} blocks; {encoder.name} has"
        raise FgbenchError(what, encoder.depth, "choose a deeper backbone")


def joint_head(width: int, num_classes: int) -> nn.Module:
    """Normalisation over the batch and a layer of 1024, twice: three class tokens (B, 3·D) → (B, classes).

    Args:
        width: D.
        num_classes: Classes.

    """
    layers = {
        "norm": nn.BatchNorm1d(PLACES * width),
        "hidden": nn.Linear(PLACES * width, HEAD_WIDTH),
        "hidden_norm": nn.BatchNorm1d(HEAD_WIDTH),
        "activation": nn.ELU(),
        "fc": nn.Linear(HEAD_WIDTH, num_classes),
    }
    return nn.Sequential(OrderedDict(layers))


def classify_jointly(head: nn.Module, tokens: list[Tensor], name: str) -> Tensor:
    """The logits (B, classes) of three class tokens.

    Args:
        head: Of :func:`joint_head`.
        tokens: (B, D) each.
        name: The model, for the error.

    Raises:
        FgbenchError: If the head is trained on one image, over which nothing can be normalised.

    """
    joined = torch.cat(tokens, dim=1)
    by_batch = any(layer.training for layer in head.modules() if isinstance(layer, nn.BatchNorm1d))
    if by_batch and len(joined) == 1:
        raise FgbenchError(f"the head of {name} normalises over the batch; to train it takes 2 images or more, got", 1)
    logits: Tensor = head(joined)
    return logits
