"""The names of weights in released files, and ours for the same. No file is touched here."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from fgbench.errors import FgbenchError
from fgbench.models.checkpoints.sniff import shown
from fgbench.models.model import Model
from fgbench.results.reading import parse_json

Weights = dict[str, Tensor]

POSITIONS = "encoder.vit.pos_embed"
SECOND_TOKEN = "second_class_token"

# What names begin with when a model was saved inside another.
WRAPPERS = ("module.", "_orig_mod.", "_forward_module.", "model.", "net.", "backbone.")

TRANSFORMER_BLOCK = (
    (r"\.attention_norm\.", ".norm1."),
    (r"\.ffn_norm\.", ".norm2."),
    (r"\.ffn\.(fc\d)\.", r".mlp.\1."),
    (r"\.attn\.out\.", ".attn.proj."),
    (r"\.attn\.query\.", ".attn.q."),
    (r"\.attn\.key\.", ".attn.k."),
    (r"\.attn\.value\.", ".attn.v."),
)
EMBEDDINGS = (
    (r"^transformer\.embeddings\.patch_embeddings\.", "encoder.vit.patch_embed.proj."),
    (r"^transformer\.embeddings\.position_embeddings$", "encoder.vit.pos_embed"),
    (r"^transformer\.embeddings\.cls_token$", "encoder.vit.cls_token"),
    (r"^transformer\.encoder\.layer\.", "encoder.vit.blocks."),
)


@dataclass(frozen=True, slots=True)
class Format:
    """A way to name weights: how it is recognised, and what its names are called here."""

    name: str
    signature: str  # a name that no other format has
    renames: tuple[tuple[str, str], ...] = ()
    norm_eps: float | None = None  # ε of LayerNorm in the code that trained the file
    ignored: tuple[str, ...] = ()  # names that the code creates and never uses
    backbone_only: bool = False
    model: str | None = None  # the class of the model whose weights these are
    interpolation: str = "bicubic"  # how the code that wrote the file resizes position embeddings
    split_positions: bool = False  # the second position is that of a second class token

    def rename(self, weights: Mapping[str, Tensor], model: Model) -> tuple[Weights, dict[str, str]]:
        """The same weights under the names of our models, and for each of those a name that the file has for it.

        Queries, keys and values of a block become one matrix where all three are there.
        """
        depth = getattr(getattr(model, "encoder", None), "depth", 0)
        renamed: Weights = {}
        origins: dict[str, str] = {}
        for name, tensor in weights.items():
            if name in self.ignored:
                continue
            new = name
            for pattern, replacement in self.renames:
                new = re.sub(pattern, replacement.replace("{last}", str(depth - 1)), new)
            if new in renamed:
                raise FgbenchError(
                    f"{origins[new]} and {name} in the checkpoint have one place in the model:",
                    new,
                    "does its depth fit?",
                )
            renamed[new], origins[new] = tensor, name
        if self.split_positions:
            _split_positions(renamed, origins)
        return _join_projections(renamed, origins), origins


RESNET_IN_SEQUENCE = tuple(
    (rf"^features\.{index}\.", f"features.{name}.")
    for index, name in {0: "conv1", 1: "bn1", 4: "layer1", 5: "layer2", 6: "layer3", 7: "layer4"}.items()
)

GLSIM_BLOCK = (
    (r"(^aggregator|\.blocks\.\d+)\.proj\.", r"\1.attn.proj."),
    (r"\.pwff\.", ".mlp."),
    (r"\.attn\.proj_([qkv])\.", r".attn.\1."),
)
TIMM_VIT = ((r"^(?!head\.|head_dist\.)", "encoder.vit."),)
FGBENCH = "fgbench"
TIMM_FORMAT = "timm ViT"
PORT = "glsim's port to timm"

# The first one whose signature is there is the file's: what models add comes before what all of them have.
FORMATS = (
    Format(
        "glsim",
        "positional_embedding.pos_embedding",
        (
            (r"^class_token$", "encoder.vit.cls_token"),
            (r"^patch_embedding\.", "encoder.vit.patch_embed.proj."),
            (r"^positional_embedding\.pos_embedding$", "encoder.vit.pos_embed"),
            (r"^encoder\.blocks\.", "encoder.vit.blocks."),
            (r"^encoder_norm\.", "encoder.vit.norm."),
            (r"^aggregator\.blocks\.0\.", "aggregator."),
            *GLSIM_BLOCK,
        ),
        norm_eps=1e-12,
        ignored=("anchor_class_token",),
        interpolation="bilinear",
    ),
    Format(
        "rams-trans",
        "transformer.embeddings.cls_token1",
        (
            *EMBEDDINGS,
            (r"^transformer\.embeddings\.cls_token1$", "encoder.vit.cls_token"),
            (r"^transformer\.embeddings\.cls_token2$", "second_class_token"),
            (r"^transformer\.encoder\.part_norm\.", "encoder.vit.norm."),
            (r"^part_head\.", "head."),
            *TRANSFORMER_BLOCK,
        ),
        norm_eps=1e-6,
        model="RAMSTrans",
        interpolation="bilinear",
        split_positions=True,
    ),
    Format(
        "transfg",
        "part_head.weight",
        (
            *EMBEDDINGS,
            (r"^transformer\.encoder\.part_layer\.", "encoder.vit.blocks.{last}."),
            (r"^transformer\.encoder\.part_norm\.", "encoder.vit.norm."),
            (r"^part_head\.", "head."),
            *TRANSFORMER_BLOCK,
        ),
        norm_eps=1e-6,
        model="TransFG",
        interpolation="bilinear",
    ),
    Format(
        "ffvt",
        "transformer.encoder.ff_last_layer.attention_norm.weight",
        (
            *EMBEDDINGS,
            (r"^transformer\.encoder\.ff_last_layer\.", "encoder.vit.blocks.{last}."),
            (r"^transformer\.encoder\.(ff_)?encoder_norm\.", "encoder.vit.norm."),
            *TRANSFORMER_BLOCK,
        ),
        norm_eps=1e-6,
        model="FFVT",
        interpolation="bilinear",
    ),
    Format(
        "plain ViT under TransFG's names",
        "transformer.embeddings.cls_token",
        (*EMBEDDINGS, (r"^transformer\.encoder\.encoder_norm\.", "encoder.vit.norm."), *TRANSFORMER_BLOCK),
        norm_eps=1e-6,
        backbone_only=True,
        model="ViT",
        interpolation="bilinear",
    ),
    Format("cal", "features.0.weight", RESNET_IN_SEQUENCE, model="CAL"),
    Format(
        PORT,
        "cls_token_crops",
        (
            (r"^(?!head\.|aggregator\.|cls_token_crops$)", "encoder.vit."),
            (r"^cls_token_crops$", "crop_class_token"),
            (r"^aggregator\.0\.", "aggregator."),
            (r"^aggregator\.1\.", "aggregator_norm."),
        ),
        model="GLSim",
    ),
    Format(
        "glsim's resnet",
        "encoder.conv1.weight",
        ((r"^encoder\.", "backbone."), (r"^head\.", "backbone.fc.")),
        model="ResNet101",
    ),
    Format(TIMM_FORMAT, "patch_embed.proj.weight", TIMM_VIT, backbone_only=True, model="ViT"),
)


GOOGLE = Format(
    "Google's npz",
    "Transformer/encoder_norm/scale",
    (
        (r"^(opt/target|params)/", ""),
        (r"^cls$", "encoder.vit.cls_token"),
        (r"^embedding/", "encoder.vit.patch_embed.proj/"),
        (r"^Transformer/posembed_input/pos_embedding$", "encoder.vit.pos_embed"),
        (r"^Transformer/encoder_norm/", "encoder.vit.norm/"),
        (r"^Transformer/encoderblock_(\d+)/", r"encoder.vit.blocks.\1."),
        (r"LayerNorm_0/", "norm1/"),
        (r"LayerNorm_2/", "norm2/"),
        (r"MultiHeadDotProductAttention_1/(q|k|v)\w+/", r"attn.\1/"),
        (r"MultiHeadDotProductAttention_1/out/", "attn.proj/"),
        (r"MlpBlock_3/Dense_0/", "mlp.fc1/"),
        (r"MlpBlock_3/Dense_1/", "mlp.fc2/"),
        (r"/(kernel|scale)$", ".weight"),
        (r"/bias$", ".bias"),
    ),
    backbone_only=True,
    model="ViT",
    interpolation="bilinear",
)


def google_weights(arrays: Mapping[str, Any]) -> Weights:
    """Google's arrays as torch has them: outputs first, heads side by side."""
    weights: Weights = {}
    for name, array in arrays.items():
        tensor = torch.from_numpy(array)
        if name.endswith("embedding/kernel"):  # (P, P, 3, D)
            tensor = tensor.permute(3, 2, 0, 1) if tensor.ndim == 4 else tensor
        elif name.endswith("/out/kernel"):  # (H, d, D)
            tensor = tensor.flatten(0, 1).T if tensor.ndim == 3 else tensor
        elif name.endswith("/kernel"):  # (D, H, d) or (D, outputs)
            tensor = tensor.flatten(1).T if tensor.ndim > 1 else tensor
        elif re.search(r"/(query|key|value)/bias$", name):  # (H, d)
            tensor = tensor.flatten()
        weights[name] = tensor.contiguous()
    return weights


