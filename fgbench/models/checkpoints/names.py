"""Formats of released files: names of weights in them, and the names of the same weights in our models."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from fgbench.errors import FgbenchError
from fgbench.models.checkpoints.family import JOINT_HEAD, TRANSFORMER, of_family
from fgbench.models.checkpoints.file_kinds import shown
from fgbench.models.checkpoints.format import Format, Weights
from fgbench.models.checkpoints.last_three import ACC_VIT, FAL_VIT
from fgbench.models.checkpoints.part_formats import MPSA, VIT_NET
from fgbench.models.checkpoints.plug_in_names import EARLIER_SWIN, HERBS, PIM, SWIN
from fgbench.models.model import Model
from fgbench.results.reading import parse_json

# First parts of names where a model was saved inside of another module.
WRAPPERS = ("module.", "_orig_mod.", "_forward_module.", "model.", "net.", "backbone.")

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

# SIM-Trans and AA-Trans have the names of TransFG, and some of their own.
PART_BLOCK = (
    (r"^transformer\.encoder\.part_layer\.", "encoder.vit.blocks.{last}."),
    (r"^transformer\.encoder\.part_norm\.", "encoder.vit.norm."),
)
# Modules that the versions of SIM-Trans' code create and do not use, and whether they are norms over the batch.
SIM_TRANS_UNUSED = {
    **{f"embeddings.struct_head.{index}": index in (0, 2) for index in (0, 1, 2, 4)},
    **{f"encoder.part_structure.struct_head.{index}": index == 0 for index in (0, 1)},
    **{f"encoder.part_structure.struct_head_new.{index}": index in (0, 2) for index in (0, 1, 2, 4)},
    "encoder.part_structure.fc1": False,
}
OF_LINEAR, OF_BATCH_NORM = ("weight", "bias"), ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
SIM_TRANS = of_family(
    "sim-trans",
    "transformer.encoder.part_structure.gcn.gc1.weight",
    *PART_BLOCK,
    (r"^transformer\.encoder\.part_structure\.gcn\.gc(\d)\.weight$", r"structure.weight\1"),
    *((rf"^part_head\.{index}\.", f"head.{name}.") for index, name in JOINT_HEAD.items()),
    ignored=(
        "transformer.embeddings.struc_token",
        *(
            f"transformer.{module}.{weight}"
            for module, is_norm in SIM_TRANS_UNUSED.items()
            for weight in (OF_BATCH_NORM if is_norm else OF_LINEAR)
        ),
    ),
    model="SIMTrans",
)
AA_TRANS = of_family(
    "aa-trans",
    "transformer.encoder.part_select.sigma",
    *PART_BLOCK,
    (r"^transformer\.encoder\.part_select\.sigma$", "selector.sigma"),
    (r"^part_head\.", "head."),
    model="AATrans",
)
# DeiT with a reduction of tokens. EViT has timm's names, and ToMe, ATS and Top-K have no weights of their own.
DYNAMIC_VIT = Format(
    "dynamicvit",
    "score_predictor.0.in_conv.0.weight",
    (
        (r"^score_predictor\.", "encoder.reduction.predictors."),
        (r"^(?!head\.|encoder\.reduction\.)", "encoder.vit."),
    ),
    norm_eps=1e-6,
    model="ViT",
    interpolation="bilinear",
)
EVO_VIT = Format(
    "evo-vit",
    "qks.0.qk.weight",
    (
        (r"^(cls_token$|pos_embed$|patch_embed\.|blocks\.|norm\.)", r"encoder.vit.\1"),
        (r"^qks\.(\d+)\.", r"encoder.vit.blocks.\1.attn."),
        (r"^vs\.(\d+)\.", r"encoder.vit.blocks.\1.attn."),
        (r"^norms\.(\d+)\.", r"encoder.vit.blocks.\1.norm1."),
        (r"^projs\.(\d+)\.", r"encoder.vit.blocks.\1.attn.proj."),
        (r"^(norm|head)_cls\.", r"class_\1."),
    ),
    norm_eps=1e-6,
    model="ViT",
    interpolation="bilinear",
)

# The first format whose signature is in a file is that of the file: weights of single models come before common ones.
FORMATS = (
    SIM_TRANS,
    AA_TRANS,
    *(PIM, HERBS, EARLIER_SWIN, SWIN),
    *(MPSA, VIT_NET),
    ACC_VIT,
    FAL_VIT,
    DYNAMIC_VIT,
    EVO_VIT,
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
    of_family(
        "rams-trans",
        "transformer.embeddings.cls_token1",
        (r"^transformer\.embeddings\.cls_token1$", "encoder.vit.cls_token"),
        (r"^transformer\.embeddings\.cls_token2$", "second_class_token"),
        (r"^transformer\.encoder\.part_norm\.", "encoder.vit.norm."),
        (r"^part_head\.", "head."),
        model="RAMSTrans",
        split_positions=True,
    ),
    of_family("transfg", "part_head.weight", *PART_BLOCK, (r"^part_head\.", "head."), model="TransFG"),
    of_family(
        "ffvt",
        "transformer.encoder.ff_last_layer.attention_norm.weight",
        (r"^transformer\.encoder\.ff_last_layer\.", "encoder.vit.blocks.{last}."),
        (r"^transformer\.encoder\.(ff_)?encoder_norm\.", "encoder.vit.norm."),
        model="FFVT",
    ),
    of_family(
        "ielt",
        "encoder.clr_encoder.clr_norm.weight",
        (r"^encoder\.(clr_encoder\.)?clr_layer\.", "cross_layer_block."),
        (r"^encoder\.clr_encoder\.clr_norm\.", "cross_layer_norm."),
        (r"^encoder\.key_layer\.", "encoder.vit.blocks.{last}."),
        (r"^encoder\.key_norm\.", "encoder.vit.norm."),
        root="",
        model="IELT",
        repeated=("encoder.clr_layer.", "encoder.clr_encoder.clr_layer."),
    ),
    of_family(
        "r2-trans",
        "base_model_one.transformer.embeddings.cls_token",
        (r"^base_model_one\.transformer\.encoder\.encoder_norm\.", "encoder.vit.norm."),
        (r"^base_model_one\.head\.", "head."),
        (r"^norm\.", "score_norm."),
        (r"^classifier\.", "pair_head."),
        root=rf"base_model_one\.{TRANSFORMER}",
        model="R2Trans",
    ),
    of_family(
        "plain ViT under TransFG's names",
        "transformer.embeddings.cls_token",
        (r"^transformer\.encoder\.encoder_norm\.", "encoder.vit.norm."),
        backbone_only=True,
        model="ViT",
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
    """Google's arrays as torch's tensors: outputs first, heads side by side."""
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
    """The options of a model in the metadata of a file of fgbench; empty where they cannot be read."""
    try:
        options = parse_json(metadata.get("options", "{}"))
    except ValueError:
        return {}
    return options if isinstance(options, dict) else {}


def timm_resnet(model: Model) -> Format:
    """The format of a ResNet of timm or torchvision for a model."""
    homes = {"features": "features", "pyramid": "pyramid.net"}
    home = next((home for part, home in homes.items() if hasattr(model, part)), "backbone")
    return Format("timm ResNet", "conv1.weight", ((r"^", f"{home}."),), backbone_only=True, model="ResNet101")


def recognise(weights: Mapping[str, Tensor], model: Model) -> tuple[Format, Weights] | None:
    """Recognise the format of weights.

    Args:
        weights: Weights by the names of the file.
        model: The model that they are for.

    Returns:
        The format, and the weights without the common first part of their names; None where the format is unknown.

    """
    own = set(model.state_dict())
    for bare in unwrapped(weights):
        if len(own & set(bare)) > len(own) // 2:
            return Format(FGBENCH, ""), bare
        for format_ in (*FORMATS, timm_resnet(model)):
            if format_.signature in bare:
                return format_, bare
    for format_ in FORMATS:  # inside of a module with any name
        for prefix in [name.removesuffix(format_.signature) for name in weights if name.endswith(format_.signature)]:
            if prefix.endswith(".") and _is_common(prefix, weights):
                return format_, _without(prefix, dict(weights))
    return None


def unwrapped(weights: Mapping[str, Tensor]) -> Iterator[Weights]:
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
