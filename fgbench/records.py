"""What is kept of a measurement: frozen records with the unit in every field's name."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class FlopsRow:
    """The work of one backbone, or of one selector beside it, for one image."""

    convention: str  # full, fvcore or paper: the unit of flops and percent_of_backbone
    backbone: str  # timm's name
    model: str | None  # a whole published model; null for a backbone or a selector
    selector: str | None  # null in the backbone's own row
    impl: str | None  # published or fast; null in the backbone's own row
    image_size: int  # pixels, square
    num_tokens: int  # N, prefix tokens included
    macs: int  # multiply–adds of matrix products and convolutions, in every convention
    flops: int  # in the convention's own unit
    percent_of_backbone: float  # flops over the backbone's flops, both in the convention's unit
    params: int  # trainable and fixed parameters

    def as_dict(self) -> dict[str, Any]:
        """The row with its fields in the order above, ready for JSON."""
        return asdict(self)
