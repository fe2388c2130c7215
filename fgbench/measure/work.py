"""What a model has to do for an image: multiply–adds, and memory that operators move. Counted, not run."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from fgbench.flops.count_models import count_model
from fgbench.models.model import Model


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """The work of a forward pass, by its batch."""

    macs_per_image: int
    first_image_bytes: int  # weights included
    further_image_bytes: int  # what one more image in the batch adds

    def bytes_per_image(self, batch_size: int) -> float:
        """Bytes that operators read and write per image, each its arguments and results once."""
        return self.further_image_bytes + (self.first_image_bytes - self.further_image_bytes) / batch_size


def count_work(model: Model, image_size: int, dtype: torch.dtype | None) -> Work:
    """The work of a model on the meta device, with weights and images of this dtype; float32 by default."""
    model = model if dtype is None else model.to(dtype)
    one, two = (count_model(model, image_size, images=images, dtype=dtype) for images in (1, 2))
    return Work(macs_per_image=one.total.macs, first_image_bytes=one.bytes, further_image_bytes=two.bytes - one.bytes)
