"""Weights into models: which fit, which are missing, which nobody asked for."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from timm.layers.pos_embed import resample_abs_pos_embed
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor

from fgbench.errors import FgbenchError
from fgbench.models.checkpoints.files import read_arrays, read_weights, write_weights
from fgbench.models.checkpoints.names import Format, Weights, recognise
from fgbench.models.model import Model

POSITIONS = "encoder.vit.pos_embed"


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadReport:
    """What a file gave to a model. ``unexpected`` and ``ignored`` are the file's own names, all others the model's."""

    format: str
    loaded: tuple[str, ...]
    missing: tuple[str, ...]  # kept as they were
    unexpected: tuple[str, ...]  # in the file, without a place in the model
    ignored: tuple[str, ...] = ()  # in the file, and unused by the code that wrote it
    resized: tuple[str, ...] = ()  # position embeddings of another grid
    norm_eps: float | None = None  # the ε that every LayerNorm was set to

    def __str__(self) -> str:
        """A line per kind, with the names."""
        lines = [f"{len(self.loaded)} weights loaded ({self.format})"]
        for what, names in (
            ("missing, kept as they were", self.missing),
            ("without a place in the model", self.unexpected),
            ("unused by the code that wrote the file", self.ignored),
            ("resized to the model's grid", self.resized),
        ):
            if names:
                lines.append(f"{len(names)} {what}: {', '.join(names)}")
        if self.norm_eps is not None:
            lines.append(f"LayerNorm's ε set to {self.norm_eps:g}, as in the code that wrote the file")
        return "\n".join(lines)


def save_checkpoint(model: Model, path: str | Path, **metadata: str) -> None:
    """Write a model's weights as .safetensors, whole or not at all."""
    write_weights(model.state_dict(), Path(path), {"format": "fgbench", "model": type(model).__name__, **metadata})


def load_checkpoint(model: Model, path: str | Path, *, strict: bool = False) -> LoadReport:
    """Load weights into a model.

    Files: our own .safetensors; what the authors of GLSim, TransFG, FFVT and CAL released; timm's; Google's .npz.
    Released files may be whole or a bare dictionary, their names with or without ``model.``. Position embeddings of
    another grid are resized. Nothing in the file is executed, and the model changes only if all shapes fit.

    What the file lacks keeps its value and is listed in the report; ``strict`` makes that, and what the file has
    too much, an error.

    Raises :class:`FgbenchError` where the file is missing, damaged or holds more than weights, where its names are
    of no known format, or where shapes cannot fit; the message names them.
    """
    path = Path(path)
    if path.suffix == ".npz":
        if strict:
            raise FgbenchError(
                "Google's .npz files hold a backbone, never all of a model:", str(path), "leave strict out"
            )
        return _load_npz(model, path)
    weights = read_weights(path)
    found = recognise(weights, model)
    if found is None:
        some = ", ".join(list(weights)[:3])
        raise FgbenchError(
            f"the names of the weights ({some}, …) are of no known format in",
            str(path),
            "known: fgbench, GLSim, TransFG, FFVT, CAL, timm",
        )
    format_, bare = found
    renamed, origins = format_.rename(bare, model)
    return _put(model, renamed, origins, format_, [name for name in format_.ignored if name in bare], strict)


