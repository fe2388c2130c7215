"""Reading and writing weights. Nothing that a file says is executed."""

from __future__ import annotations

import argparse
import os
import pickle
import re
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.torch
import torch
from torch import Tensor

from fgbench.errors import FgbenchError

NESTS = ("model", "state_dict", "state_dict_ema", "model_state_dict")
BESIDE = ("feature_center",)  # what released codes keep next to the state dict


def read_weights(path: Path) -> dict[str, Tensor]:
    """The tensors of a .safetensors file or of one that torch.save wrote, whole or nested.

    Raises :class:`FgbenchError` where the file is missing or damaged, holds no weights, or holds objects that only
    running code could restore.
    """
    if not path.is_file():
        raise FgbenchError("no checkpoint file", str(path), "give the path of a .safetensors, .pth or .npz file")
    if path.suffix == ".safetensors":
        try:
            return safetensors.torch.load_file(path)
        except (OSError, ValueError, safetensors.SafetensorError) as error:
            raise _damaged(path, error) from error
    held = _unpickle(path)
    beside: dict[str, Tensor] = {}
    while nest := next((n for n in NESTS if isinstance(held, Mapping) and isinstance(held.get(n), Mapping)), None):
        beside |= {name: value for name, value in _tensors(held).items() if name in BESIDE}
        held = held[nest]
    weights = _tensors(held)
    if not weights:
        raise FgbenchError("no weights in the checkpoint", str(path), "a dictionary of tensors was expected")
    weights |= beside
    for name, tensor in weights.items():
        if why := _no_weight(tensor):
            raise FgbenchError(f"{name} in the checkpoint is no weight but {why}:", str(path))
    return weights


def write_weights(weights: Mapping[str, Tensor], path: Path, metadata: Mapping[str, object]) -> None:
    """Write tensors as .safetensors, whole or not at all."""
    if path.suffix != ".safetensors":
        raise FgbenchError("a checkpoint is written as .safetensors, not as", path.name)
    plain: dict[str, Tensor] = {}
    homes: set[int] = set()
    for name, tensor in weights.items():
        plain[name] = tensor.detach().cpu().contiguous()
        home = plain[name].untyped_storage().data_ptr()
        if home in homes:  # tied weights are written once each: the format knows no ties
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
    """What stands beside the tensors of a .safetensors file; errors as of :func:`read_weights`."""
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            return dict(file.metadata() or {})
    except (OSError, ValueError, safetensors.SafetensorError) as error:
        raise _damaged(path, error) from error


def read_arrays(path: Path) -> dict[str, np.ndarray[Any, Any]]:
    """The arrays of a NumPy .npz file; objects in it are refused."""
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as held:
            return {name: held[name] for name in held.files}
    except FileNotFoundError:
        raise FgbenchError("no checkpoint file", str(path)) from None
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, AttributeError, TypeError) as error:
        raise _damaged(path, error) from error


def _unpickle(path: Path) -> Any:
    with torch.serialization.safe_globals(_harmless()):
        try:
            return torch.load(path, map_location="cpu", weights_only=True)
        except pickle.UnpicklingError as error:
            refused = re.search(r"(?:GLOBAL|class|function) (\S+)", str(error))
            what = refused[1].strip("`'") if refused else " ".join(str(error).split())[:120]
            raise FgbenchError(
                f"the checkpoint holds more than weights ({what}) and was not loaded:",
                str(path),
                "nothing in it was run; save its state dict alone",
            ) from error
        except Exception as error:  # a damaged archive raises whatever its reader trips over
            raise _damaged(path, error) from error


def _harmless() -> list[Any]:
    """What released files hold beside tensors: the arguments of the training run, and NumPy numbers in its log."""
    rebuild, scalar = np.zeros(1).__reduce__()[0], np.float64(0).__reduce__()[0]
    dtypes = [type(np.dtype(code)) for code in ("f2", "f4", "f8", "i4", "i8", "?")]
    homes = ("numpy.core.multiarray", "numpy._core.multiarray")
    named = [(rebuild, f"{home}._reconstruct") for home in homes] + [(scalar, f"{home}.scalar") for home in homes]
    return [argparse.Namespace, np.ndarray, np.dtype, *dtypes, *named]


def _no_weight(tensor: Tensor) -> str | None:
    """What is wrong with a tensor as a weight; one that repeats a few stored numbers could fill any memory."""
    if tensor.layout != torch.strided or tensor.is_meta or tensor.is_complex() or tensor.is_quantized:
        return f"a {tensor.layout}, {tensor.dtype} tensor on {tensor.device}"
    if tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
        return f"a view of shape {tuple(tensor.shape)} on fewer numbers"
    return None


def _tensors(held: Any) -> dict[str, Tensor]:
    items = held.items() if isinstance(held, Mapping) else ()
    return {name: value for name, value in items if isinstance(name, str) and isinstance(value, Tensor)}


def _damaged(path: Path, error: Exception) -> FgbenchError:
    reason = " ".join(str(error).split())[:160] or type(error).__name__
    return FgbenchError(f"the checkpoint cannot be read ({reason}):", str(path), "is it whole?")
