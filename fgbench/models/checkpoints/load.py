"""Load weights into models, and report which are loaded, missing or unexpected; save the weights of a model."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import timm
import torch
from torch import Tensor

from fgbench.errors import FgbenchError
from fgbench.models.any_network import AnyNetwork
from fgbench.models.checkpoints.arrays import Array
from fgbench.models.checkpoints.file_kinds import SAFETENSORS, kind_of, shown
from fgbench.models.checkpoints.files import read_metadata, read_source, write_weights
from fgbench.models.checkpoints.format import POSITIONS, Format, Weights, encoder_of, placed
from fgbench.models.checkpoints.names import FGBENCH, GOOGLE, google_weights, recognise, written_options
from fgbench.models.checkpoints.network_names import base_word, recognise_network, told
from fgbench.models.checkpoints.positions import interpolation_of, resize_positions
from fgbench.models.glsim import GLSim
from fgbench.models.model import Model
from fgbench.models.options import one_of
from fgbench.options import INTERPOLATIONS
from fgbench.results.reading import parse_json

# Weights that have an entry per class.
CLASS_WEIGHTS = re.compile(r"(^|[._])(head|head_dist|fc|predict|class_norm)\.(weight|bias)$|^feature_center$")
UNUSED = re.compile(r"(^|\.)(mask_token|num_batches_tracked|feature_center)$")  # no prediction depends on them
SHOWN = 8  # shapes that do not fit, in one line


class ClassCountError(FgbenchError):
    """The weights of a head for another number of classes."""

    def __init__(self, given: int, wanted: int) -> None:
        self.given, self.wanted = given, wanted
        super().__init__(f"the checkpoint has a head for {given} classes, the model for", wanted)


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadReport:
    """The result of loading a file.

    Names in ``unexpected`` and ``ignored`` are those of the file, all others those of the model.

    Args:
        format: Name of the format.
        loaded: Weights that were loaded.
        missing: Weights that the file lacks: they keep their values, or are drawn where the file holds a backbone only.
        unexpected: Weights of the file that the model does not have.
        ignored: Weights of the file that the code which wrote it does not use.
        started: Weights that a file of a backbone lacks and that were drawn, or copied from the backbone.
        resized: Position embeddings that were resized.
        grids: Patches per side in the file and in the model, where they differ.
        interpolation: How they were resized: ``bilinear`` (corners aligned) or ``bicubic``.
        norm_eps: The ε that every LayerNorm was set to.
        weights: The key of the set of weights in the file; None where it has only one, at its top or under ``model``.
        notes: Remarks about the file, such as other sets of weights or a wrong suffix.
        backbone_only: Whether the file holds a backbone only, which every model on it can start from.
        other_classes: Number of classes of the head in a backbone's file, where the model has another number.
        trained_as: Class of the model that the file belongs to, where it is another one.
        variants: Changes of the model to the variant that the file was trained as, in words.
        differences: Options that the file was trained with and the model does not have, in words.

    """

    format: str
    loaded: tuple[str, ...]
    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    ignored: tuple[str, ...] = ()
    started: tuple[str, ...] = ()
    resized: tuple[str, ...] = ()
    grids: tuple[int, int] | None = None
    interpolation: str | None = None
    norm_eps: float | None = None
    weights: str | None = None
    notes: tuple[str, ...] = ()
    backbone_only: bool = False
    other_classes: int | None = None
    trained_as: str | None = None
    variants: tuple[str, ...] = ()
    differences: tuple[str, ...] = ()

    @property
    def unread(self) -> tuple[str, ...]:
        """Unexpected weights of the file that would change predictions."""
        return tuple(name for name in self.unexpected if not UNUSED.search(name))

    @property
    def complete(self) -> bool:
        """Whether the model computes what it was trained for: no weight is random, missing or left out."""
        other = self.trained_as is not None and not self.backbone_only
        return not (self.missing or self.started or self.unread or other)

    def __str__(self) -> str:
        """A line for each kind of weights, with their names."""
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
    """Write the weights of a model as .safetensors, with its options and the ε of its norms as metadata.

    Args:
        model: The model.
        path: The file; its name ends in .safetensors.
        metadata: Further metadata.

    Raises:
        FgbenchError: If the file cannot be written.

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

    Formats: .safetensors of fgbench; the released files of GLSim, its timm port, TransFG, FFVT, RAMS-Trans, IELT,
    R2-Trans, SIM-Trans, AA-Trans, PIM, HERBS, MPSA, ViT-NeT, ACC-ViT, FAL-ViT, CAL, DynamicViT and Evo-ViT; files of
    timm; Google's .npz; for a network of timm or of a function its own ``state_dict()``, which must fit entirely. A
    released file may be a whole checkpoint or only weights, with or without ``model.`` before their names. No code in
    the file is executed, and the model changes only if all shapes fit.

    A file of GLSim's port to timm changes a GLSim to that variant. A file of an earlier version for a ViT that read the
    class token changes the ViT so. A file of a backbone initialises the model's own parameters from the backbone. The
    report lists these changes, and the weights that the file lacks, which keep their values.

    Args:
        model: The model, which is changed.
        path: The file.
        strict: Whether missing and unexpected weights are an error.
        weights: The set of weights where a file has several: ``"raw"``, ``"ema"`` (an average over training steps) or a
            key of the file, such as ``"teacher"``. By default the set under a usual key (``model``, ``state_dict``, …),
            else the only one.
        interpolation: How position embeddings are resized: ``bilinear`` (corners aligned, as Google, GLSim, TransFG,
            FFVT, RAMS-Trans, IELT, R2-Trans, SIM-Trans, AA-Trans, PIM, ACC-ViT and FAL-ViT do) or ``bicubic`` (timm
            does); by default as the code that wrote the file does.

    Returns:
        A report of the weights.

    Raises:
        FgbenchError: If the file is missing, damaged or holds more than weights, has several sets of weights of equal
            right, has names of no known format, shapes that do not fit, or weights that are no finite real numbers.

    """
    path = Path(path)
    if interpolation is not None:
        one_of(interpolation, "interpolation of position embeddings", INTERPOLATIONS)
    source = read_source(path, weights)
    held: Weights = source.tensors or {}
    if source.arrays is not None:
        _check_heads(source.arrays, model)
        held = google_weights(source.arrays)
        recognised = (GOOGLE, held) if any(name.endswith("embedding/kernel") for name in held) else None
    else:
        recognised = recognise_network(held, model) if isinstance(model, AnyNetwork) else recognise(held, model)
    if recognised is None:
        examples = ", ".join(map(shown, list(held)[:3]))
        if isinstance(model, AnyNetwork):
            own = ", ".join(list(model.network.state_dict())[:3])
            what = f"the weights ({examples}, …) have no names of the network's weights ({own}, …) in"
            raise FgbenchError(what, str(path), "save the network's own state_dict()")
        raise FgbenchError(
            f"the names of the weights ({examples}, …) are of no known format in",
            str(path),
            "known: fgbench, GLSim, its timm port, TransFG, FFVT, RAMS-Trans, IELT, R2-Trans, SIM-Trans, AA-Trans, "
            "PIM, HERBS, MPSA, ViT-NeT, ACC-ViT, FAL-ViT, CAL, DynamicViT, Evo-ViT, timm's ViT, Swin, ResNets, "
            "Google's npz",
        )
    format_, bare = recognised
    own_file = format_.name == FGBENCH and kind_of(path) == SAFETENSORS
    metadata = read_metadata(path) if own_file else {}
    renamed, origins = format_.rename(bare, model)
    eps = model.norm_eps
    model.read_norm_eps(None)  # modules that the file needs are built with the model's own ε
    try:
        variants, undo = model.adapt(format_.name, renamed, metadata)
    except BaseException:
        model.read_norm_eps(eps)
        raise
    try:
        ignored = [name for name in bare if format_.ignores(name)]
        how = interpolation or interpolation_of(format_, model)
        report = _put(model, renamed, origins, format_, ignored, metadata, strict=strict, interpolation=how)
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
    if format_.backbone_only:  # its head was trained for other classes or other tokens, or the model starts its own
        head = [n for n in weights if _is_head(n) and n in own]
        fits = all(weights[n].shape == own[n].shape for n in head)
        other_classes = next((len(weights[n]) for n in head if len(weights[n]) != len(own[n])), None)
        taken = fits and model.reads_as_backbone and model.takes_head
        other_head = {} if taken else {name: weights.pop(name) for name in head}
    grids = resize_positions(model, weights, own, interpolation, spread=format_.backbone_only)
    origins |= {name: origins[POSITIONS] for name in model.position_grids if name in weights and name not in origins}
    misfits = [
        f"{told(name, model)} {tuple(weights[name].shape)} in the file, {tuple(tensor.shape)} in the model"
        for name, tensor in own.items()
        if name in weights and weights[name].shape != tensor.shape
    ]
    if misfits:
        _check_classes(weights, own, int(model.num_classes) if isinstance(model, AnyNetwork) else None)
        more = f"; and {len(misfits) - SHOWN} more" if len(misfits) > SHOWN else ""
        fit = "1 shape does not fit" if len(misfits) == 1 else f"{len(misfits)} shapes do not fit"
        do = f"give the {base_word(model)} and the options that the file was trained with"
        raise FgbenchError(f"{fit}: {'; '.join(misfits[:SHOWN])}{more}", do=do)
    loaded = [name for name in own if name in weights]
    _check_numbers({origins[name]: (weights[name], own[name]) for name in loaded})
    if not loaded:
        raise FgbenchError(f"a {format_.name} checkpoint has no weight for a", type(model).__name__)
    surplus = [*other_head, *(name for name in weights if name not in own)]
    dropped = [name for name in surplus if model.leaves_out(name) or _is_counter((other_head | weights)[name])]
    surplus = [name for name in surplus if name not in dropped]
    missing = [name for name in own if name not in weights]
    lacking = missing if strict else [name for name in missing if not UNUSED.search(name)]
    if (strict or format_.as_written) and (lacking or surplus):
        what = [f"missing: {_first([told(name, model) for name in lacking])}"] if lacking else []
        what += [f"unexpected: {_first([origins[name] for name in surplus])}"] if surplus else []
        raise FgbenchError(f"the checkpoint and the model do not hold the same weights; {'; '.join(what)}")
    with torch.no_grad():
        for name in loaded:
            own[name].copy_(weights[name])
    model.weights_loaded()
    eps = format_.norm_eps if format_.norm_eps is not None else _written_eps(metadata)
    model.read_norm_eps(eps)
    begun: tuple[str, ...] = ()
    if format_.backbone_only:
        begun = model.start_from_backbone()
    elif isinstance(model, GLSim) and "crop_class_token" in missing:
        begun = model.start_crop_token()  # the code of GLSim creates one and does not use it
    started = [name for name in own if begun and name.startswith(begun)]
    return LoadReport(
        format=format_.name,
        loaded=tuple(name for name in loaded if name not in started),
        missing=tuple(name for name in missing if name not in started),
        unexpected=tuple(origins[name] for name in surplus),
        started=tuple(started),
        ignored=(*ignored, *(origins[name] for name in dropped)),
        resized=tuple(grids),
        grids=grids.get(placed(POSITIONS, model)),
        interpolation=interpolation if grids else None,
        norm_eps=eps,
        backbone_only=format_.backbone_only,
        other_classes=other_classes,
        trained_as=_other_model(model, weights, format_, metadata),
        differences=_differences(model, metadata),
    )


def _check_heads(arrays: Mapping[str, Array], model: Model) -> None:
    """Raise an error for another number of heads, which changes attention but not the shapes of matrices."""
    own = getattr(encoder_of(model), "num_heads", None)
    kernels = {name: array for name, array in arrays.items() if name.endswith("/query/kernel") and array.ndim == 3}
    for name, array in kernels.items():  # (D, H, d)
        if own is not None and array.shape[1] != own:
            what = f"attention has {array.shape[1]} heads in the checkpoint ({shown(name)}); the model's has"
            raise FgbenchError(what, own, "give the backbone that the file was trained with")


def _other_backbone(arch: str | None, model: Model) -> Iterator[str]:
    """A remark where a file names another backbone of timm: the same weights can belong to another network."""
    own = str(model.options.get("backbone", "")).partition(".")[0]
    if arch is not None and own and timm.is_model(arch.partition(".")[0]) and arch.partition(".")[0] != own:
        yield f"the file names its backbone {shown(arch)}; the model has {own}"


def _other_model(model: Model, weights: Weights, format_: Format, metadata: Mapping[str, str]) -> str | None:
    """The class of the model that the weights belong to, where it is another one."""
    kinds = {kind.__name__ for kind in type(model).__mro__}
    of = format_.model or metadata.get("model")
    if format_.name == "glsim":
        of = "GLSim" if any(name.startswith("aggregator.") for name in weights) else "ViT"
    return None if of in kinds else of


def _written_eps(metadata: Mapping[str, str]) -> float | None:
    """The ε of every LayerNorm in the metadata of a file of fgbench."""
    try:
        eps = parse_json(metadata.get("norm_eps", "null"))
    except ValueError:
        return None
    return float(eps) if isinstance(eps, float) and 0 < eps < 1 else None


def _differences(model: Model, metadata: Mapping[str, str]) -> tuple[str, ...]:
    """Options that change what a model computes and that differ from those in a file of fgbench, in words."""
    options = written_options(metadata)
    own = json.loads(json.dumps(model.options, default=str))
    if metadata.get("norm_eps") == "null":  # trained with timm's; another one is part of the file's options otherwise
        options, own = {**options, "norm_eps": None}, {**own, "norm_eps": model.norm_eps}
    return tuple(
        f"the file was trained with {name}={options[name]}; the model has {name}={value}"
        for name, value in own.items()
        if name in options and options[name] != value
    )


def _check_numbers(pairs: Mapping[str, tuple[Tensor, Tensor]]) -> None:
    """Raise an error for NaN, infinity, and integers in place of real numbers."""
    whole = [name for name, (given, own) in pairs.items() if own.is_floating_point() and not given.is_floating_point()]
    if whole:
        raise FgbenchError(
            f"{len(whole)} weights in the checkpoint are {pairs[whole[0]][0].dtype}, not real numbers:",
            _first(whole),
            "were they quantised? give the weights that they were made from",
        )
    # An infinity in the model itself was built in, such as that of a mask.
    infinite = [name for name, (given, own) in pairs.items() if not _is_finite(given) and _is_finite(own)]
    if infinite:
        raise FgbenchError(
            f"{len(infinite)} weights in the checkpoint have values that are not finite:",
            _first(infinite),
            "nothing can be computed with them",
        )


def _first(names: Sequence[str]) -> str:
    return ", ".join(map(shown, names[:SHOWN])) + (", …" if len(names) > SHOWN else "")


def _is_finite(tensor: Tensor) -> bool:
    if not tensor.is_floating_point():
        return True
    wide = tensor.float() if tensor.element_size() == 1 else tensor  # torch looks at no 8-bit numbers
    return bool(wide.isfinite().all())


def _check_classes(weights: Weights, own: dict[str, Tensor], classes: int | None) -> None:
    """Raise an error of its own where only the number of classes does not fit; ``classes`` of a head of any name."""
    counts = set()
    for name, tensor in own.items():
        if name in weights and weights[name].shape != tensor.shape:
            is_head = CLASS_WEIGHTS.search(name) or tensor.shape[:1] == (classes,)
            per_class = is_head and weights[name].ndim and weights[name].shape[1:] == tensor.shape[1:]
            counts.add((len(weights[name]), len(tensor)) if per_class else None)
    if len(counts) == 1 and (given_and_own := counts.pop()):
        raise ClassCountError(*given_and_own)


def _is_counter(tensor: Tensor) -> bool:
    """Whether a tensor is one whole number or boolean, such as the steps of an average: no weight of a model."""
    return tensor.ndim == 0 and not tensor.is_floating_point()


def _is_head(name: str) -> bool:
    return name.startswith(("head.", "head_dist.")) or ".fc." in name
