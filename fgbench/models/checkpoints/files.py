"""Read and write files of weights. No code in a file is executed."""

from __future__ import annotations

import os
import pickle
import re
import tempfile
import warnings
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from fgbench.errors import FgbenchError
from fgbench.models.checkpoints.arrays import Array, check_room, read_arrays
from fgbench.models.checkpoints.file_kinds import NPZ, SAFETENSORS, TORCH, damaged, kind_of, shown
from fgbench.models.checkpoints.sets import RAW, TOP, choose, is_dense
from fgbench.models.checkpoints.unpickling import restored

KINDS = {SAFETENSORS: "a safetensors file", TORCH: "a file that torch.save wrote", NPZ: "an .npz file"}
SUFFIXES = {
    ".safetensors": SAFETENSORS,
    ".npz": NPZ,
    **dict.fromkeys((".pth", ".pt", ".bin", ".ckpt", ".pkl", ".tar"), TORCH),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """The weights of a file.

    Args:
        tensors: Tensors by name; None for an .npz file.
        arrays: Arrays of an .npz file by name.
        key: The key of the weights in the file, where there are several sets.
        notes: Remarks about the file, in words.
        arch: The name of the backbone that timm's training script wrote beside the weights.

    """

    tensors: dict[str, Tensor] | None = None
    arrays: dict[str, Array] | None = None
    key: str | None = None
    notes: tuple[str, ...] = ()
    arch: str | None = None


def read_source(path: Path, wanted: str | None = None) -> Source:
    """Read the weights of a .safetensors file, a file of torch.save, or an .npz file, whatever its suffix.

    Args:
        path: The file.
        wanted: The set of weights where there are several: ``"raw"``, ``"ema"`` or a key of the file; see
            :func:`fgbench.models.checkpoints.sets.choose`.

    Returns:
        The weights.

    Raises:
        FgbenchError: If the file is missing, damaged or of another kind, holds no weights or several sets of equal
            right, or holds objects that only code could restore.

    """
    kind = kind_of(path)
    notes: tuple[str, ...] = ()
    if SUFFIXES.get(path.suffix.lower(), kind) != kind:
        notes = (f"the file is {KINDS[kind]}, whatever its suffix says, and is read as such",)
    if kind == NPZ:
        arrays = read_arrays(path)
        if not arrays:
            raise FgbenchError("no weights in the checkpoint", str(path), "it is an empty archive")
        if wanted not in (None, RAW, TOP):
            raise FgbenchError(f"an .npz file has one set of weights, and none is called {wanted!r}:", str(path))
        return Source(arrays=arrays, notes=notes)
    if kind == SAFETENSORS and read_metadata(path).get("format") == "fgbench" and wanted in (None, RAW):
        return Source(tensors=read_weights(path), notes=notes)
    held = _load_safetensors(path) if kind == SAFETENSORS else _unpickle(path)
    chosen = choose(held, wanted, path)
    _check(chosen.weights, path)
    said, arch = chosen.note(), held.get("arch")
    return Source(
        tensors=chosen.weights,
        key=chosen.key,
        notes=(*notes, said) if said else notes,
        arch=arch if isinstance(arch, str) else None,
    )


def read_weights(path: Path) -> dict[str, Tensor]:
    """Read all tensors of a .safetensors file; errors as of :func:`read_source`."""
    if kind_of(path) != SAFETENSORS:
        raise FgbenchError("no safetensors file:", str(path))
    weights = _load_safetensors(path)
    _check(weights, path)
    return weights


def write_weights(weights: Mapping[str, Tensor], path: Path, metadata: Mapping[str, object]) -> None:
    """Write tensors as .safetensors; an existing file is replaced at the end, or stays as it is.

    Args:
        weights: Tensors by name.
        path: The file; its name ends in .safetensors.
        metadata: Texts beside the tensors.

    Raises:
        FgbenchError: If the file cannot be written.

    """
    if path.suffix != ".safetensors":
        raise FgbenchError("a checkpoint is written as .safetensors, not as", path.name)
    plain: dict[str, Tensor] = {}
    homes: set[int] = set()
    for name, tensor in weights.items():
        plain[name] = tensor.detach().cpu().contiguous()
        home = plain[name].untyped_storage().data_ptr()
        if home in homes:  # tied weights are written several times: the format has no ties
            plain[name] = plain[name].clone()
        homes.add(home)
    try:
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".fgbench-", suffix=".safetensors")
        os.close(handle)
        try:
            safetensors.torch.save_file(plain, temporary, metadata={key: str(value) for key, value in metadata.items()})
            umask = os.umask(0)
            os.umask(umask)
            Path(temporary).chmod(0o666 & ~umask)
            with Path(temporary).open("rb") as file:
                os.fsync(file.fileno())
            Path(temporary).replace(path)
        finally:
            Path(temporary).unlink(missing_ok=True)
    except (OSError, safetensors.SafetensorError) as error:
        raise FgbenchError(f"the checkpoint cannot be written: {error}", str(path)) from error


def read_metadata(path: Path) -> dict[str, str]:
    """Read the metadata of a .safetensors file; errors as of :func:`read_weights`."""
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            return dict(file.metadata() or {})
    except (OSError, ValueError, safetensors.SafetensorError) as error:
        raise damaged(path, error) from error


def _load_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        return safetensors.torch.load_file(path)
    except Exception as error:  # a damaged file raises any exception of its reader
        raise damaged(path, error) from error


def _unpickle(path: Path) -> Any:
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            check_room(path, archive.infolist())
    with torch.serialization.safe_globals(restored()), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Detected pickle protocol")  # what cannot be read is refused below
        try:
            with path.open("rb") as file:  # given a path, torch goes by its suffix
                return torch.load(file, map_location="cpu", weights_only=True)
        except pickle.UnpicklingError as error:
            if operand := re.search(r"Unsupported operand \d+", str(error)):
                raise FgbenchError(
                    f"the checkpoint is a pickle that only running it could read ({operand[0].lower()}):",
                    str(path),
                    "save it with torch's own pickle_protocol (2), or as .safetensors",
                ) from error
            refused = re.search(r"(?:GLOBAL|class|function) (\S+)", str(error))
            what = refused[1].strip("`'>") if refused else " ".join(str(error).split())[:120]
            raise FgbenchError(
                f"the checkpoint holds more than weights ({what}) and was not loaded:",
                str(path),
                "nothing in it was run; save its state dict alone",
            ) from error
        except Exception as error:  # a damaged archive raises any exception of its reader
            raise damaged(path, error) from error


def _check(weights: Mapping[str, Tensor], path: Path) -> None:
    for name, tensor in weights.items():
        if why := _no_weight(name, tensor, weights):
            raise FgbenchError(f"{shown(name)} in the checkpoint is no weight but {why}:", str(path))


def _no_weight(name: str, tensor: Tensor, weights: Mapping[str, Tensor]) -> str | None:
    if tensor.layout != torch.strided or tensor.is_meta or tensor.is_complex() or tensor.is_quantized:
        return f"a {tensor.layout}, {tensor.dtype} tensor on {tensor.device}"
    if not is_dense(tensor):
        return f"a view of shape {tuple(tensor.shape)} on fewer numbers"
    if tensor.element_size() == 1 and tensor.is_floating_point():
        stem = name.removesuffix("weight")
        if scale := next(
            (other for other in weights if other.startswith(stem) and "scale" in other[len(stem) :]), None
        ):
            return f"{tensor.dtype} numbers that {shown(scale)} scales"
    return None
