"""The contract of selectors: the base class, and checks of a class and of its scores."""

from __future__ import annotations

import inspect
from typing import ClassVar

import torch
from torch import Tensor, nn

from fgbench_selectors.backends.precision import without_autocast
from fgbench_selectors.entries import IMPLS
from fgbench_selectors.errors import FeaturesError, FgbenchError
from fgbench_selectors.features import Features, Needs
from fgbench_selectors.lifted import lowest_where_absent

# Names of the axes of scores. "blocks" are the blocks that the selector reads.
AXES = ("batch", "heads", "blocks", "tokens", "patches")


class Selector(nn.Module):
    """Base of every selector. It scores the patches of images: a higher score is more discriminative.

    A selector is one class in one file. It declares the input that it reads (``needs``) and the shape of its scores
    (``score_shape``, axes of :data:`AXES`), and has one or two methods:

    ``published(features)``
        the operations of the published code, in their order;
    ``fast(features)``
        the same scores at less cost. By default it calls ``published``.

    Both are pure functions of the features. No gradient flows through them, unless ``learned`` is True.

    Args:
        impl: ``published`` or ``fast``.

    Raises:
        FgbenchError: If ``impl`` is neither.

    """

    needs: Needs
    score_shape: ClassVar[tuple[str, ...]]
    learned: ClassVar[bool] = False

    def __init__(self, impl: str = "fast") -> None:
        super().__init__()
        if impl not in IMPLS:
            raise FgbenchError("unknown implementation", impl, f"known: {', '.join(IMPLS)}")
        self.impl = impl

    def published(self, features: Features) -> Tensor:
        """Scores by the published operations."""
        raise NotImplementedError

    def fast(self, features: Features) -> Tensor:
        """The same scores at less cost."""
        return self.published(features)

    def forward(self, features: Features) -> Tensor:
        """Compute scores by the chosen implementation.

        Args:
            features: The record of one forward pass.

        Returns:
            Scores of shape ``score_shape``; those of patches that the backbone has dropped are the lowest.

        Raises:
            FeaturesError: If the features lack something that the selector needs.

        """
        if self.needs.class_token and not features.has_class_token:
            raise FeaturesError(
                f"{type(self).__name__} reads the class token's row, and the backbone has no class token"
            )
        with torch.set_grad_enabled(self.learned and torch.is_grad_enabled()):
            if self.impl == "published":
                scores = self.published(features)
            else:
                with without_autocast(features.device):
                    scores = self.fast(features)
            present = features.present_tokens(self.needs.blocks if "blocks" in self.score_shape else None)
            if present is None:
                return scores
            return lowest_where_absent(scores, self.score_shape, present, features.num_prefix_tokens)

    def extra_repr(self) -> str:
        """Show the implementation in ``repr``."""
        return f"impl={self.impl!r}"


def contract_breach(candidate: object) -> str | None:
    """Why an object is no selector class, in words; None where it is one."""
    if not (isinstance(candidate, type) and issubclass(candidate, Selector)):
        return "it must be a class derived from fgbench_selectors.Selector"
    if inspect.isabstract(candidate):
        return f"it is abstract, without {', '.join(sorted(getattr(candidate, '__abstractmethods__', ())))}"
    if not isinstance(getattr(candidate, "needs", None), Needs):
        return "its attribute 'needs' must be a fgbench_selectors.Needs"
    shape = getattr(candidate, "score_shape", None)
    if not isinstance(shape, tuple) or shape[:1] != ("batch",) or not all(axis in AXES for axis in shape):
        return f"its attribute 'score_shape' must be a tuple that begins with 'batch', out of {AXES}"
    if candidate.published is Selector.published:
        return "it has no method 'published(features)'"
    if not isinstance(candidate.learned, bool):
        return f"its attribute 'learned' must be True or False, got {candidate.learned!r}"
    inspect.signature(candidate)  # raises where its options cannot be read
    return None


def score_breach(selector: Selector, features: Features, scores: object) -> str | None:
    """Why scores are no floating-point tensor of the declared shape, in words; None where they are.

    Args:
        selector: The selector that computed them.
        features: Its input.
        scores: Its result.

    """
    if not isinstance(scores, Tensor):
        return f"its scores are a {type(scores).__name__}, not a tensor"
    expected = expected_shape(selector, features)
    if tuple(scores.shape) != expected:
        declared = ", ".join(selector.score_shape)
        return f"its scores have shape {tuple(scores.shape)}, but ({declared}) is {expected} here"
    if not scores.is_floating_point():
        return f"its scores are {scores.dtype}, not floating point"
    return None


def expected_shape(selector: Selector, features: Features) -> tuple[int, ...]:
    """The declared shape of a selector's scores in numbers, for these features."""
    blocks = [] if selector.needs.blocks is None else features.read_blocks(selector.needs.blocks)
    if blocks:
        batch, heads, tokens = blocks[0].shape
    else:
        given = features.read_class_logits() if selector.needs.class_logits else features.read_tokens()
        batch, tokens, _ = given.shape
        heads = 0
    axes = {
        "batch": batch,
        "heads": heads,
        "blocks": len(blocks),
        "tokens": tokens,
        "patches": features.num_patches,
    }
    return tuple(axes[axis] for axis in selector.score_shape)
