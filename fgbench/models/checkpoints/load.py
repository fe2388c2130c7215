"""Weights into models: which fit, which are missing, which nobody asked for."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import timm
import torch
from timm.layers.pos_embed import resample_abs_pos_embed
from torch import Tensor
from torch.nn import functional

from fgbench.errors import FgbenchError
from fgbench.models.checkpoints.arrays import Array
from fgbench.models.checkpoints.files import read_metadata, read_source, write_weights
from fgbench.models.checkpoints.names import (
    FGBENCH,
    GOOGLE,
    POSITIONS,
    TIMM_FORMAT,
    Format,
    Weights,
    google_weights,
    recognise,
    written_options,
)
from fgbench.models.checkpoints.sniff import SAFETENSORS, kind_of, shown
from fgbench.models.glsim import GLSim
from fgbench.models.model import Model
from fgbench.models.options import one_of
from fgbench.options import INTERPOLATIONS
from fgbench.results.reading import parse_json

CLASS_WEIGHTS = re.compile(r"(^|[._])(head|head_dist|fc)\.(weight|bias)$|^feature_center$")  # an entry per class
UNUSED = re.compile(r"(^|\.)(mask_token|num_batches_tracked|feature_center)$")  # no prediction depends on them
FLEXIBLE = "timm's bilinear"  # without aligned corners or antialiasing, as timm resizes those of FlexiViT and RADIO
ALIGNED = ("vit_base_patch16_radio_v3", "vit_huge_patch16_radio_v3")  # the RADIO models whose corners timm aligns
SHOWN = 8  # shapes that do not fit, in one line


class ClassCountError(FgbenchError):
    """The weights of a head for another number of classes."""

    def __init__(self, given: int, wanted: int) -> None:
        self.given, self.wanted = given, wanted
        super().__init__(f"the checkpoint has a head for {given} classes, the model for", wanted)


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadReport:
    """What a file gave to a model. ``unexpected`` and ``ignored`` are the file's own names, all others the model's."""

    format: str
    loaded: tuple[str, ...]
    missing: tuple[str, ...]  # kept as they were; in a file of a backbone alone, drawn as the model draws them
    unexpected: tuple[str, ...]  # in the file, without a place in the model
    ignored: tuple[str, ...] = ()  # in the file, and unused by the code that wrote it
    started: tuple[str, ...] = ()  # not in a file of a backbone alone: drawn anew, or begun where the backbone is
    resized: tuple[str, ...] = ()  # position embeddings of another grid
    grids: tuple[int, int] | None = None  # patches a side in the file and in the model, where those differ
    interpolation: str | None = None  # how they were resized: bilinear (corners aligned) or bicubic
    norm_eps: float | None = None  # the ε that every LayerNorm was set to
    weights: str | None = None  # the key of the set that was read; None: the file has one, at its top or under model
    notes: tuple[str, ...] = ()  # what has to be known about the file: sets that were not read, a suffix that misleads
    backbone_only: bool = False  # a backbone's file, which every model on it can begin from
    other_classes: int | None = None  # of the head in a backbone's file, where the model has another number
    trained_as: str | None = None  # the class of the model that the file is of, where it is another one
    variants: tuple[str, ...] = ()  # what of the model was changed to what the file was trained as
    differences: tuple[str, ...] = ()  # options that the file was trained with, and the model is not built with

    @property
    def unread(self) -> tuple[str, ...]:
        """Weights of the file without a place in the model that would change its predictions."""
        return tuple(name for name in self.unexpected if not UNUSED.search(name))

    @property
    def complete(self) -> bool:
        """Whether the model computes what the file was trained for: nothing is random, and nothing is left out."""
        other = self.trained_as is not None and not self.backbone_only
        return not (self.missing or self.started or self.unread or other)

    def __str__(self) -> str:
        """A line per kind, with the names."""
        lines = [f"{len(self.loaded)} weights loaded ({self.format})"]
        for what, names in (
            ("missing, kept as they were", self.missing),
            ("without a place in the model", self.unexpected),
            ("unused by the code that wrote the file", self.ignored),
            ("started anew or from the backbone", self.started),
            ("resized to the model's grid", self.resized),
        ):
            if names:
                lines.append(f"{len(names)} {what}: {', '.join(names)}")
        if self.grids is not None:
            given, wanted = self.grids
            how = f"{self.interpolation} interpolation" + (" (corners aligned)" * (self.interpolation == "bilinear"))
            lines.append(f"the grid of {given}×{given} positions became {wanted}×{wanted} by {how}")
        if self.norm_eps is not None:
            lines.append(f"LayerNorm's ε set to {self.norm_eps:g}, as in the code that wrote the file")
        if self.trained_as is not None:
            lines.append(f"the file holds the weights of another model: {self.trained_as}")
        return "\n".join([*lines, *self.notes, *self.variants, *self.differences])


def save_checkpoint(model: Model, path: str | Path, **metadata: object) -> None:
    """Write a model's weights as .safetensors, whole or not at all.

    The options that the model was built with and the ε of its norms stand beside them, for :func:`load_checkpoint`.
    """
    about = {"options": json.dumps(model.options, default=str), "norm_eps": json.dumps(model.norm_eps)}
    own = {"format": "fgbench", "model": type(model).__name__, **about}
    write_weights(model.state_dict(), Path(path), {**own, **metadata})


def load_checkpoint(
    model: Model,
    path: str | Path,
    *,
    strict: bool = False,
    weights: str | None = None,
    interpolation: str | None = None,
) -> LoadReport:
    """Load weights into a model.

    Files: our own .safetensors; what the authors of GLSim, its timm port, TransFG, FFVT, RAMS-Trans and CAL
    released; timm's; Google's .npz. Released files may be whole or a bare dictionary, their names with or without
    ``model.``. Nothing in the file is executed, and the model changes only if all shapes fit.

    Position embeddings of another grid are resized as the code does that wrote the file; ``interpolation`` asks for
    ``bilinear`` (corners aligned, as Google, GLSim, TransFG, FFVT and RAMS-Trans do) or ``bicubic`` (timm's) instead.
    A file of GLSim's port to timm turns a GLSim into that variant, and a file that an earlier version wrote for a ViT
    whose class token it read has the ViT read it; the report says so.

    ``weights`` chooses one of several sets in a file: ``"raw"``, ``"ema"`` (an average over training steps) or a key of
    the file, such as ``"teacher"``. By default the set under a usual key (``model``, ``state_dict``, …) is read, else
    the only one; the report's ``weights`` and ``notes`` say which.

    What the file lacks keeps its value and is listed in the report; ``strict`` makes that, and what the file has
    too much, an error. A file of a backbone alone starts the model's own parameters where the backbone is.

    Raises :class:`FgbenchError` where the file is missing, damaged or holds more than weights, where it has several
    sets of weights of equal right, where its names are of no known format, where shapes cannot fit, or where weights
    are not finite or integers in place of real numbers; the message names them.
    """
    path = Path(path)
    if interpolation is not None:
        one_of(interpolation, "interpolation of position embeddings", INTERPOLATIONS)
    source = read_source(path, weights)
    held: Weights = source.tensors or {}
    if source.arrays is not None:
        _check_heads(source.arrays, model)
        held = google_weights(source.arrays)
        found = (GOOGLE, held) if any(name.endswith("embedding/kernel") for name in held) else None
    else:
        found = recognise(held, model)
    if found is None:
        some = ", ".join(map(shown, list(held)[:3]))
        raise FgbenchError(
            f"the names of the weights ({some}, …) are of no known format in",
            str(path),
            "known: fgbench, GLSim, its timm port, TransFG, FFVT, RAMS-Trans, CAL, timm's ViT, ResNets, Google's npz",
        )
    format_, bare = found
    own_file = format_.name == FGBENCH and kind_of(path) == SAFETENSORS
    metadata = read_metadata(path) if own_file else {}
    renamed, origins = format_.rename(bare, model)
    eps = model.norm_eps
    model.read_norm_eps(None)  # parts that the file asks for are made with the model's own
    try:
        variants, undo = model.adapt(format_.name, renamed, metadata)
    except BaseException:
        model.read_norm_eps(eps)
        raise
    try:
        ignored = [name for name in format_.ignored if name in bare]
        asked = interpolation or _interpolation_of(format_, model)
        report = _put(model, renamed, origins, format_, ignored, metadata, strict=strict, interpolation=asked)
    except BaseException:
        undo()
        model.read_norm_eps(eps)
        raise
    differences = (*report.differences, *_other_backbone(source.arch, model))
    return replace(report, weights=source.key, notes=source.notes, variants=tuple(variants), differences=differences)


def _put(
    model: Model,
    weights: Weights,
    origins: dict[str, str],
    format_: Format,
    ignored: list[str],
    metadata: Mapping[str, str],
    *,
    strict: bool,
    interpolation: str,
) -> LoadReport:
    model.make_room(weights.keys())
    own = model.state_dict()
    other_head: Weights = {}
    other_classes = None
    if format_.backbone_only:  # its head was trained for other classes, or to read other tokens; some never take it
        head = [n for n in weights if _is_head(n) and n in own]
        fits = all(weights[n].shape == own[n].shape for n in head)
        other_classes = next((len(weights[n]) for n in head if len(weights[n]) != len(own[n])), None)
        taken = fits and model.reads_as_backbone and model.takes_head
        other_head = {} if taken else {name: weights.pop(name) for name in head}
    grids = _resize_positions(model, weights, own, interpolation)
    misfits = [
        f"{name} {tuple(weights[name].shape)} in the file, {tuple(tensor.shape)} in the model"
        for name, tensor in own.items()
        if name in weights and weights[name].shape != tensor.shape
    ]
    if misfits:
        _check_classes(weights, own)
        more = f"; and {len(misfits) - SHOWN} more" if len(misfits) > SHOWN else ""
        fit = "1 shape does not fit" if len(misfits) == 1 else f"{len(misfits)} shapes do not fit"
        do = "give the backbone and the options that the file was trained with"
        raise FgbenchError(f"{fit}: {'; '.join(misfits[:SHOWN])}{more}", do=do)
    loaded = [name for name in own if name in weights]
    _check_numbers({origins[name]: (weights[name], own[name]) for name in loaded})
    if not loaded:
        raise FgbenchError(f"a {format_.name} checkpoint has no weight for a", type(model).__name__)
    surplus = [*other_head, *(name for name in weights if name not in own)]
    dropped = [name for name in surplus if model.leaves_out(name) or _is_counter((other_head | weights)[name])]
    surplus = [name for name in surplus if name not in dropped]
    missing = [name for name in own if name not in weights]
    if strict and (missing or surplus):
        what = [f"missing: {', '.join(missing)}"] if missing else []
        what += [f"unexpected: {', '.join(origins[name] for name in surplus)}"] if surplus else []
        raise FgbenchError(f"the checkpoint and the model do not hold the same weights; {'; '.join(what)}")
    with torch.no_grad():
        for name in loaded:
            own[name].copy_(weights[name])
    eps = format_.norm_eps if format_.norm_eps is not None else _written_eps(metadata)
    model.read_norm_eps(eps)
    begun: tuple[str, ...] = ()
    if format_.backbone_only:
        begun = model.start_from_backbone()
    elif isinstance(model, GLSim) and "crop_class_token" in missing:
        begun = model.start_crop_token()  # a GLSim file's own is one that its code creates and never uses
    started = [name for name in own if begun and name.startswith(begun)]
    return LoadReport(
        format=format_.name,
        loaded=tuple(name for name in loaded if name not in started),
        missing=tuple(name for name in missing if name not in started),
        unexpected=tuple(origins[name] for name in surplus),
        started=tuple(started),
        ignored=(*ignored, *(origins[name] for name in dropped)),
        resized=() if grids is None else (POSITIONS,),
        grids=grids,
        interpolation=None if grids is None else interpolation,
        norm_eps=eps,
        backbone_only=format_.backbone_only,
        other_classes=other_classes,
        trained_as=_other_model(model, weights, format_, metadata),
        differences=_differences(model, metadata),
    )


def _check_heads(arrays: Mapping[str, Array], model: Model) -> None:
    """Refuse another number of heads, which changes attention and no shape once heads lie side by side."""
    own = getattr(getattr(model, "encoder", None), "num_heads", None)
    kernels = {name: array for name, array in arrays.items() if name.endswith("/query/kernel") and array.ndim == 3}
    for name, array in kernels.items():  # (D, H, d)
        if own is not None and array.shape[1] != own:
            what = f"attention has {array.shape[1]} heads in the checkpoint ({shown(name)}); the model's has"
            raise FgbenchError(what, own, "give the backbone that the file was trained with")


def _other_backbone(arch: str | None, model: Model) -> Iterator[str]:
    """What is said where a file names another backbone of timm's: the same weights may mean another network."""
    own = str(model.options.get("backbone", "")).partition(".")[0]
    if arch is not None and own and timm.is_model(arch.partition(".")[0]) and arch.partition(".")[0] != own:
        yield f"the file names its backbone {shown(arch)}; the model has {own}"


def _other_model(model: Model, weights: Weights, format_: Format, metadata: Mapping[str, str]) -> str | None:
    """The class of the model that the weights are of, where it is not this one's."""
    kinds = {kind.__name__ for kind in type(model).__mro__}
    of = format_.model or metadata.get("model")
    if format_.name == "glsim":
        of = "GLSim" if any(name.startswith("aggregator.") for name in weights) else "ViT"
    return None if of in kinds else of


def _written_eps(metadata: Mapping[str, str]) -> float | None:
    """The ε of every LayerNorm that stands beside the weights in a file of our own."""
    try:
        eps = parse_json(metadata.get("norm_eps", "null"))
    except ValueError:
        return None
    return float(eps) if isinstance(eps, float) and 0 < eps < 1 else None


def _differences(model: Model, metadata: Mapping[str, str]) -> tuple[str, ...]:
    """Options that change what a model computes and that a file of our own was trained with otherwise."""
    options = written_options(metadata)
    own = json.loads(json.dumps(model.options, default=str))
    if metadata.get("norm_eps") == "null":  # trained with timm's; another one is part of the file's options otherwise
        options, own = {**options, "norm_eps": None}, {**own, "norm_eps": model.norm_eps}
    return tuple(
        f"the file was trained with {name}={options[name]}; the model has {name}={value}"
        for name, value in own.items()
        if name in options and options[name] != value
    )


def _resize_positions(
    model: Model, weights: Weights, own: dict[str, Tensor], interpolation: str
) -> tuple[int, int] | None:
    """Resize position embeddings of another grid; its side in the file and in the model where that was done."""
    given, wanted = weights.get(POSITIONS), own.get(POSITIONS)
    if given is None or wanted is None or given.shape == wanted.shape or given.ndim != 3:
        return None
    encoder: Any = model.encoder
    prefix = wanted.shape[1] - encoder.num_patches
    side = math.isqrt(max(given.shape[1] - prefix, 0))
    if side < 1 or side * side != given.shape[1] - prefix or given.shape[2] != wanted.shape[2]:
        return None  # it cannot fit, and is named as such
    resize: Callable[..., Tensor] = resample_abs_pos_embed
    if interpolation == "bilinear":
        resize = _bilinear
    elif interpolation == FLEXIBLE:
        resize = partial(resample_abs_pos_embed, interpolation="bilinear", antialias=False)
    weights[POSITIONS] = resize(given, list(encoder.grid), [side, side], num_prefix_tokens=prefix)
    return side, encoder.grid[0]


def _interpolation_of(format_: Format, model: Model) -> str:
    """How the code that wrote a file resizes position embeddings."""
    name = getattr(getattr(model, "encoder", None), "name", "").partition(".")[0]
    if format_.name != TIMM_FORMAT or not ("flexivit" in name or "radio" in name):
        return format_.interpolation
    return "bilinear" if name in ALIGNED else FLEXIBLE


def _bilinear(positions: Tensor, new_size: list[int], old_size: list[int], num_prefix_tokens: int) -> Tensor:
    """Resize positions (1, P + G², D) bilinearly with corners aligned, which is ``scipy.ndimage.zoom(order=1)``."""
    prefix, patches = positions[:, :num_prefix_tokens], positions[:, num_prefix_tokens:]
    grid = patches.unflatten(1, old_size).permute(0, 3, 1, 2).float()
    resized = functional.interpolate(grid, new_size, mode="bilinear", align_corners=True)
    return torch.cat([prefix, resized.flatten(2).transpose(1, 2).to(positions.dtype)], dim=1)


def _check_numbers(pairs: Mapping[str, tuple[Tensor, Tensor]]) -> None:
    """Refuse numbers that no network was trained to: NaN, infinity, and integers in place of real ones."""
    whole = [name for name, (given, own) in pairs.items() if own.is_floating_point() and not given.is_floating_point()]
    if whole:
        raise FgbenchError(
            f"{len(whole)} weights in the checkpoint are {pairs[whole[0]][0].dtype}, not real numbers:",
            ", ".join(map(shown, whole[:SHOWN])) + (", …" if len(whole) > SHOWN else ""),
            "were they quantised? give the weights that they were made from",
        )
    # A model's own infinity is one that it was built with, such as that of a mask.
    endless = [name for name, (given, own) in pairs.items() if not _is_finite(given) and _is_finite(own)]
    if endless:
        raise FgbenchError(
            f"{len(endless)} weights in the checkpoint have values that are not finite:",
            ", ".join(map(shown, endless[:SHOWN])) + (", …" if len(endless) > SHOWN else ""),
            "nothing can be computed with them",
        )


def _is_finite(tensor: Tensor) -> bool:
    if not tensor.is_floating_point():
        return True
    wide = tensor.float() if tensor.element_size() == 1 else tensor  # torch looks at no 8-bit numbers
    return bool(wide.isfinite().all())


def _check_classes(weights: Weights, own: dict[str, Tensor]) -> None:
    """Say it in one word where all that does not fit is the number of classes."""
    counts = set()
    for name, tensor in own.items():
        if name in weights and weights[name].shape != tensor.shape:
            per_class = CLASS_WEIGHTS.search(name) and weights[name].shape[1:] == tensor.shape[1:]
            counts.add((len(weights[name]), len(tensor)) if per_class else None)
    if len(counts) == 1 and (found := counts.pop()):
        raise ClassCountError(*found)


def _is_counter(tensor: Tensor) -> bool:
    """Whether a tensor is one whole number or truth value, such as the steps of an average: no weight of a model."""
    return tensor.ndim == 0 and not tensor.is_floating_point()


def _is_head(name: str) -> bool:
    return name.startswith(("head.", "head_dist.")) or ".fc." in name
