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
    num_tokens: int | None  # N, prefix tokens included; null for a convolutional network
    macs: int  # multiply–adds of matrix products and convolutions, in every convention
    flops: int  # in the convention's own unit
    percent_of_backbone: float  # flops over the backbone's flops, both in the convention's unit
    params: int | None  # trainable and fixed parameters; null for a part of a model, which shares them with others
    part: str | None = None  # a part of a model's forward pass, such as "selector"; null for all of it

    def as_dict(self, *, parts: bool = False) -> dict[str, Any]:
        """The row with its fields in the order above, ready for JSON; ``part`` only where it is asked for."""
        fields = asdict(self)
        if not parts:
            del fields["part"]
        return fields
