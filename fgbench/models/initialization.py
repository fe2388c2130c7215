"""Initial weights of layers that no file has, and dropout, as in the released codes."""

from __future__ import annotations

import torch
from torch import nn

from fgbench.errors import FgbenchError
from fgbench.models.encoder import Encoder

# Initial weights of a head: "backbone", those of the backbone's head where it has as many classes, else timm's; or one
# rule of start_linear.
HEAD_INITS = ("backbone", "timm", "linear", "xavier", "zeros")
# Initial weights of a new block: "released", those of the model's released code; or one rule for all linear layers.
BLOCK_INITS = ("released", "timm", "linear", "xavier")
# Places of dropout: the embedded tokens and twice in every MLP; the end of every residual branch; the embedded tokens.
DROPOUT_PLACES = ("mlp", "branches", "embedding")


@torch.no_grad()
def start_linear(layer: nn.Linear, how: str) -> None:
    """Draw the weights of a linear layer.

    Args:
        layer: The layer, with weight (outputs, inputs) and perhaps a bias (outputs,).
        how: ``timm``: normal of standard deviation 0.02 cut at ±2, bias 0. ``linear``: torch's own, weight and bias
            uniform within ±1/√inputs. ``xavier``: uniform within ±√(6/(inputs + outputs)), bias normal of 10⁻⁶.
            ``zeros``: both 0.

    """
    if how == "linear":
        layer.reset_parameters()
        return
    if how == "timm":
        nn.init.trunc_normal_(layer.weight, std=0.02)
    elif how == "xavier":
        nn.init.xavier_uniform_(layer.weight)
    else:
        nn.init.zeros_(layer.weight)
    if layer.bias is not None:
        nn.init.normal_(layer.bias, std=1e-6) if how == "xavier" else nn.init.zeros_(layer.bias)


def start_head(head: nn.Module, how: str) -> None:
    """Draw the weights of every linear layer of a head by a rule of :func:`start_linear`."""
    for layer in head.modules():
        if isinstance(layer, nn.Linear):
            start_linear(layer, how)


def start_block(block: nn.Module, how: str, released: tuple[str, str]) -> None:
    """Draw the weights of a transformer block; its norms become 1 and 0.

    Queries, keys and values in one matrix are drawn as three matrices (D, D); separate biases (EVA) become 0.

    Args:
        block: A timm block.
        how: One of :data:`BLOCK_INITS`.
        released: Rules of the model's released code for the linear layers of the attention and of the MLP.

    """
    attention, mlp = released if how == "released" else (how, how)
    for name, module in block.named_modules():
        if isinstance(module, nn.Linear):
            rule = mlp if name.startswith("mlp.") else attention
            if name.endswith("attn.qkv") and rule == "xavier":
                _start_in_thirds(module)
            else:
                start_linear(module, rule)
        elif hasattr(module, "reset_parameters"):
            module.reset_parameters()
        for bias in ("q_bias", "v_bias"):
            if isinstance(getattr(module, bias, None), nn.Parameter):
                nn.init.zeros_(getattr(module, bias))


def start_norms(encoder: Encoder) -> tuple[str, ...]:
    """Set an encoder's last norm to 1 and 0.

    Returns:
        First parts of the names of its weights.

    """
    for norm in (encoder.vit.norm, encoder.vit.fc_norm):
        if hasattr(norm, "reset_parameters"):
            norm.reset_parameters()
    return "encoder.vit.norm.", "encoder.vit.fc_norm."


@torch.no_grad()
def _start_in_thirds(layer: nn.Linear) -> None:
    for third in layer.weight.chunk(3):
        nn.init.xavier_uniform_(third)
    if layer.bias is not None:
        nn.init.normal_(layer.bias, std=1e-6)


def set_dropout(model: nn.Module, rate: float, place: str) -> None:
    """Set dropout of a transformer: units are dropped in training, and the others are scaled by 1 / (1 − rate).

    Args:
        model: A model of timm's blocks, with ``attn.proj_drop``, ``mlp.drop1``, ``mlp.drop2`` and ``pos_drop``.
        rate: Probability of a unit; 0 switches dropout off.
        place: ``mlp``: on the embedded tokens after their positions are added, after the activation of every MLP and at
            its end. ``branches``: at the end of every attention and MLP. ``embedding``: on the embedded tokens.

    Raises:
        FgbenchError: If the network has none of these places.

    """
    has_place = False
    for module in model.modules():
        attention, mlp = getattr(module, "attn", None), getattr(module, "mlp", None)
        for owner, name, places in (
            (module, "pos_drop", ("mlp", "embedding")),
            (mlp, "drop1", ("mlp",)),
            (mlp, "drop2", ("mlp", "branches")),
            (attention, "proj_drop", ("branches",)),
        ):
            layer = getattr(owner, name, None)
            if isinstance(layer, nn.Dropout):
                layer.p = rate if place in places else 0.0
                has_place = has_place or place in places
    if rate and not has_place:
        raise FgbenchError(f"the backbone has no place ({place}) for dropout of", rate, "leave dropout out")
