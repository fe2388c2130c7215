"""How far the answers of a model to the same pictures agree. No torch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Answer = Mapping[str, NDArray[Any]]  # the outputs for one picture: logits (C,), and selected and boxes where it selects
Answers = Sequence[Answer]  # a picture each


def agreement(found: Answers, wanted: Answers) -> dict[str, Any]:
    """How far two lists of answers to the same pictures agree.

    Args:
        found: The answers in question.
        wanted: What they should be.

    Returns:
        ``largest_logit_difference``, ``relative_logit_difference`` over the largest logit, that of the ``typical``
        picture, ``equal_top1_percent``, ``equal_selected_percent`` of tokens, whatever their order and number,
        ``equal_boxes_percent``. A figure is None where there is nothing to compare, or a logit is not finite.

    """
    logits, truth = (np.stack([answer["logits"] for answer in answers]).astype(float) for answers in (found, wanted))
    difference = np.abs(logits - truth).max(axis=1)
    finite, scale = bool(np.isfinite(difference).all()), float(np.abs(truth).max()) or 1.0
    return {
        "pictures": len(truth),
        "largest_logit_difference": float(difference.max()) if finite else None,
        "relative_logit_difference": float(difference.max() / scale) if finite else None,
        "typical_logit_difference": float(np.median(difference) / scale) if finite else None,
        "equal_top1_percent": float(100 * np.mean(logits.argmax(axis=1) == truth.argmax(axis=1))),
        "equal_selected_percent": _mean(_equal_tokens(*pair) for pair in zip(found, wanted, strict=True)),
        "equal_boxes_percent": _mean(_equal_boxes(*pair) for pair in zip(found, wanted, strict=True)),
    }


def _equal_tokens(found: Answer, wanted: Answer) -> float | None:
    """Of the tokens that either selects, the share that both do."""
    if "selected" not in found or "selected" not in wanted:
        return None
    one, other = np.unique(found["selected"]), np.unique(wanted["selected"])
    both = len(np.intersect1d(one, other))
    return 100 * both / max(len(one), len(other), 1)


def _equal_boxes(found: Answer, wanted: Answer) -> float | None:
    if "boxes" not in found or "boxes" not in wanted:
        return None
    if found["boxes"].shape != wanted["boxes"].shape:
        return 0.0
    return float(100 * np.mean((found["boxes"] == wanted["boxes"]).all(axis=-1)))


def _mean(percents: Iterable[float | None]) -> float | None:
    known = [percent for percent in percents if percent is not None]
    return float(np.mean(known)) if known else None
