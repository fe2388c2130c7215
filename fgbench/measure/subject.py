"""The contract of every subject: a network, its inputs, and its work."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor, nn

from fgbench.flops.count_steps import count_step
from fgbench.results.image_size import ImageSize, height_width

if TYPE_CHECKING:
    from fgbench.flops.count import Count
    from fgbench.measure.points import ModelSpec


HALVES = {"float16": torch.float16, "bfloat16": torch.bfloat16}  # dtypes of weights; float32 in other precisions


class Subject(Protocol):
    """One thing to measure: a published model, a selector by itself, a v·A kernel, or any network."""

    kind: str  # model, selector, kernel or module: by which an engine says what it cannot load
    has_weights: bool  # that a precision could be kept for beside that of the inputs

    @property
    def spec(self) -> ModelSpec:
        """The fields of the subject's row."""
        ...

    def build(self, device: str) -> nn.Module:
        """Build the network.

        Args:
            device: As torch names it.

        Returns:
            A network in evaluation mode, in float32, that is the caller's own: it may be changed.

        """
        ...

    def inputs(
        self, batch_size: int, dtype: torch.dtype = torch.float32, device: str = "cpu", seed: int = 0
    ) -> tuple[Any, ...]:
        """Make the arguments of the network.

        Args:
            batch_size: Images, or sets of features.
            dtype: Of the tensors.
            device: As torch names it.
            seed: Other seeds make other values of the same shapes.

        Returns:
            What is passed to the network: of a model one tensor, images (B, 3, S, S).

        """
        ...

    def count(self, batch_size: int, dtype: torch.dtype = torch.float32) -> Count:
        """Count the work of a batch, on tensors that hold no data."""
        ...

    def small(self) -> Subject | None:
        """A small version, which is run once before memory is measured: libraries take memory at their first use."""
        ...


class TakesImages:
    """The inputs of a subject that is run on images: those that were given, or noise."""

    spec: ModelSpec
    images: Tensor | None

    def inputs(
        self, batch_size: int, dtype: torch.dtype = torch.float32, device: str = "cpu", seed: int = 0
    ) -> tuple[Tensor]:
        """Make images (B, 3, S, S): those that were given, or noise."""
        return (images_for(self.images, batch_size, self.spec.image_size, dtype, device, seed),)


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """The work of a forward pass per image, by its batch."""

    macs_per_image: int
    first_image_bytes: int  # weights included
    further_image_bytes: int  # that one more image in the batch adds
    flops_per_image: int | None = None  # of a training step: 2·macs and every other operation

    def bytes_per_image(self, batch_size: int) -> float:
        """Bytes that operators read and write per image, each its arguments and results once."""
        return self.further_image_bytes + (self.first_image_bytes - self.further_image_bytes) / batch_size


def count_work(subject: Subject, dtype: torch.dtype = torch.float32) -> Work:
    """Count the work of a subject with weights and inputs of a dtype.

    Args:
        subject: Any subject.
        dtype: Of its weights and inputs.

    Returns:
        Its multiply–adds and bytes, from the counts of one image and of two.

    """
    one, two = (subject.count(batch_size, dtype) for batch_size in (1, 2))
    return Work(macs_per_image=one.total.macs, first_image_bytes=one.bytes, further_image_bytes=two.bytes - one.bytes)


def count_training(subject: Subject, dtype: torch.dtype = torch.float32) -> Work:
    """Count a training step of a subject: forward, backward, optimizer step.

    Args:
        subject: A network that classifies images.
        dtype: Of its weights and inputs.

    Returns:
        Its work per image in a batch of two, as batch norm needs two, and bytes from batches of two and three.

    """
    size = subject.spec.image_size
    two, three = (count_step(subject.build("meta").to(dtype), size, images=images, dtype=dtype) for images in (2, 3))
    further = three.bytes - two.bytes
    return Work(
        macs_per_image=two.macs // 2,
        first_image_bytes=two.bytes - further,
        further_image_bytes=further,
        flops_per_image=int(two.flops) // 2,
    )


def images_for(
    given: Tensor | None, batch_size: int, image_size: ImageSize, dtype: torch.dtype, device: str, seed: int
) -> Tensor:
    """Images (B, 3, S, S) that were given, where there are so many and no other ones are wanted; or else noise."""
    if given is not None and seed == 0 and len(given) == batch_size:
        return given.to(device, dtype, copy=True)
    return random_images(batch_size, image_size, dtype, device, seed)


def random_images(
    batch_size: int, image_size: ImageSize, dtype: torch.dtype = torch.float32, device: str = "cpu", seed: int = 0
) -> Tensor:
    """Noise that differs from image to image: figures do not depend on it, and its values are not special.

    Args:
        batch_size: Images.
        image_size: Of the images, in pixels.
        dtype: Of the images.
        device: As torch names it.
        seed: Of the noise.

    Returns:
        Images (B, 3, S, S).

    """
    generator = torch.Generator().manual_seed(seed)
    height, width = height_width(image_size)
    one = torch.randn(1, 3, height, width, generator=generator)
    images = torch.empty(batch_size, 3, height, width, dtype=dtype, device=device)
    for index in range(batch_size):  # images that differ, without a second of random numbers per batch
        images[index] = one[0].roll((7 * index, 11 * index), (1, 2))
    return images
