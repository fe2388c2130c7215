"""Any network as a model: one of timm's by its name, or one that a function returns."""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from fgbench.errors import FgbenchError
from fgbench.models.backbone import create_with_timm, for_timm, takes_image_size
from fgbench.models.copies import copy_to
from fgbench.models.model import Explanation, Model
from fgbench.models.options import check_images
from fgbench.models.settings import settings_kept
from fgbench.models.sized import SizedModel

MakeNetwork = Callable[..., nn.Module]


class AnyNetwork(SizedModel):
    """A network that gives logits for images: one pass without selection.

    Args:
        backbone: None, or the name of the network itself: it is its own backbone.
        options: Options of :class:`fgbench.models.sized.SizedModel`. Both implementations are the same; whether weights
            are loaded a function decides itself.

    Raises:
        FgbenchError: If an option is wrong, or the network cannot be built.

    """

    two_impls = False

    def __init__(self, backbone: str | None = None, **options: Any) -> None:
        if backbone not in (None, self.default_backbone):
            raise FgbenchError(f"{self.default_backbone!r} is a network of its own and is not built on", backbone)
        super().__init__(backbone, **options)
        self.network = self.make(pretrained=self.pretrained)

    def make(self, *, pretrained: bool) -> nn.Module:
        """Build the network for :attr:`image_size` and :attr:`num_classes` on torch's default device."""
        raise NotImplementedError

    def flow(self, images: Tensor) -> Explanation:
        """Images → logits."""
        check_images(images, self.image_size)
        return Explanation(self._logits(self.step("pass 1", self.network, images), images))

    def _logits(self, output: Any, images: Tensor) -> Tensor:
        """The logits (B, classes) in the output for images (B, 3, height, width)."""
        return logits_of(output, self.default_backbone, images.shape[0])


class TimmNetwork(AnyNetwork):
    """A classifier of timm, as timm builds it."""

    def make(self, *, pretrained: bool) -> nn.Module:
        """Build it by ``timm.create_model``; for the image size where its family has that option."""
        name = self.default_backbone
        options = {"img_size": for_timm(self.image_size)} if takes_image_size(name) else {}
        return create_with_timm(name, self.num_classes, pretrained=pretrained, **options)

    def flow(self, images: Tensor) -> Explanation:
        """Images → logits, the head as a stage of its own where the network runs so."""
        network: Any = self.network
        if not type(network).forward.__module__.startswith("timm.models.") or not hasattr(network, "forward_head"):
            return super().flow(images)
        check_images(images, self.image_size)
        features = self.step("pass 1", network.forward_features, images)
        return Explanation(self._logits(self.step("fusion", network.forward_head, features), images))


class FunctionNetwork(AnyNetwork):
    """A network that a function returns.

    The function is called without arguments, or with those of ``img_size``, ``num_classes`` and ``pretrained`` that it
    has parameters for.
    """

    function: ClassVar[MakeNetwork]

    def make(self, *, pretrained: bool) -> nn.Module:
        """Call the function on the CPU, as it may read files; a copy of what it returns is in float32 and moved.

        What the function sets in this process ends with it.
        """
        device = torch.get_default_device()
        given = {"img_size": for_timm(self.image_size), "num_classes": self.num_classes, "pretrained": pretrained}
        with settings_kept():
            network = type(self).function(**_fitting(type(self).function, given, self.default_backbone))
        if not isinstance(network, nn.Module):
            raise FgbenchError(f"{self.default_backbone!r} must return an nn.Module, got", type(network).__name__)
        if torch.device(device).type != "meta" and any(weight.is_meta for weight in network.parameters()):
            raise FgbenchError(f"{self.default_backbone!r} returns a network on the meta device, without weights")
        own = {type(module) for module in network.modules()}
        self.built_by = (type(self).function, *sorted(own, key=lambda kind: (kind.__module__, kind.__qualname__)))
        return copy_to(network, device, repr(self.default_backbone))

    @property
    def built_structure(self) -> str:
        """The modules and tensors of the network, which a function may read from a file."""
        modules = [
            f"{name} {type(module).__qualname__} {_options(module)}" for name, module in self.network.named_modules()
        ]
        named = itertools.chain(self.network.named_parameters(), self.network.named_buffers())
        return "\n".join([*modules, *(f"{name} {tuple(tensor.shape)} {tensor.dtype}" for name, tensor in named)])


