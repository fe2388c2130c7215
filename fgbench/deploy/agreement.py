"""Judge outputs by others that are right: how far logits, classes, selected tokens and boxes agree. No torch."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

Arrays = Mapping[str, NDArray[Any]]  # outputs by name, as of fgbench.models.outputs.Outputs

# Up to which relative difference of logits an engine computes the same, by its precision.
TOLERANCE = {"float32": 1e-3, "tf32": 1e-2, "float16": 2e-2, "bfloat16": 1e-1, "amp": 1e-1}
LEAST_TOP1_PERCENT = 90.0
FAR = 10.0  # tolerances; the typical picture of a right output is not so far off
AUDIT = "'fgbench audit NAME' tells whether the network itself gives an image one answer"
FOLLOWS = 0.5  # least correlation of what tells pictures apart
TOLD_APART = 0.1  # tolerances; pictures whose logits differ by less cannot be told apart in a precision


def judge(outputs: Arrays, wanted: Arrays, dtype: str) -> tuple[dict[str, Any], str]:
    """Compare outputs with those that are wanted.

    Args:
        outputs: By name; the first axis is that of the pictures. ``logits`` (n, classes) must be there.
        wanted: The same outputs of torch in float32.
        dtype: Precision of ``outputs``, as ``--dtype`` names it.

    Returns:
        The agreement as a row holds it; and why the output is wrong, in words, empty where it is not.

    """
    logits, truth = outputs["logits"].astype(float), wanted["logits"].astype(float)
    if logits.shape != truth.shape:
        return {}, f"its logits have the shape {logits.shape}, and those of torch have {truth.shape}"
    difference = np.abs(logits - truth)
    finite = bool(np.isfinite(difference).all())
    scale = float(np.abs(truth).max()) or 1.0
    by_picture = difference.max(axis=1) / scale
    agreement: dict[str, Any] = {
        "pictures": len(truth),
        "largest_logit_difference": float(difference.max()) if finite else None,
        "relative_logit_difference": float(by_picture.max()) if finite else None,
        "equal_top1_percent": _percent(logits.argmax(axis=1) == truth.argmax(axis=1)),
        "equal_selected_percent": _shared_percent(outputs, wanted),
        "equal_boxes_percent": _same_boxes_percent(outputs, wanted),
    }
    if not finite:
        return agreement, "wrong output: its logits are not finite"
    tolerance = TOLERANCE.get(dtype)
    if tolerance is None:  # int8, a mode of its own: its agreement is a figure, not a verdict
        return agreement, ""
    if not _follows_pictures(logits, truth, TOLD_APART * tolerance * scale):
        what = "wrong output: its logits do not follow the pictures as those of torch in float32 do"
        return agreement, f"{what}; {AUDIT}"
    return agreement, _why_wrong(agreement, float(np.median(by_picture)), tolerance)


def _why_wrong(agreement: Mapping[str, Any], typical: float, tolerance: float) -> str:
    """Why an output is wrong; empty where it is not."""
    largest, top1 = agreement["relative_logit_difference"], agreement["equal_top1_percent"]
    low_top1 = top1 < LEAST_TOP1_PERCENT and largest > tolerance
    if low_top1 or typical > FAR * tolerance:
        return (
            f"wrong output: {top1:.0f} % of {agreement['pictures']} pictures have the class of torch in float32, "
            f"and logits differ by up to {100 * largest:.2g} % of the largest; {AUDIT}"
        )
    return ""


def _follows_pictures(logits: NDArray[Any], truth: NDArray[Any], least: float) -> bool:
    """Whether logits differ between pictures as the true ones do.

    Networks with random weights give all pictures nearly the same logits: one that ignored its pictures would hardly
    differ from the truth. So what all pictures have in common is left out.

    Args:
        logits: (n, classes).
        truth: (n, classes).
        least: By how much true logits of two pictures must differ, so that anything can be told.

    """
    apart, wanted = (values - values.mean(axis=0) for values in (logits, truth))
    if np.abs(wanted).max() < least:
        return True
    size = math.sqrt(float((apart**2).sum()) * float((wanted**2).sum()))
    return size > 0 and float((apart * wanted).sum()) / size >= FOLLOWS


def _percent(equal: NDArray[Any]) -> float:
    return float(100 * np.mean(equal))


def _shared_percent(outputs: Arrays, wanted: Arrays) -> float | None:
    """Share of the wanted tokens that were selected too, whatever their order; None where nothing is selected."""
    if "selected" not in wanted or "selected" not in outputs:
        return None
    shares = []
    for found, truth in zip(outputs["selected"], wanted["selected"], strict=True):
        (values, counts), other = np.unique(truth, return_counts=True), np.ravel(found)
        shared = sum(min(int(count), int((other == value).sum())) for value, count in zip(values, counts, strict=True))
        shares.append(shared / truth.size)
    return float(100 * np.mean(shares))


def _same_boxes_percent(outputs: Arrays, wanted: Arrays) -> float | None:
    """Share of boxes whose four sides are equal; None where there are none."""
    if "boxes" not in wanted or "boxes" not in outputs:
        return None
    return _percent((outputs["boxes"] == wanted["boxes"]).all(axis=-1))
