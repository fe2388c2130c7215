"""The predicted class of every test image of a run, packed into a row: any two runs can be compared later. No torch."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from fgbench.results.record_base import UNSAVED, Count, Record, Side

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

UNREADABLE = -1  # the predicted class of an image that could not be read
BYTES = 4  # of a class: a little-endian integer with a sign
MOST_IMAGES = 10**8  # of a test set; a row that unpacks to more is refused


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PredictionsRow(Record):
    """The classes that one run predicts and the right ones, of every test image in the order of the test set.

    Both are packed: little-endian integers of four bytes, compressed by zlib, in base64. The predicted class of an
    image that could not be read is -1.
    """

    kind: ClassVar[str] = "predictions"
    mark: ClassVar[str] = "predicted"
    section: ClassVar[str] = "predictions"
    command: ClassVar[str] = "fgbench accuracy"
    first_figure: ClassVar[str] = "predicted"

    run: str  # key of the run in the store, as in its row of accuracy
    model: str
    selector: str | None  # null for a model without a selector
    dataset: str
    image_size: Side  # pixels, square
    seed: int | None  # null where nothing was trained
    images: Count  # of the test set, those that could not be read among them
    test_set: str  # digest of the names and classes of the test images; only equal ones can be paired
    predicted: str  # packed classes
    targets: str  # packed classes
    environment: dict[str, Any] = field(default_factory=dict, metadata=UNSAVED)

    def classes(self) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """The predicted and the right classes.

        Returns:
            Two arrays (images,); -1 is the predicted class of an image that could not be read.

        Raises:
            ValueError: A field does not unpack to a class per image; the message names it.

        """
        return unpacked("predicted", self.predicted, self.images), unpacked("targets", self.targets, self.images)


def packed(classes: Iterable[int]) -> str:
    """Classes as text: little-endian integers of four bytes, compressed by zlib, in base64."""
    import numpy as np

    values = np.fromiter(classes, dtype="<i4")
    return base64.b64encode(zlib.compress(values.tobytes(), 9)).decode("ascii")


def unpacked(name: str, text: str, images: int) -> NDArray[np.int32]:
    """The classes of :func:`packed`.

    Args:
        name: The name of the field, for the error.
        text: The packed classes.
        images: How many there must be.

    Returns:
        An array (images,).

    Raises:
        ValueError: The text is no base64, does not decompress, or holds another number of classes.

    """
    import numpy as np

    size = images * BYTES
    try:
        unpack = zlib.decompressobj()
        content = unpack.decompress(base64.b64decode(text, validate=True), size + 1) if images else b""
    except (binascii.Error, ValueError):
        raise ValueError(f"its field {name!r} is no base64") from None
    except zlib.error:
        raise ValueError(f"its field {name!r} does not decompress; it is damaged or cut off") from None
    if len(content) != size or (images and not unpack.eof):
        raise ValueError(f"its field {name!r} does not hold a class for each of {images} images")
    classes = np.frombuffer(content, dtype="<i4").astype(np.int32)
    if classes.size and classes.min() < UNREADABLE:
        raise ValueError(f"its field {name!r} holds the class {classes.min()}")
    return classes


def digest_of_test_set(names: Sequence[str], targets: Sequence[int]) -> str:
    """A digest of a test set: the names of its images and their classes, in order.

    Args:
        names: The name of every image.
        targets: The class of every image.

    """
    content = json.dumps([list(names), [int(target) for target in targets]], separators=(",", ":"))
    return hashlib.sha256(content.encode("utf-8", "backslashreplace")).hexdigest()[:32]
