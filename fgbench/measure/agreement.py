"""How far the outputs of an engine agree with those of torch in float32 on the same pictures."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fgbench.deploy.pictures import drawn_pictures
from fgbench.measure.engine import first_line
from fgbench.measure.subject import Subject, TakesImages
from fgbench.models.outputs import Outputs

Arrays = Mapping[str, NDArray[Any]]  # outputs by name, as of fgbench.models.outputs.Outputs
OutputsOf = Callable[[Tensor], Arrays]  # images of the batch's shape → the outputs of the engine

# Up to which relative difference of logits an engine computes the same, by its precision.
TOLERANCE = {"float32": 1e-3, "tf32": 1e-2, "float16": 2e-2, "bfloat16": 1e-1, "amp": 1e-1}
LEAST_TOP1_PERCENT = 90.0
FAR = 10.0  # tolerances; the typical picture of a right output is not so far off


@dataclass(frozen=True, slots=True)
class Reference:
    """The outputs of torch in float32.

    Args:
        pictures: (n, 3, S, S).
        outputs: By name; the first axis is that of the pictures.

    """

    pictures: Tensor
    outputs: Arrays

    def message(self) -> dict[str, Any]:
        """The outputs, ready for JSON."""
        return {name: value.tolist() for name, value in self.outputs.items()}

    @classmethod
    def of_message(cls, pictures: Tensor, message: Mapping[str, Any]) -> Reference:
        """The reference out of :meth:`message`."""
        return cls(pictures, {name: np.asarray(value) for name, value in message.items()})


def pictures_of(subject: Subject) -> Tensor:
    """The pictures that a subject is compared on: those that it was given, or drawn ones, fewer of large sizes.

    Returns:
        (n, 3, S, S) in float32.

    """
    given = getattr(subject, "images", None)
    if isinstance(given, Tensor):
        return given.float().cpu()
    (one,) = subject.inputs(1)
    height, width = (int(side) for side in one.shape[-2:])
    pixels = height * width
    count = 16 if pixels <= 256**2 else 8 if pixels <= 512**2 else 4
    return drawn_pictures(count, height, width)


def make_reference(subject: Subject, device: str = "cpu") -> Reference:
    """Run a subject in torch's float32, picture by picture.

    Args:
        subject: A model or a network.
        device: As torch names it.

    Raises:
        Exception: Whatever the network raises, out of memory included.

    """
    pictures = pictures_of(subject)
    network = Outputs(subject.build(device)).eval()
    cudnn = torch.backends.cudnn
    before = torch.get_float32_matmul_precision(), cudnn.allow_tf32
    torch.set_float32_matmul_precision("highest")
    cudnn.allow_tf32 = False
    try:
        with torch.inference_mode():
            found = [to_arrays(network(picture[None].to(device))) for picture in pictures]
    finally:
        torch.set_float32_matmul_precision(before[0])
        cudnn.allow_tf32 = before[1]
    return Reference(pictures, {name: np.concatenate([one[name] for one in found]) for name in found[0]})


def find_reference(subject: Subject, device: str) -> tuple[Reference | None, str | None]:
    """The reference of a subject; None with the reason, where there is none."""
    if not isinstance(subject, TakesImages):
        return None, "only what reads images is compared"
    try:
        return make_reference(subject, device), None
    except Exception as error:  # it may run in the engine's precision alone, or give no logits
        return None, f"torch in float32 did not run: {first_line(error)}"


def to_arrays(outputs: Mapping[str, Tensor]) -> dict[str, NDArray[Any]]:
    """Named tensors as arrays on the host; numbers in half precision become float32."""
    return {
        name: (value.float() if value.is_floating_point() else value).detach().cpu().numpy()
        for name, value in outputs.items()
    }


def compare(outputs_of: OutputsOf, batch_size: int, reference: Reference, dtype: str) -> tuple[dict[str, Any], str]:
    """Compare the outputs of an engine with the reference.

    Args:
        outputs_of: Runs the engine on a batch.
        batch_size: Images of a batch; where there are fewer pictures, they come again and count once.
        reference: The outputs of torch in float32.
        dtype: Precision of the engine, as ``--dtype`` names it.

    Returns:
        The agreement as a row holds it; and why the output is wrong, in words, empty where it is not.

    """
    count = len(reference.pictures)
    parts: list[Arrays] = []
    for start in range(0, count, batch_size):
        index = torch.arange(start, start + batch_size) % count
        found = outputs_of(reference.pictures[index])
        parts.append({name: np.asarray(value)[: count - start] for name, value in found.items()})
    outputs = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    return judge(outputs, reference.outputs, dtype)


def judge(outputs: Arrays, wanted: Arrays, dtype: str) -> tuple[dict[str, Any], str]:
    """The agreement of outputs with those that are wanted, and why they are wrong, as :func:`compare` returns it."""
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
    return agreement, _why_wrong(agreement, float(np.median(by_picture)) if finite else math.nan, dtype)


def _why_wrong(agreement: Mapping[str, Any], typical: float, dtype: str) -> str:
    """Why an output is wrong; empty where it is not."""
    largest, top1 = agreement["relative_logit_difference"], agreement["equal_top1_percent"]
    if largest is None:
        return "wrong output: its logits are not finite"
    tolerance = TOLERANCE.get(dtype)
    if tolerance is None:  # int8, a mode of its own: its agreement is a figure, not a verdict
        return ""
    low_top1 = top1 < LEAST_TOP1_PERCENT and largest > tolerance
    if low_top1 or typical > FAR * tolerance:
        return (
            f"wrong output: {top1:.0f} % of {agreement['pictures']} pictures have the class of torch in float32, "
            f"and logits differ by up to {100 * largest:.2g} % of the largest"
        )
    return ""


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