def timm_network(name: str) -> type[TimmNetwork]:
    """The class of a classifier of timm.

    Args:
        name: timm's name, with a tag or without.

    """
    doc = f"timm's {name}: one pass without selection."
    return type("TimmNetwork", (TimmNetwork,), {"default_backbone": name, "__doc__": doc, "__module__": __name__})


def function_network(name: str, function: MakeNetwork) -> type[FunctionNetwork]:
    """The class of the networks that a function returns.

    Args:
        name: As people type it: ``file.py:function`` or ``package.module:function``.
        function: The function.

    Raises:
        FgbenchError: If it is no function.

    """
    if isinstance(function, type) and issubclass(function, Model):
        raise FgbenchError(
            "a class of a model is a plug-in:", name, "give its file by --plugin and its name by --model"
        )
    if isinstance(function, nn.Module):
        raise FgbenchError("the name after the colon is of a network, write a function that returns it:", name)
    if not callable(function):
        raise FgbenchError("the name after the colon must be of a function that returns a network:", name)
    doc = inspect.getdoc(function) or f"The network that {name} returns."
    attributes = {"default_backbone": name, "function": staticmethod(function), "built_by": (function,)}
    return type("FunctionNetwork", (FunctionNetwork,), {**attributes, "__doc__": doc, "__module__": __name__})


def logits_of(output: Any, name: str, batch_size: int | None = None) -> Tensor:
    """The logits (B, classes) in the output of a network: a tensor, or what is called ``logits``, or a first tensor.

    Args:
        output: What the network returns.
        name: Of the network, in messages.
        batch_size: B, the number of images that the network got; None where it is not known.

    Raises:
        FgbenchError: If there are none, or they are no real numbers in floating point, one row an image.

    """
    logits = output
    if isinstance(output, Mapping):
        logits = output.get("logits")
    elif not isinstance(output, Tensor):
        logits = getattr(output, "logits", output)
    if isinstance(logits, (tuple, list)) and logits:
        logits = logits[0]
    must = f"{name!r} must return logits (batch, classes)"
    if not isinstance(logits, Tensor):
        raise FgbenchError(f"{must}, got", type(output).__name__)
    if logits.dim() != 2 or logits.shape[1] < 1:
        raise FgbenchError(f"{must}, got", tuple(logits.shape))
    if not logits.is_floating_point():
        raise FgbenchError(f"{must} that are real numbers in floating point, got", logits.dtype)
    # A graph of any batch is being recorded, whose number of rows is a symbol.
    is_symbolic = torch.compiler.is_compiling() or torch.jit.is_tracing()  # type: ignore[attr-defined, no-untyped-call]
    if batch_size is not None and not is_symbolic and logits.shape[0] != batch_size:
        raise FgbenchError(f"{must}, a row for each of {batch_size} images, got", tuple(logits.shape))
    return logits


def _options(module: nn.Module) -> str:
    """The options of a module of torch, such as its strides; other modules may write anything there."""
    return module.extra_repr() if type(module).__module__.startswith("torch.nn.") else ""


def _fitting(function: MakeNetwork, given: Mapping[str, Any], name: str) -> dict[str, Any]:
    """The arguments that a function has parameters for. Raises :class:`FgbenchError` for one that needs others."""
    parameters = inspect.signature(function).parameters.values()
    needed = [
        parameter.name
        for parameter in parameters
        if parameter.default is parameter.empty
        and parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
        and (parameter.name not in given or parameter.kind is parameter.POSITIONAL_ONLY)
    ]
    if needed:
        raise FgbenchError(f"{name!r} needs an argument that nobody gives:", needed[0], f"it gets {', '.join(given)}")
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
        return dict(given)
    named = (parameter.name for parameter in parameters if parameter.kind is not parameter.POSITIONAL_ONLY)
    return {name: given[name] for name in named if name in given}
