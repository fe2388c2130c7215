"""The contract of models: images to logits, and on request the selection and the stages of the forward pass."""

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

# Stages of a forward pass, in their order; each is counted and timed by itself.
STAGES = ("pass 1", "selector", "crop", "pass 2", "fusion")

NO_STAGES = ("rest", "sum", "whole", "end to end")  # names of rows that stand beside those of stages

FUSIONS = ("mean", "probabilities", "first", "last")


@dataclass(frozen=True, slots=True)
class Explanation:
    """The results of a forward pass. A model that does not have one leaves it None.

    Args:
        logits: (B, classes).
        scores: Scores as the selector returns them.
        selected: Indices of selected tokens (B, …, K), among patches or among all tokens.
        boxes: Pixel boxes (B, K, 4) of crops or selected patches: y0, x0, y1, x1, ends exclusive.
        crops: (B, K, 3, S, S).
        heads: Logits (B, classes) of every head before they are fused, by name.
        token: The token (B, D) that the head reads, where a loss reads it too.

    """

    logits: Tensor
    scores: Tensor | None = None
    selected: Tensor | None = None
    boxes: Tensor | None = None
    crops: Tensor | None = None
    heads: Mapping[str, Tensor] = field(default_factory=dict)
    token: Tensor | None = None


class Model(nn.Module):
    """Base of the published systems. ``model(images)`` → logits; ``model(images, targets)`` → (loss, logits).

    A model is one class in one file. It declares the shapes of scores that it selects by (``accepts``, axes of
    :data:`fgbench_selectors.selector.AXES`). Its forward pass is :meth:`flow`, in which every stage runs through
    :meth:`step`, so that it can be counted and timed by itself.

    Args:
        impl: ``published`` or ``fast``.
        label_smoothing: Of the cross-entropy, from 0 to 0.999.

    Raises:
        FgbenchError: If an option has the wrong type or range.

    """

    default_backbone: ClassVar[str] = "vit_base_patch16_224"
    accepts: ClassVar[tuple[tuple[str, ...], ...]] = ()  # shapes of scores; empty for a model without a selector
    published_selector: ClassVar[str | None] = None  # its name
    group: ClassVar[str] = "none"  # what is selected, one of fgbench.plugins.facts.GROUPS
    year: ClassVar[int | None] = None  # of publication
    passes: int = 1  # images that the backbone reads for each image, in the published code
    # Parameters that get no gradient from any loss: first part of their names → the reason.
    without_gradient: ClassVar[Mapping[str, str]] = {}
    built_by: tuple[Callable[..., Any], ...] = ()  # functions and classes of others that build a part of the model
    buffers_of_training: ClassVar[tuple[str, ...]] = ()  # buffers that exist after the first training step only
    two_impls: bool = True  # whether published and fast differ; False for a model that selects nothing

    _on_step: Callable[[str, Callable[[], Any]], Any] | None = None

    def __init__(self, impl: str = "fast", label_smoothing: float = 0.1) -> None:
        super().__init__()
        self.label_smoothing = number(label_smoothing, "label smoothing", 0, 0.999)
        self.options: dict[str, Any] = {}  # options that change what is computed; set by create_model
        self.reduction_options: dict[str, Any] = {}  # of the reduction of tokens; empty where there is none
        self.norm_eps: float | None = None  # ε of every LayerNorm; None for timm's own
        self._built_norm_eps: float | None = None
        self.adapted: dict[str, Any] = {}  # options that a file of weights has changed
        self.selector: Selector | None = None
        self.selector_name: str | None = None
        self.impl = impl

    @property
    def built_structure(self) -> str:
        """The modules and tensors of a network that is not known by its code, in words; empty for all others."""
        return ""

    @property
    def reduction(self) -> Any:
        """The reduction of tokens; None where all tokens run through all blocks."""
        return getattr(getattr(self, "encoder", None), "reduction", None)

    @property
    def on_step(self) -> Callable[[str, Callable[[], Any]], Any] | None:
        """Called by :meth:`step` with the name of a stage and a function that runs it; set to count or time stages."""
        return self._on_step

    @on_step.setter
    def on_step(self, on_step: Callable[[str, Callable[[], Any]], Any] | None) -> None:
        self._on_step = on_step
        if self.reduction is not None:
            self.reduction.on_step = on_step

    @property
    def impl(self) -> str:
        """``published`` or ``fast``. It can be changed at any time; that of the selector changes with it."""
        return self._impl

    @impl.setter
    def impl(self, impl: str) -> None:
        self._impl = one_of(impl, "implementation", IMPLS)
        for part in (self.selector, self.reduction):
            if part is not None:
                part.impl = impl

    @property
    def published(self) -> bool:
        """Whether the published operations run. The fast ones give the same results up to rounding.

        Logits of CAL differ by up to 3 · 10⁻⁴ where its maps are peaked, see docs/differences.md.
        """
        return self.impl == "published"

    def flow(self, images: Tensor) -> Explanation:
        """The forward pass: images (B, 3, S, S) → logits, and the other results that it computes anyway."""
        raise NotImplementedError

    def explain(self, images: Tensor) -> Explanation:
        """Logits, scores, boxes in the image, and crops of images (B, 3, S, S)."""
        return self.flow(images)

    def forward(self, images: Tensor, targets: Tensor | None = None) -> Any:
        """Classify images, or compute the training loss.

        Args:
            images: (B, 3, S, S).
            targets: Classes (B,), or None.

        Returns:
            Logits (B, classes), or (loss, logits) where there are targets.

        """
        reduction = self.reduction
        if reduction is not None and (self.training or targets is not None):
            reduction.loss()  # of passes that ended without a loss; no term of theirs counts, or stays in memory
        if targets is None:
            return self.flow(images).logits
        loss, logits = self.loss(images, targets)
        own = None if reduction is None else reduction.loss()
        return (loss if own is None else loss + own), logits

    def loss(self, images: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """The training loss, a sum of the cross-entropies of all heads with label smoothing, and the logits."""
        explanation = self.flow(images)
        heads = list(explanation.heads.values()) or [explanation.logits]
        return self.cross_entropy(heads[0], targets, *heads[1:]), explanation.logits

    def cross_entropy(self, logits: Tensor, targets: Tensor, *others: Tensor) -> Tensor:
        """Cross-entropy with label smoothing of logits (B, classes), summed over heads."""
        loss = functional.cross_entropy(logits, targets, label_smoothing=self.label_smoothing)
        for other in others:
            loss = loss + functional.cross_entropy(other, targets, label_smoothing=self.label_smoothing)
        return loss

    def set_norm_eps(self, eps: float) -> None:
        """Set the ε of every LayerNorm; released checkpoints were trained with values of their own."""
        self.norm_eps = self._built_norm_eps = eps
        for module in self.modules():
            if isinstance(module, nn.LayerNorm):
                module.eps = eps
                vars(module).pop("built_eps", None)

    def read_norm_eps(self, eps: float | None) -> None:
        """Set the ε that a file of weights was trained with.

        Args:
            eps: The ε; None for that of the model when it was built, whatever an earlier file set.

        """
        self.norm_eps = self._built_norm_eps if eps is None else eps
        for module in self.modules():
            if isinstance(module, nn.LayerNorm):
                built: float = vars(module).setdefault("built_eps", module.eps)
                module.eps = built if eps is None else eps

    def set_stochastic_depth(self, rate: float) -> None:
        """Set stochastic depth: the probability that a residual branch is dropped in training, the same in every block.

        It has no effect on a network without transformer blocks.
        Source: GLSim, Table 10.

        Args:
            rate: From 0 to 0.999.

        Raises:
            FgbenchError: If the rate is out of range.

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
        """Set the dropout that the model was built with; called when stochastic depth changes."""

    def start_from_backbone(self) -> tuple[str, ...]:
        """Initialise the model's own parameters after the weights of its backbone were loaded.

        Returns:
            First parts of the names of parameters that were initialised although a backbone has them, or from
            parameters of the backbone.

        """
        return ()

    @property
    def takes_head(self) -> bool:
        """Whether the head starts with the weights of the backbone's head, where that has as many classes."""
        return True

    def make_room(self, names: Collection[str]) -> None:
        """Create those buffers of these names that exist only after the first training step."""

    def begin_epoch(self, epoch: int) -> None:
        """Prepare for an epoch of training, counted from 1; training calls it at the beginning of each."""
        if self.reduction is not None:
            self.reduction.begin_epoch(epoch)

    def weights_loaded(self) -> None:
        """Update what follows from weights; called after those of a file were loaded."""

    @property
    def reads_as_backbone(self) -> bool:
        """Whether the head has the same input as timm's head of the backbone, so that its weights can be used."""
        return True

    @property
    def position_grids(self) -> Mapping[str, tuple[int, int]]:
        """Grids of position embeddings beside those of the encoder, by their names. A backbone's file begins them."""
        return {}

    def leaves_out(self, name: str) -> bool:
        """Whether the options of the model leave out a weight of a file; ``name`` is its name in this model."""
        return False

    def adapt(
        self, source: str, weights: Mapping[str, Tensor], metadata: Mapping[str, str]
    ) -> tuple[list[str], Callable[[], None]]:
        """Change the model to the variant that a file was trained as, before its weights are loaded.

        Args:
            source: Name of the format.
            weights: The weights of the file by the names of this model.
            metadata: Metadata of a file of fgbench.

        Returns:
            The changes in words, and a function that undoes them.

        """
        return [], lambda: None

    def refuse_variant(self, option: str, value: object) -> None:
        """Check that a file does not need another variant than an earlier file of this model.

        Args:
            option: An option that :meth:`adapt` can change.
            value: The value that the file needs.

        Raises:
            FgbenchError: If an earlier file has set another value.

        """
        if option in self.adapted and self.adapted[option] != value:
            raise FgbenchError(
                f"an earlier file made a model with {option}={self.adapted[option]!r} of this {type(self).__name__}, "
                f"and this one is of a model with {option}={value!r};",
                do="build a new model for it",
            )

    def step(self, stage: str, run: Callable[..., Result], *args: Any, **options: Any) -> Result:
        """Run a function as a stage of the forward pass.

        Args:
            stage: One of :data:`STAGES`.
            run: The function.
            args: Its arguments.
            options: Its keyword arguments.

        Returns:
            Its result.

        """
        if self.on_step is None:
            return run(*args, **options)
        if stage in NO_STAGES:
            raise FgbenchError("no stage of a model can have this name:", stage)
        result: Result = self.on_step(stage, lambda: run(*args, **options))
        return result

    def use_selector(
        self, selector: str | Selector | None, published: str | None = None, *, depth: int, **options: Any
    ) -> Selector:
        """Make the selector of this model.

        Args:
            selector: A name, an instance (which is copied), or None for the published one.
            published: Name of the selector that the model was published with; ``published_selector`` by default.
            depth: Number of blocks that the selector reads from.
            options: Options of the published selector.

        Returns:
            The selector.

        Raises:
            FgbenchError: If the model cannot select by the shape of its scores.

        """
        published = published or self.published_selector
        choice = published if selector is None else selector
        if isinstance(choice, Selector):  # copied, because the model sets the implementation of its selector
            made, self.selector_name = copy.deepcopy(choice), type(choice).__name__.lower()
        elif not isinstance(choice, str):
            raise FgbenchError("a selector is a name or an instance, got", choice, "such as get('gls', metric='l1')")
        else:
            made = make_selector(choice, self.impl, depth, **(options if choice == published else {}))
            self.selector_name = choice
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
    """Fuse the logits of several heads.

    Args:
        heads: Logits (B, classes) by name.
        rule: ``mean``, the mean of the logits; ``probabilities``, the logarithm of the mean probability, which ranks
            classes as the sum of probabilities does; ``first`` or ``last``, the logits of one head.

    Returns:
        Logits (B, classes).

    Raises:
        FgbenchError: If the rule is unknown.

    """
    logits = list(heads.values())
    if rule == "mean":
        return sum(logits[1:], logits[0]) / len(logits)
    if rule == "probabilities":
        return torch.stack([head.log_softmax(dim=-1) for head in logits]).logsumexp(dim=0) - math.log(len(logits))
    return logits[0 if one_of(rule, "fusion", FUSIONS) == "first" else -1]
