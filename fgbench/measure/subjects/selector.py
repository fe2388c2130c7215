"""One selector by itself: on the features that a ViT-B/16 gives it, without the backbone's work of making them.

The published computation gets ready maps, as its backbone leaves them; the fast one gets queries, keys and the
log-sum-exps of the backbone's own attention.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch

from fgbench.flops.count import Count
from fgbench.flops.counter import count_flops
from fgbench.measure.points import ModelSpec
from fgbench.measure.subject import Subject
from fgbench.measure.subjects.model import ModelSubject
from fgbench.plugins.code import foreign_code
from fgbench.plugins.registry import make_selector
from fgbench_selectors import QK, Features, Maps
from fgbench_selectors.selector import Selector

BACKBONE, CLASSES = "vit_base_patch16_224", 200
PATCH, DEPTH, HEADS, HEAD_DIM = 16, 12, 12, 64  # ViT-B/16
SMALL_SIZE = 32  # pixels of a side


@dataclass(frozen=True, slots=True)
class SelectorSubject:
    """A selector in one implementation, at one image size.

    Args:
        selector: A registered name.
        impl: ``published`` or ``fast``.
        image_size: Pixels of a side, whose patches make the tokens.

    """

    selector: str
    impl: str
    image_size: int

    kind = "selector"
    has_weights = False

    @property
    def spec(self) -> ModelSpec:
        """The fields of a row; its model is called "selector"."""
        return ModelSpec(
            model="selector",
            backbone=BACKBONE,
            selector=self.selector,
            impl=self.impl,
            image_size=self.image_size,
            num_classes=0,
            foreign_code=foreign_code(type(self._make())),
        )

    def build(self, device: str) -> Selector:
        """Build the selector for the blocks of a ViT-B/16."""
        return self._make().eval().to(device)

    def inputs(
        self, batch_size: int, dtype: torch.dtype = torch.float32, device: str = "cpu", seed: int = 0
    ) -> tuple[Features]:
        """Make features: random, of unit variance, and no more than the selector declares."""
        needs = self._make().needs
        shape = (batch_size, num_tokens(self.image_size))

        def block() -> QK | Maps:
            qk = projected(*shape, HEADS, dtype, device)
            if self.impl == "fast":
                return replace(qk, lse=qk.logsumexp())
            logits = qk.logits_map()
            return Maps(logits.softmax(dim=-1), logits if needs.logits else None)

        with torch.inference_mode():
            read = range(DEPTH)[needs.blocks] if needs.blocks is not None else range(0)
            tokens = torch.randn(*shape, HEADS * HEAD_DIM, dtype=dtype, device=device) if needs.tokens else None
            attention = [block() if index in read else None for index in range(DEPTH)]
            class_logits = torch.randn(*shape, CLASSES, dtype=dtype, device=device) if needs.class_logits else None
        return (Features(tokens=tokens, attention=attention, class_logits=class_logits),)

    def count(self, batch_size: int, dtype: torch.dtype = torch.float32) -> Count:
        """Count the selection alone."""
        selector = self.build("meta")
        (features,) = self.inputs(batch_size, dtype, "meta")
        return count_flops(lambda: selector(features))

    def small(self) -> Subject | None:
        """The same selector on a small image."""
        return replace(self, image_size=SMALL_SIZE)

    def _make(self) -> Selector:
        return make_selector(self.selector, self.impl, DEPTH)


def selection_subject(selector: str | None, impl: str | None, image_size: int) -> Subject:
    """A selector by itself, or, where none is named, the backbone that makes its features."""
    if selector is not None:
        return SelectorSubject(selector, impl or "fast", image_size)
    spec = ModelSpec(
        model="vit", backbone=BACKBONE, selector=None, impl=None, image_size=image_size, num_classes=CLASSES
    )
    return ModelSubject(spec)


def num_tokens(image_size: int) -> int:
    """N of a ViT-B/16: the class token and the patches of an image."""
    return 1 + (image_size // PATCH) ** 2


def projected(batch_size: int, tokens: int, heads: int, dtype: torch.dtype, device: str) -> QK:
    """Make random queries and keys of one block, in memory as timm's joint projection leaves them beside the values.

    Args:
        batch_size: Images.
        tokens: N.
        heads: H.
        dtype: Of both.
        device: As torch names it.

    Returns:
        Queries and keys (B, H, N, d), views of one tensor.

    """
    joint = torch.randn(batch_size, tokens, 3 * heads * HEAD_DIM, dtype=dtype, device=device)
    q, k, _ = (third.unflatten(-1, (heads, HEAD_DIM)).transpose(1, 2) for third in joint.chunk(3, dim=-1))
    return QK(q, k)
