"""How far the outputs of an engine agree with those of torch in float32 on the same pictures."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fgbench.deploy.agreement import Arrays, judge
from fgbench.deploy.pictures import drawn_pictures
from fgbench.measure.engine import first_line
from fgbench.measure.subject import Subject, TakesImages
from fgbench.models.outputs import Outputs, to_arrays

OutputsOf = Callable[[Tensor], Arrays]  # images of the batch's shape → the outputs of the engine


@dataclass(frozen=True, slots=True)
class Reference:
    """The outputs of torch in float32.

    Args:
        pictures: (n, 3, S, S).
        outputs: By name; the first axis is that of the pictures. Empty where they are not finite.
        not_finite: Why nothing is right beside these outputs, in words; empty where they are finite.

    """

    pictures: Tensor
    outputs: Arrays
    not_finite: str = ""

    @classmethod
    def of_outputs(cls, pictures: Tensor, outputs: Arrays) -> Reference:
        """The reference of outputs that may be NaN or infinite."""
        for name, value in outputs.items():
            if kind := not_finite(value):
                return cls(pictures, {}, f"no output can be compared: the {name} of torch in float32 are {kind}")
        return cls(pictures, outputs)

    def message(self) -> dict[str, Any]:
        """The outputs, ready for JSON."""
        outputs = {name: value.tolist() for name, value in self.outputs.items()}
        return {"outputs": outputs, "not_finite": self.not_finite}

    @classmethod
    def of_message(cls, pictures: Tensor, message: Mapping[str, Any]) -> Reference:
        """The reference out of :meth:`message`."""
        outputs = {name: np.asarray(value) for name, value in message["outputs"].items()}
        return cls(pictures, outputs, message["not_finite"])


def not_finite(values: Any) -> str:
    """The word for numbers that are not all finite, with the kind that is met; empty where all of them are.

    Args:
        values: An array, or a tensor on any device.

    """
    tensor = torch.as_tensor(values)
    if not tensor.is_floating_point() or bool(torch.isfinite(tensor).all()):
        return ""
    return f"not finite ({'NaN' if bool(torch.isnan(tensor).any()) else 'infinity'})"


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
    return Reference.of_outputs(pictures, {name: np.concatenate([one[name] for one in found]) for name in found[0]})


def find_reference(subject: Subject, device: str) -> tuple[Reference | None, str | None]:
    """The reference of a subject; None with the reason, where there is none."""
    if not isinstance(subject, TakesImages):
        return None, "only what reads images is compared"
    try:
        return make_reference(subject, device), None
    except Exception as error:  # it may run in the engine's precision alone, or give no logits
        return None, f"torch in float32 did not run: {first_line(error)}"


def compare(outputs_of: OutputsOf, batch_size: int, reference: Reference, dtype: str) -> tuple[dict[str, Any], str]:
    """Compare the outputs of an engine with the reference.

    Args:
        outputs_of: Runs the engine on a batch.
        batch_size: Images of a batch; where there are fewer pictures, they come again, and are judged again.
        reference: The outputs of torch in float32.
        dtype: Precision of the engine, as ``--dtype`` names it.

    Returns:
        As :func:`fgbench.deploy.agreement.judge`; ``pictures`` is the number of different ones. No agreement, and the
        reason, where the outputs of torch are not finite.

    """
    if reference.not_finite:
        return {}, reference.not_finite
    count = len(reference.pictures)
    given = [torch.arange(start, start + batch_size) % count for start in range(0, count, batch_size)]
    parts = [outputs_of(reference.pictures[index]) for index in given]
    outputs = {name: np.concatenate([np.asarray(part[name]) for part in parts]) for name in parts[0]}
    order = torch.cat(given).numpy()
    agreement, wrong = judge(outputs, {name: value[order] for name, value in reference.outputs.items()}, dtype)
    return agreement | ({"pictures": count} if agreement else {}), wrong
