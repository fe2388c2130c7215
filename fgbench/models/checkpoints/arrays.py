"""Read the arrays of NumPy's .npz files; sizes are checked before memory is allocated."""

from __future__ import annotations

import math
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy

from fgbench.errors import FgbenchError
from fgbench.models.checkpoints.file_kinds import damaged, shown

Array = np.ndarray[Any, Any]

NO_WEIGHTS = {  # by NumPy's letter for a kind of dtype
    "c": "complex numbers",
    "U": "text",
    "S": "text",
    "T": "text",
    "M": "dates",
    "m": "spans of time",
    "V": "raw bytes or records",
    "O": "Python objects, which were not restored",
}
PRECISE = {2: np.float16, 4: np.float32, 8: np.float64}  # floats that torch has, by their bytes
ROOM, RATIO = 2**30, 50  # bytes that every archive may unpack to; above them, the largest multiple of its own size


def read_arrays(path: Path) -> dict[str, Array]:
    """Read the arrays of an .npz file. Pickled objects are not restored.

    Args:
        path: The file.

    Returns:
        Arrays by name, in the machine's byte order and in dtypes that torch has.

    Raises:
        FgbenchError: If the file is damaged, a header claims more than the file holds, or an array holds no real
            numbers.

    """
    arrays: dict[str, Array] = {}
    try:
        with zipfile.ZipFile(path) as archive:
            members = [member for member in archive.infolist() if not member.is_dir()]
            check_room(path, members)
            for member in members:
                name = member.filename.removesuffix(".npy")
                with archive.open(member) as file:
                    arrays[name] = _read(path, name, file, member.file_size)
    except FgbenchError:
        raise
    except Exception as error:  # a damaged archive raises any exception of its reader
        raise damaged(path, error) from error
    if len(arrays) < len(members):
        raise FgbenchError("several arrays have one name in the checkpoint", str(path))
    return arrays


def plain(array: Array) -> Array:
    """The array in the machine's byte order and in a dtype that torch has.

    Raises:
        ValueError: If it holds no real numbers; the message names what it holds.

    """
    if what := NO_WEIGHTS.get(array.dtype.kind):
        raise ValueError(f"{what} ({shown(array.dtype)})")
    wanted = array.dtype.newbyteorder("=")
    if array.dtype.kind == "f":
        wanted = np.dtype(PRECISE.get(array.dtype.itemsize, np.float64))
    fit: Array = np.ascontiguousarray(array, dtype=wanted).reshape(array.shape)
    return fit


def check_room(path: Path, members: list[zipfile.ZipInfo]) -> None:
    """Check that an archive does not unpack to far more than its size, as no weights do.

    Args:
        path: The archive.
        members: Its members.

    Raises:
        FgbenchError: If it does.

    """
    unpacked = sum(member.file_size for member in members)
    packed = path.stat().st_size
    if unpacked > ROOM and unpacked > RATIO * packed:
        raise FgbenchError(
            f"the checkpoint has {packed:,} bytes and would unpack to {unpacked:,}:", str(path), "it was not unpacked"
        )


def _read(path: Path, name: str, file: IO[bytes], size: int) -> Array:
    """One member of an archive; ``size`` is how many bytes it unpacks to."""
    start = file.read(len(npy.MAGIC_PREFIX))
    if start != npy.MAGIC_PREFIX:
        raise FgbenchError(f"{shown(name)} in the checkpoint is no array:", str(path), "leave it out of the archive")
    file.seek(0)
    version = npy.read_magic(file)
    # The third version differs in the names of records' fields alone, and records are no weights.
    read_header = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    shape, _, dtype = read_header(file)
    if what := NO_WEIGHTS.get(dtype.kind):
        do = "JAX writes bfloat16 so; save it as float32" if dtype.str == "|V2" else ""
        raise FgbenchError(f"{shown(name)} in the checkpoint is no weight but {what} ({shown(dtype)}):", str(path), do)
    claimed, held = math.prod(shape) * dtype.itemsize, size - file.tell()
    if min(shape, default=0) < 0 or claimed != held:
        raise FgbenchError(
            f"{shown(name)} in the checkpoint claims the shape {shown(shape)}, {claimed:,} bytes, and has {held:,}:",
            str(path),
        )
    file.seek(0)
    return plain(npy.read_array(file, allow_pickle=False))


def numbers_of(held: Mapping[Any, Any]) -> dict[str, Array]:
    """The arrays of numbers in a dictionary, by name; keys that are no text are left out."""
    return {
        name: plain(value)
        for name, value in held.items()
        if isinstance(name, str) and isinstance(value, np.ndarray) and value.dtype.kind not in NO_WEIGHTS
    }
