"""The questions that a model is asked, and how its answers are judged. No torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

SAME = 1e-6  # relative difference of logits up to which a repetition is one
ROUNDING = 1e-4  # other kernels round otherwise
LEAST_EQUAL_PERCENT = 90.0  # of selected tokens and of boxes: near-ties are decided by rounding


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A promise that a model keeps or breaks.

    Attributes:
        name: As it is typed.
        asks: In words.
        dtype: The precision whose tolerance counts; None: the same kernels run twice, and nothing may differ.

    """

    name: str
    asks: str
    dtype: str | None = "float32"


QUESTIONS = (
    Question(name="repeat", asks="Is the answer the same when the same images come again?", dtype=None),
    Question(name="batch", asks="Does an image have the same answer alone and in a batch?"),
    Question(name="order", asks="Does the order of the images in a batch make no difference?"),
    Question(name="process", asks="Do two processes that load the same weights answer the same?", dtype=None),
    Question(name="impl", asks="Do the published and the fast implementation answer the same?"),
    Question(name="half", asks="Is the answer in bfloat16 that of float32?", dtype="bfloat16"),
)
NAMES = tuple(question.name for question in QUESTIONS)


def why_broken(question: Question, figures: Mapping[str, Any], tolerance: float, *, drawn: bool = False) -> str | None:
    """Why a promise is broken, in words; None where it is kept.

    Args:
        question: What was asked.
        figures: As :func:`agreement` returns them.
        tolerance: The relative difference of logits that the precision of the question allows.
        drawn: Whether the model drew random numbers: then no difference is rounding, however small it is.

    """
    relative = figures["relative_logit_difference"]
    if relative is None:
        return "logits are not finite"
    equal = [(what, figures[f"equal_{what}_percent"]) for what in ("selected", "boxes")]
    known = [(what, percent) for what, percent in equal if percent is not None]
    if question.dtype is None:
        others = [what for what, percent in known if percent < 100]
        if relative > SAME or others or (drawn and relative > 0):
            return f"{'it draws random numbers: ' if drawn else ''}{_logits(relative)}{_and(others, figures)}"
        return None
    if figures["typical_logit_difference"] > tolerance:
        return _logits(relative) + _and([what for what, percent in known if percent < 100], figures)
    others = [what for what, percent in known if percent < LEAST_EQUAL_PERCENT]
    if others and question.dtype == "float32":
        return f"{_logits(relative)}{_and(others, figures)}"
    return None


def _logits(relative: float) -> str:
    return f"logits differ by {100 * relative:.2g} % of the largest"


def _and(others: Sequence[str], figures: Mapping[str, Any]) -> str:
    told = {"selected": "selected tokens", "boxes": "boxes"}
    return "".join(f", {figures[f'equal_{what}_percent']:.3g} % of {told[what]} are equal" for what in others)
