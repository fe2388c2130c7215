"""The contract of every model: images in, logits out, and on request what was selected and what it costs."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, TypeVar

import torch
from timm.layers.drop import DropPath
from torch import Tensor, nn
from torch.nn import functional

from fgbench.errors import FgbenchError
from fgbench.models.options import number, one_of
from fgbench.plugins.registry import make_selector
from fgbench_selectors import IMPLS, Selector

Result = TypeVar("Result")

# The stages that a forward pass is counted and timed by, in the order in which they run.
STAGES = ("pass 1", "selector", "crop", "pass 2", "fusion")

FUSIONS = ("mean", "probabilities", "first", "last")


@dataclass(frozen=True, slots=True)
class Explanation:
    """A forward pass with what it selected. What a model does not have is None."""

    logits: Tensor  # (B, classes)
    scores: Tensor | None = None  # as the selector returns them
    selected: Tensor | None = None  # (B, …, K) the tokens that were selected, where tokens are: patches, or all
    boxes: Tensor | None = None  # (B, K, 4) pixels y0, x0, y1, x1, ends exclusive: crops, or selected patches
    crops: Tensor | None = None  # (B, K, 3, S, S)
    heads: Mapping[str, Tensor] = field(default_factory=dict)  # (B, classes) of every head, before they are fused
    token: Tensor | None = None  # (B, D), what the head reads, where a loss reads it too


class Model(nn.Module):
    """A published system. ``model(images)`` → logits (B, classes); ``model(images, targets)`` → (loss, logits).

    A model is one class in one file. It says what its selector's scores must look like (``accepts``, see
    :data:`fgbench_selectors.selector.AXES`) and writes its forward pass as :meth:`flow`, every part of it run
    through :meth:`step`, so that each can be counted and timed alone.
    """

    default_backbone: ClassVar[str] = "vit_base_patch16_224"
    accepts: ClassVar[tuple[tuple[str, ...], ...]] = ()  # score shapes; a model without a selector has none
    # Parameters that no loss can reach, by the beginning of their names, and why.
    without_gradient: ClassVar[Mapping[str, str]] = {}
    buffers_of_training: ClassVar[tuple[str, ...]] = ()  # that are there only once training has begun
    two_impls: ClassVar[bool] = True  # whether published and fast differ; a model that selects nothing has one

    # Set by whoever counts or times the stages: called with the stage's name and what is to be run.
    on_step: Callable[[str, Callable[[], Any]], Any] | None = None

    def __init__(self, impl: str = "fast", label_smoothing: float = 0.1) -> None:
        super().__init__()
        self.label_smoothing = number(label_smoothing, "label smoothing", 0, 0.999)
        self.options: dict[str, Any] = {}  # that change what is computed, as create_model was given them
        self.norm_eps: float | None = None  # the ε that every LayerNorm was set to; None: its own
        self._built_norm_eps: float | None = None
        self.adapted: dict[str, Any] = {}  # options that a file of weights has changed
        self.selector: Selector | None = None
        self.selector_name: str | None = None
        self.impl = impl

    @property
    def impl(self) -> str:
        """``published`` or ``fast``; it can be changed at any time, and the selector's changes with it."""
        return self._impl

    @impl.setter
    def impl(self, impl: str) -> None:
        self._impl = one_of(impl, "implementation", IMPLS)
        if self.selector is not None:
            self.selector.impl = impl

    @property
    def published(self) -> bool:
        """Whether the published computation is done, or the fast one, which gives the same up to rounding.

        CAL follows every rounding where its maps are peaked: up to 3 · 10⁻⁴ of its logits, see docs/differences.md.
        """
        return self.impl == "published"

    def flow(self, images: Tensor) -> Explanation:
        """The forward pass: images (B, 3, S, S) → logits, and whatever else is there anyway."""
        raise NotImplementedError

    def explain(self, images: Tensor) -> Explanation:
        """Images (B, 3, S, S) → logits, scores, boxes and crops."""
        return self.flow(images)

    def forward(self, images: Tensor, targets: Tensor | None = None) -> Any:
        """Images (B, 3, S, S) → logits (B, classes); with targets (B,) → (loss, logits)."""
        if targets is None:
            return self.flow(images).logits
        return self.loss(images, targets)

    def loss(self, images: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """The training loss and the logits: cross-entropy of every head, added, with label smoothing."""
        explanation = self.flow(images)
        heads = list(explanation.heads.values()) or [explanation.logits]
        return self.cross_entropy(heads[0], targets, *heads[1:]), explanation.logits

    def cross_entropy(self, logits: Tensor, targets: Tensor, *others: Tensor) -> Tensor:
        """Cross-entropy with label smoothing, added over heads."""
        loss = functional.cross_entropy(logits, targets, label_smoothing=self.label_smoothing)
        for other in others:
            loss = loss + functional.cross_entropy(other, targets, label_smoothing=self.label_smoothing)
        return loss

    def set_norm_eps(self, eps: float) -> None:
        """Set the ε of every LayerNorm; released checkpoints were trained with their own."""
        self.norm_eps = self._built_norm_eps = eps
        for module in self.modules():
            if isinstance(module, nn.LayerNorm):
                module.eps = eps
                vars(module).pop("built_eps", None)

    def read_norm_eps(self, eps: float | None) -> None:
        """Set the ε that a file of weights was trained with; None: that which the model was built with.

        A file that is loaded next does not keep the ε of the one before.
        """
        self.norm_eps = self._built_norm_eps if eps is None else eps
        for module in self.modules():
            if isinstance(module, nn.LayerNorm):
                built: float = vars(module).setdefault("built_eps", module.eps)
                module.eps = built if eps is None else eps

    def set_stochastic_depth(self, rate: float) -> None:
        """Drop every residual branch of every transformer block with this probability in training.

        The same over depth (GLSim, Table 10); a network without transformer blocks has none to drop.
        """
        number(rate, "stochastic depth", 0, 0.999)
        for block in self.modules():
            for branch in ("drop_path1", "drop_path2"):
                if hasattr(block, branch):
                    setattr(block, branch, DropPath(rate) if rate else nn.Identity())
        self.apply_dropout()

    @property
    def has_stochastic_depth(self) -> bool:
        """Whether a residual branch can be dropped in training."""
        return any(isinstance(module, DropPath) and module.drop_prob > 0 for module in self.modules())

    def apply_dropout(self) -> None:
        """Set the dropout that the model was built with, where it has any; called when stochastic depth changes."""

    def start_from_backbone(self) -> tuple[str, ...]:
        """Start the model's own parameters where its backbone is, after the backbone alone was loaded.

        Returns the beginnings of the names of those that a backbone has, or that begin as one of its own does.
        """
        return ()

    @property
    def takes_head(self) -> bool:
        """Whether the head begins as the backbone's own, where that has as many classes."""
        return True

    def make_room(self, names: Collection[str]) -> None:
        """Create those buffers of these names that are there only once training has begun."""

    @property
    def reads_as_backbone(self) -> bool:
        """Whether the head reads what timm's head of the backbone reads, so that its weights mean the same here."""
        return True

    def leaves_out(self, name: str) -> bool:
        """Whether a weight of a file, under the name that a model of ours has for it, is one that was asked away."""
        return False

    def adapt(
        self, source: str, weights: Mapping[str, Tensor], metadata: Mapping[str, str]
    ) -> tuple[list[str], Callable[[], None]]:
        """Become the variant of this model that a file was trained as, before its weights are loaded.

        ``source`` is the format's name, ``weights`` bear our names, ``metadata`` stands beside them in a file of our
        own. Returns what was changed, in words, and a function that changes it back.
        """
        return [], lambda: None

    def refuse_variant(self, option: str, value: object) -> None:
        """Raise an error for a file of another variant than the one that a file before made of this model."""
        if option in self.adapted and self.adapted[option] != value:
            raise FgbenchError(
                f"an earlier file made a model with {option}={self.adapted[option]!r} of this {type(self).__name__}, "
                f"and this one is of a model with {option}={value!r};",
                do="build a new model for it",
            )

    def step(self, stage: str, run: Callable[..., Result], *args: Any, **options: Any) -> Result:
        """Run one part of the forward pass under the name of its stage, one of :data:`STAGES`."""
        if self.on_step is None:
            return run(*args, **options)
        result: Result = self.on_step(stage, lambda: run(*args, **options))
        return result

    def use_selector(self, selector: str | Selector | None, published: str, *, depth: int, **options: Any) -> Selector:
        """Make the selector that was asked for, which sees ``depth`` blocks.

        ``options`` are what the model sets for the one that it was ``published`` with.

        Raises :class:`FgbenchError` where the scores have another shape than the model can use.
        """
        asked = published if selector is None else selector
        if isinstance(asked, Selector):  # a copy: models set the implementation of what is theirs
            made, self.selector_name = copy.deepcopy(asked), type(asked).__name__.lower()
        elif not isinstance(asked, str):
            raise FgbenchError("a selector is a name or an instance, got", asked, "such as get('gls', metric='l1')")
        else:
            made = make_selector(asked, self.impl, depth, **(options if asked == published else {}))
            self.selector_name = asked
        made.impl = self.impl
        if made.score_shape not in self.accepts:
            shapes = " or ".join(f"({', '.join(shape)})" for shape in self.accepts)
            raise FgbenchError(
                f"{type(self).__name__} selects by scores of shape {shapes}; "
                f"{self.selector_name} returns ({', '.join(made.score_shape)})",
                do="choose a selector whose scores fit: 'fgbench list' shows them",
            )
        return made


def fuse(heads: Mapping[str, Tensor], rule: str) -> Tensor:
    """Logits of several heads (B, classes) → one.

    ``mean``: the mean of the logits. ``probabilities``: the logarithm of the mean probability, which ranks classes
    as the sum of probabilities does. ``first``, ``last``: one head alone.
    """
    several = list(heads.values())
    if rule == "mean":
        return sum(several[1:], several[0]) / len(several)
    if rule == "probabilities":
        return torch.stack([head.log_softmax(dim=-1) for head in several]).logsumexp(dim=0) - math.log(len(several))
    return several[0 if one_of(rule, "fusion", FUSIONS) == "first" else -1]
