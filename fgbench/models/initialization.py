"""How weights that no file has begin, and dropout: what the released codes do before and during training."""

from __future__ import annotations

import torch
from torch import nn

from fgbench.errors import FgbenchError
from fgbench.models.encoder import Encoder

# Of a head: the backbone's own where it has as many classes, timm's draw where not; or as start_linear draws it.
HEAD_INITS = ("backbone", "timm", "linear", "xavier", "zeros")
# Of a block that is drawn anew: as the model's released code draws it, or all linear layers by one rule.
BLOCK_INITS = ("released", "timm", "linear", "xavier")
# Where dropout acts: on the embedded tokens and twice in every MLP; at the end of every residual branch; on the
# embedded tokens alone.
DROPOUT_PLACES = ("mlp", "branches", "embedding")


@torch.no_grad()
def start_linear(layer: nn.Linear, how: str) -> None:
    """Draw a linear layer anew.

    Args:
        layer: weight (outputs, inputs), maybe a bias (outputs,).
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
    """Draw every linear layer of a head anew."""
    for layer in head.modules():
        if isinstance(layer, nn.Linear):
            start_linear(layer, how)


def start_block(block: nn.Module, how: str, released: tuple[str, str]) -> None:
    """Draw a transformer block anew; its norms become 1 and 0.

    ``how`` is one of :data:`BLOCK_INITS`; ``released`` are the rules of the model's code for the linear layers of the
    attention and of the MLP. Queries, keys and values in one matrix are drawn as three matrices of (D, D) are, and
    biases of their own (EVA) become 0.
    """
    attention, mlp = released if how == "released" else (how, how)
    for name, module in block.named_modules():
        if isinstance(module, nn.Linear):
            own = mlp if name.startswith("mlp.") else attention
            if name.endswith("attn.qkv") and own == "xavier":
                _start_in_thirds(module)
            else:
                start_linear(module, own)
        elif hasattr(module, "reset_parameters"):
            module.reset_parameters()
        for bias in ("q_bias", "v_bias"):
            if isinstance(getattr(module, bias, None), nn.Parameter):
                nn.init.zeros_(getattr(module, bias))


def start_norms(encoder: Encoder) -> tuple[str, ...]:
    """Set an encoder's last norm to 1 and 0, wherever timm keeps it; returns the beginnings of its weights' names."""
    for norm in (encoder.vit.norm, encoder.vit.fc_norm):
        if hasattr(norm, "reset_parameters"):
            norm.reset_parameters()
    return "encoder.vit.norm.", "encoder.vit.fc_norm."


@torch.no_grad()
def _start_in_thirds(layer: nn.Linear) -> None:
    for part in layer.weight.chunk(3):
        nn.init.xavier_uniform_(part)
    if layer.bias is not None:
        nn.init.normal_(layer.bias, std=1e-6)


def set_dropout(model: nn.Module, rate: float, place: str) -> None:
    """Drop units of a transformer with this probability in training; what is kept is scaled by 1 / (1 − rate).

    Args:
        model: of timm's blocks, with ``attn.proj_drop``, ``mlp.drop1``, ``mlp.drop2``, and a ``pos_drop`` before them.
        rate: probability of a unit; 0 switches dropout off.
        place: ``mlp``: on the embedded tokens, their positions added, behind the activation of every MLP and at its
            end. ``branches``: at the end of every attention and of every MLP. ``embedding``: on the embedded tokens.

    Raises:
        FgbenchError: where the network has none of these places.

    """
    found = False
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
                found = found or place in places
    if rate and not found:
        raise FgbenchError(f"the backbone has no place ({place}) for dropout of", rate, "leave dropout out")