def written_options(metadata: Mapping[str, str]) -> dict[str, Any]:
    """The options of a model that stand beside the weights in a file of our own; none where they cannot be read."""
    try:
        options = parse_json(metadata.get("options", "{}"))
    except ValueError:
        return {}
    return options if isinstance(options, dict) else {}


def timm_resnet(model: Model) -> Format:
    """A ResNet of timm's or torchvision's, under the name that the model has for it."""
    home = "features" if hasattr(model, "features") else "backbone"
    return Format("timm ResNet", "conv1.weight", ((r"^", f"{home}."),), backbone_only=True, model="ResNet101")


def recognise(weights: Mapping[str, Tensor], model: Model) -> tuple[Format, Weights] | None:
    """The format of some weights, and the weights without the wrapper of their names. None if it is unknown."""
    own = set(model.state_dict())
    for bare in _unwrapped(weights):
        if len(own & set(bare)) > len(own) // 2:
            return Format(FGBENCH, ""), bare
        for format_ in (*FORMATS, timm_resnet(model)):
            if format_.signature in bare:
                return format_, bare
    for format_ in FORMATS:  # in a wrapper that nobody knows by name
        for prefix in [name.removesuffix(format_.signature) for name in weights if name.endswith(format_.signature)]:
            if prefix.endswith(".") and _is_common(prefix, weights):
                return format_, _without(prefix, dict(weights))
    return None