def _put(
    model: Model, weights: Weights, origins: dict[str, str], format_: Format, ignored: list[str], strict: bool
) -> LoadReport:
    own = model.state_dict()
    if format_.backbone_only:  # its head was trained for other classes
        other = [n for n in weights if _is_head(n) and n in own and weights[n].shape != own[n].shape]
        left_out = {name: weights.pop(name) for name in other}
    else:
        left_out = {}
    resized = _resize_positions(model, weights, own)
    waiting = {name for name in weights if name not in own and _waiting_buffer(model, name)}
    misfits = [
        f"{name} {tuple(weights[name].shape)} in the file, {tuple(tensor.shape)} in the model"
        for name, tensor in own.items()
        if name in weights and weights[name].shape != tensor.shape
    ]
    if misfits:
        raise FgbenchError(f"{len(misfits)} shapes do not fit: {'; '.join(misfits)}")
    loaded = [name for name in own if name in weights]
    if not loaded:
        raise FgbenchError(f"a {format_.name} checkpoint has no weight for a", type(model).__name__)
    surplus = [*left_out, *(name for name in weights if name not in own and name not in waiting)]
    missing = [name for name in own if name not in weights]
    if strict and (missing or surplus):
        what = [f"missing: {', '.join(missing)}"] if missing else []
        what += [f"unexpected: {', '.join(origins[name] for name in surplus)}"] if surplus else []
        raise FgbenchError(f"the checkpoint and the model do not hold the same weights; {'; '.join(what)}")
    with torch.no_grad():
        for name in loaded:
            own[name].copy_(weights[name])
    for name in waiting:
        home, _, leaf = name.rpartition(".")
        setattr(model.get_submodule(home), leaf, weights[name].clone())
    if format_.norm_eps is not None:
        model.set_norm_eps(format_.norm_eps)
    if format_.backbone_only or "crop_class_token" in missing:
        model.start_from_backbone()
    return LoadReport(
        format=format_.name,
        loaded=tuple(loaded) + tuple(sorted(waiting)),
        missing=tuple(missing),
        unexpected=tuple(origins[name] for name in surplus),
        ignored=tuple(ignored),
        resized=tuple(resized),
        norm_eps=format_.norm_eps,
    )


def _resize_positions(model: Model, weights: Weights, own: dict[str, Tensor]) -> list[str]:
    given, wanted = weights.get(POSITIONS), own.get(POSITIONS)
    if given is None or wanted is None or given.shape == wanted.shape or given.ndim != 3:
        return []
    encoder: Any = model.encoder
    prefix = wanted.shape[1] - encoder.num_patches
    side = math.isqrt(max(given.shape[1] - prefix, 0))
    if side < 1 or side * side != given.shape[1] - prefix or given.shape[2] != wanted.shape[2]:
        return []  # it cannot fit, and is named as such
    weights[POSITIONS] = resample_abs_pos_embed(given, list(encoder.grid), [side, side], num_prefix_tokens=prefix)
    return [POSITIONS]


def _is_head(name: str) -> bool:
    return name.startswith("head.") or ".fc." in name


def _waiting_buffer(model: Model, name: str) -> bool:
    """Whether a name is that of a buffer which is empty until training fills it."""
    home, _, leaf = name.rpartition(".")
    try:
        module = model.get_submodule(home)
    except AttributeError:
        return False
    return leaf in module._buffers and module._buffers[leaf] is None


def _load_npz(model: Model, path: Path) -> LoadReport:
    """Google's ViT files, which timm reads; the class token's position and the grid are resized there."""
    arrays = read_arrays(path)
    names = set(arrays)
    vit = getattr(getattr(model, "encoder", None), "vit", None)
    if not isinstance(vit, VisionTransformer):
        raise FgbenchError("Google's .npz files are for vision transformers, not for a", type(model).__name__)
    if not any(name.endswith("embedding/kernel") for name in names):
        raise FgbenchError("the names of the arrays are not those of Google's ViT in", str(path))
    before = {name: tensor.detach().clone() for name, tensor in vit.state_dict().items()}
    try:
        vit.load_pretrained(str(path))
    except Exception as error:
        vit.load_state_dict(before)
        reason = " ".join(str(error).split()) or type(error).__name__
        raise FgbenchError(f"the arrays do not fit the backbone ({reason}):", str(path)) from error
    model.start_from_backbone()
    own = list(model.state_dict())
    loaded = tuple(name for name in own if name.startswith("encoder.vit."))
    positions = next((arrays[name] for name in sorted(names) if name.endswith("pos_embedding")), None)
    moved = positions is not None and positions.shape[-2] != before["pos_embed"].shape[1]
    return LoadReport(
        format="Google's npz",
        loaded=loaded,
        missing=tuple(name for name in own if name not in loaded),
        unexpected=tuple(sorted(name for name in names if name.startswith(("head/", "pre_logits/")))),
        resized=(POSITIONS,) if moved else (),
    )
