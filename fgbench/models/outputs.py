"""The outputs of any network by their names: what engines compute, and what is compared between them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from numpy.typing import NDArray
from torch import Tensor, nn

from fgbench.models.any_network import logits_of
from fgbench.models.model import Model

OUTPUTS = ("logits", "selected", "boxes")


class Outputs(nn.Module):
    """A network whose outputs have names: ``logits``, and ``selected`` and ``boxes`` where it selects.

    Args:
        network: A published model, or any network that gives logits.

    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Run the network.

        Args:
            images: (B, 3, S, S).

        Returns:
            ``logits`` (B, classes); of a published model also what its forward pass computes of ``selected``, indices
            of tokens (B, …, K), and ``boxes``, pixels (B, K, 4).

        Raises:
            FgbenchError: If there are no logits.

        """
        network = self.network
        if not isinstance(network, Model) or type(network).flow is Model.flow:
            return {"logits": logits_of(network(images), type(network).__name__)}
        result = network.flow(images)
        named = {name: getattr(result, name) for name in OUTPUTS}
        return {name: value for name, value in named.items() if value is not None}


def to_arrays(outputs: Mapping[str, Tensor]) -> dict[str, NDArray[Any]]:
    """Named tensors as arrays on the host; numbers in half precision become float32."""
    return {
        name: (value.float() if value.is_floating_point() else value).detach().cpu().numpy()
        for name, value in outputs.items()
    }