def _unwrapped(weights: Mapping[str, Tensor]) -> Iterator[Weights]:
    """The weights as they are, and without each wrapper that most of their names have in common."""
    bare = dict(weights)
    yield bare
    while prefix := next((prefix for prefix in WRAPPERS if _is_common(prefix, bare)), None):
        bare = _without(prefix, bare)
        yield bare


def _is_common(prefix: str, weights: Mapping[str, Tensor]) -> bool:
    return sum(name.startswith(prefix) for name in weights) > len(weights) / 2


def _without(prefix: str, weights: Weights) -> Weights:
    """The weights without a prefix of their names. Two of one name then are an error unless they are equal."""
    for name, tensor in weights.items():
        inner = weights.get(f"{prefix}{name}")
        if inner is not None and not (inner.shape == tensor.shape and torch.equal(inner, tensor)):
            raise FgbenchError(
                f"two weights in the checkpoint have one place in the model, {shown(prefix + name)} and",
                shown(name),
                "which of them is meant? save the state dict of the model alone",
            )
    return {name.removeprefix(prefix): tensor for name, tensor in weights.items()}


def _split_positions(renamed: Weights, origins: dict[str, str]) -> None:
    """Give a second class token its position, and leave the others (1, 1 + G², D) to the first and the patches."""
    positions, second = renamed.get(POSITIONS), renamed.get(SECOND_TOKEN)
    if positions is None or second is None or positions.ndim != 3 or positions.shape[1] < 3:
        return  # it cannot fit, and is named as such
    if second.shape != (1, 1, positions.shape[2]):
        raise FgbenchError(f"{origins[SECOND_TOKEN]} must have shape (1, 1, {positions.shape[2]}), got", second.shape)
    renamed[SECOND_TOKEN] = second + positions[:, 1:2]
    renamed[POSITIONS] = torch.cat([positions[:, :1], positions[:, 2:]], dim=1)


def _join_projections(weights: Weights, origins: dict[str, str]) -> Weights:
    """Put queries, keys and values of a block into one matrix, in that order, where all three are there."""
    joined = dict(weights)
    for name in weights:
        match = re.fullmatch(r"(.*\.attn)\.q\.(weight|bias)", name)
        if match is None:
            continue
        stem, kind = match.groups()
        three = [f"{stem}.{letter}.{kind}" for letter in "qkv"]
        if all(part in weights for part in three):
            shapes = [tuple(weights[part].shape) for part in three]
            if len(set(shapes)) > 1 or not shapes[0]:
                found = ", ".join(f"{origins[part]} {shape}" for part, shape in zip(three, shapes, strict=True))
                raise FgbenchError(f"queries, keys and values of a block must have one shape, got {found}")
            joined[f"{stem}.qkv.{kind}"] = torch.cat([joined.pop(part) for part in three])
            origins[f"{stem}.qkv.{kind}"] = origins[name]
    return joined
