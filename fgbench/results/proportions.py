"""The interval of a share of images. No torch."""

from __future__ import annotations

CONFIDENCE = 0.95


def wilson(right: int, images: int) -> tuple[float, float]:
    """The 95 % interval of an accuracy: Wilson's score interval, as scipy computes it.

    Args:
        right: The number of images that were classified rightly.
        images: The number of test images.

    Returns:
        Both ends in percent.

    Raises:
        ValueError: There are no images, or more are right than there are.

    Source: Wilson 1927, Probable inference, the law of succession, and statistical inference, JASA 22.

    """
    if not 0 <= right <= images or images < 1:
        raise ValueError(f"of {images} images {right} cannot be right")
    from scipy.stats import binomtest  # takes a second to import

    ends = binomtest(right, images).proportion_ci(confidence_level=CONFIDENCE, method="wilson")
    return 100 * float(ends.low), 100 * float(ends.high)


def wilson_of_percent(top1_percent: float, images: int) -> tuple[float, float]:
    """:func:`wilson` of an accuracy of a single run in percent."""
    return wilson(round(top1_percent / 100 * images), images)
