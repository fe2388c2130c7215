"""Weights into models: which fit, which are missing, which nobody asked for."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from timm.layers.pos_embed import resample_abs_pos_embed
from torch import Tensor

from fgbench.errors import FgbenchError
from fgbench.models.checkpoints.files import read_source, write_weights
from fgbench.models.checkpoints.names import GOOGLE, Format, Weights, google_weights, recognise
from fgbench.models.checkpoints.sniff import shown
from fgbench.models.model import Model

CLASS_WEIGHTS = re.compile(r"(^|[._])(head|fc)\.(weight|bias)$|^feature_center$")  # an entry per class
POSITIONS = "encoder.vit.pos_embed"
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
    missing: tuple[str, ...]  # kept as they were
    unexpected: tuple[str, ...]  # in the file, without a place in the model
    ignored: tuple[str, ...] = ()  # in the file, and unused by the code that wrote it
    started: tuple[str, ...] = ()  # not in a file of a backbone alone: drawn anew, or begun where the backbone is
    resized: tuple[str, ...] = ()  # position embeddings of another grid
    norm_eps: float | None = None  # the ε that every LayerNorm was set to
    weights: str | None = None  # the key of the set that was read; None: the file has one, at its top or under model
    notes: tuple[str, ...] = ()  # what has to be known about the file: sets that were not read, a suffix that misleads

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
        if self.norm_eps is not None:
            lines.append(f"LayerNorm's ε set to {self.norm_eps:g}, as in the code that wrote the file")
        return "\n".join([*lines, *self.notes])


def save_checkpoint(model: Model, path: str | Path, **metadata: object) -> None:
    """Write a model's weights as .safetensors, whole or not at all."""
    write_weights(model.state_dict(), Path(path), {"format": "fgbench", "model": type(model).__name__, **metadata})


def load_checkpoint(model: Model, path: str | Path, *, strict: bool = False, weights: str | None = None) -> LoadReport:
    """Load weights into a model.

    Files: our own .safetensors; what the authors of GLSim, TransFG, FFVT and CAL released; timm's; Google's .npz.
    Released files may be whole or a bare dictionary, their names with or without ``model.``. Position embeddings of
    another grid are resized. Nothing in the file is executed, and the model changes only if all shapes fit.

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
    source = read_source(path, weights)
    held: Weights = source.tensors or {}
    if source.arrays is not None:
        held = google_weights(source.arrays)
        found = (GOOGLE, held) if any(name.endswith("embedding/kernel") for name in held) else None
    else:
        found = recognise(held, model)
    if found is None:
        some = ", ".join(map(shown, list(held)[:3]))
        raise FgbenchError(
            f"the names of the weights ({some}, …) are of no known format in",
            str(path),
            "known: fgbench, GLSim, TransFG, FFVT, CAL, timm, Google's npz",
        )
    format_, bare = found
    renamed, origins = format_.rename(bare, model)
    report = _put(model, renamed, origins, format_, [name for name in format_.ignored if name in bare], strict)
    return replace(report, weights=source.key, notes=source.notes)


def _put(
    model: Model, weights: Weights, origins: dict[str, str], format_: Format, ignored: list[str], strict: bool
) -> LoadReport:
    model.make_room(weights.keys())
    own = model.state_dict()
    # A backbone's head was trained for other classes.
    head = [n for n in weights if _is_head(n) and n in own and weights[n].shape != own[n].shape]
    other_head = {name: weights.pop(name) for name in head} if format_.backbone_only else {}
    resized = _resize_positions(model, weights, own)
    misfits = [
        f"{name} {tuple(weights[name].shape)} in the file, {tuple(tensor.shape)} in the model"
        for name, tensor in own.items()
        if name in weights and weights[name].shape != tensor.shape
    ]
    if misfits:
        _check_classes(weights, own)
        more = f"; and {len(misfits) - SHOWN} more" if len(misfits) > SHOWN else ""
        raise FgbenchError(f"{len(misfits)} shapes do not fit: {'; '.join(misfits[:SHOWN])}{more}")
    loaded = [name for name in own if name in weights]
    _check_numbers({origins[name]: (weights[name], own[name]) for name in loaded})
    if not loaded:
        raise FgbenchError(f"a {format_.name} checkpoint has no weight for a", type(model).__name__)
    surplus = [*other_head, *(name for name in weights if name not in own)]
    missing = [name for name in own if name not in weights]
    if strict and (missing or surplus):
        what = [f"missing: {', '.join(missing)}"] if missing else []
        what += [f"unexpected: {', '.join(origins[name] for name in surplus)}"] if surplus else []
        raise FgbenchError(f"the checkpoint and the model do not hold the same weights; {'; '.join(what)}")
    with torch.no_grad():
        for name in loaded:
            own[name].copy_(weights[name])
    if format_.norm_eps is not None:
        model.set_norm_eps(format_.norm_eps)
    begun: tuple[str, ...] = ()
    # In a GLSim file the crop's token is one that its code creates and never uses.
    if format_.backbone_only or "crop_class_token" in missing:
        begun = model.start_from_backbone()
    started = [name for name in own if begun and name.startswith(begun)]
    return LoadReport(
        format=format_.name,
        loaded=tuple(name for name in loaded if name not in started),
        missing=tuple(name for name in missing if name not in started),
        unexpected=tuple(origins[name] for name in surplus),
        started=tuple(started),
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


def _is_head(name: str) -> bool:
    return name.startswith("head.") or ".fc." in name
