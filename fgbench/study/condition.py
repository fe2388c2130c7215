"""What a study is made of: conditions, each a way to train a model, and what each is compared with. No torch.

Adding a study takes one function from a :class:`Setting` to conditions, and one line in
:data:`fgbench.study.published.STUDIES`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from fgbench.errors import FgbenchError


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """One line of a study's table: a model, its options and its recipe, trained with every seed."""

    name: str  # for people, unique in its study
    model: str
    selector: str | None = None  # None: the model's own
    backbone: str | None = None  # timm's name; None: as the study, or the data set, has it
    image_size: int | None = None  # pixels; None: as the study, or the data set, has it
    options: Mapping[str, Any] = field(default_factory=dict)  # of the model
    recipe: Mapping[str, Any] = field(default_factory=dict)  # fields that differ from the study's own recipe
    against: str | None = None  # the condition that it is compared with; None: nothing


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What the conditions of a study are made for.

    Attributes:
        models: Names that were asked for; None: those of the study.
        selectors: The same.
        backbones: The same.
        reductions: The same.
        keep_rates: Shares of tokens that reductions keep; none: those of their papers.
        image_sizes: Sides in pixels, one or more; the first is the study's own.
        side_step: Sides of images are multiples of it: the patch size of the backbone, in pixels.
        depth: Number of blocks of the backbone.
        cost: The FLOPs of one image in a condition.
    """

    models: Sequence[str] | None = None
    selectors: Sequence[str] | None = None
    backbones: Sequence[str] | None = None
    reductions: Sequence[str] | None = None
    keep_rates: Sequence[float] = ()
    image_sizes: Sequence[int] = (224,)
    side_step: int = 16
    depth: int = 12
    cost: Callable[[Condition], int] = lambda _: 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Study:
    """A study: its conditions for a setting.

    Attributes:
        name: As it is typed.
        title: Of its table.
        conditions: Function from a setting to conditions.
        takes: What can be asked for beside data and recipe: ``models``, ``selectors``, ``backbones``, ``reductions``,
            ``keep_rates``.
        recipe: Fields of the recipe that all its conditions have.
    """

    name: str
    title: str
    conditions: Callable[[Setting], list[Condition]]
    takes: frozenset[str] = frozenset()
    recipe: Mapping[str, Any] = field(default_factory=dict)

    def planned(self, setting: Setting) -> list[Condition]:
        """Its conditions, checked.

        Raises:
            FgbenchError: Two have one name, or one is compared with what is not there.

        """
        conditions = self.conditions(setting)
        names = [condition.name for condition in conditions]
        for place, condition in enumerate(conditions):
            if condition.name in names[:place]:
                raise FgbenchError(f"study {self.name}: two conditions have the name", condition.name, "rename one")
            if condition.against is not None and condition.against not in names:
                do = f"it has: {', '.join(names)}"
                raise FgbenchError(
                    f"study {self.name}: {condition.name!r} is against a condition that is not there:",
                    condition.against,
                    do,
                )
        return conditions
