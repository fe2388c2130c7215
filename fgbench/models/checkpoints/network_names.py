"""Weights of any network under its own names, as ``torch.save(network.state_dict(), …)`` writes them."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from fgbench.models.any_network import AnyNetwork
from fgbench.models.checkpoints.format import Format, Weights
from fgbench.models.checkpoints.names import FGBENCH, unwrapped
from fgbench.models.model import Model

HOME = "network."  # first part of these names in the model
WHOLE = "the network's own names"
OWN_NAMES = Format(WHOLE, "", ((r"^", HOME),), as_written=True)
OF_FGBENCH = Format(FGBENCH, "", as_written=True)


def told(name: str, model: Model) -> str:
    """The name of a weight as messages have it: a network's own weights have their own names."""
    return name.removeprefix(HOME) if isinstance(model, AnyNetwork) else name


def base_word(model: Model) -> str:
    """The word for what a file must be of: a network is not built on a backbone."""
    return "network" if isinstance(model, AnyNetwork) else "backbone"


def recognise_network(weights: Mapping[str, Tensor], model: AnyNetwork) -> tuple[Format, Weights] | None:
    """Recognise the weights of a network, which has names of its own.

    Args:
        weights: Weights by the names of the file.
        model: The model that they are for.

    Returns:
        The format, and the weights without the first parts of their names that wrappers have added; None where no name
        is one of the network.

    """
    own = set(model.state_dict())
    found: list[tuple[int, Format, Weights]] = []
    for bare in unwrapped(weights):
        found.append((len(own & set(bare)), OF_FGBENCH, bare))
        found.append((len(own & {f"{HOME}{name}" for name in bare}), OWN_NAMES, bare))
    most, format_, bare = max(found, key=lambda each: each[0])
    return (format_, bare) if most else None
