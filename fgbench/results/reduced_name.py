"""Names of models that reduce their tokens: ``vit+evit@0.7``, ``vit+tome+r=13``, ``glsim+topk@0.5+at=4-7``. No torch.

A name says all: the model, the reduction, the share of tokens that is kept, and options. Rows, keys of stores and
tables hold it as the name of the model.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

FILE = "model_file"  # in environments of rows
NONE = "none"  # the reduction of the model itself, beside others
NAME = re.compile(
    r"(?P<model>[\w@./-]+)\+(?P<reduction>[A-Za-z_]\w*)(@(?P<rate>\d*\.?\d+))?(?P<options>(\+\w+=[^+\s]+)*)"
)
NUMBERS = re.compile(r"\d+(-\d+)+")
WORDS = {"true": True, "false": False}


@dataclass(frozen=True, slots=True)
class ReducedName:
    """The parts of such a name.

    Args:
        model: Name of the model without a reduction.
        reduction: Name of the reduction.
        keep_rate: Share of the tokens that is kept; None for that of the reduction's paper.
        options: ``at`` and ``selector``, and the reduction's own options.

    """

    model: str
    reduction: str
    keep_rate: float | None = None
    options: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, name: str) -> ReducedName | None:
        """The parts of a name; None where it is no such name."""
        match = NAME.fullmatch(name)
        if match is None:
            return None
        pairs = [pair.split("=", 1) for pair in match["options"].split("+")[1:]]
        rate = None if match["rate"] is None else float(match["rate"])
        return cls(match["model"], match["reduction"], rate, {key: _value(text) for key, text in pairs})

    @property
    def name(self) -> str:
        """The name in one spelling: options in the order of the alphabet."""
        rate = "" if self.keep_rate is None else f"@{self.keep_rate:g}"
        options = "".join(f"+{key}={_text(value)}" for key, value in sorted(self.options.items()))
        return f"{self.model}+{self.reduction}{rate}{options}"

    @property
    def label(self) -> str:
        """The name as people read it: ``vit evit 0.7``."""
        words = [self.model, self.reduction, *([] if self.keep_rate is None else [f"{self.keep_rate:g}"])]
        return " ".join([*words, *(f"{key}={_text(value)}" for key, value in sorted(self.options.items()))])


def base_model(name: str) -> str:
    """The model of a name, without its reduction."""
    found = ReducedName.of(name)
    return name if found is None else found.model


def model_label(name: str) -> str:
    """A model's name as figures show it."""
    found = ReducedName.of(name)
    return name if found is None else found.label


def reduced_names(models: Iterable[str], reductions: Sequence[str], rates: Sequence[float]) -> list[str]:
    """Every model with every reduction at every rate.

    Args:
        models: Names; one that has a reduction already stays as it is.
        reductions: Names, perhaps with options (``tome+r=13``); ``none`` is the model itself.
        rates: Shares of tokens; none: those of the reductions' papers.

    Returns:
        Names of models, each once, in their order.

    """
    names: dict[str, None] = {}
    for model in models:
        for reduction in reductions:
            if reduction == NONE or ReducedName.of(model) is not None:
                names[model] = None
                continue
            word, _, options = reduction.partition("+")
            more = f"+{options}" if options else ""
            fixed = "@" in word or "r=" in options.split("+")[0:1]
            for rate in rates if rates and not fixed and not re.search(r"(^|\+)r=", options) else [None]:
                typed = f"{model}+{word}{'' if rate is None else f'@{rate:g}'}{more}"
                found = ReducedName.of(typed)
                names[typed if found is None else found.name] = None
    return list(names)


def _value(text: str) -> Any:
    """The value of an option: numbers, true and false, blocks as ``4-7-10``, or a word."""
    if text in WORDS:
        return WORDS[text]
    if NUMBERS.fullmatch(text):
        return tuple(int(part) for part in text.split("-"))
    for read in (int, float):
        try:
            return read(text)
        except ValueError:
            continue
    return text


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (list, tuple)):
        return "-".join(map(str, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def is_function(name: str) -> bool:
    """Whether a name is that of a function which returns a network."""
    return ":" in name


def function_file(name: str) -> dict[str, str]:
    """The file of a model that is a function in a file, for an environment of rows; empty for all others.

    A name says no more than a path that may be relative to any folder.
    """
    place, colon, _ = name.rpartition(":")
    return {FILE: str(Path(place).resolve())} if colon and place.endswith(".py") else {}
