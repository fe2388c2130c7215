"""The kind of a file by its first bytes, whatever its suffix."""

from __future__ import annotations

import codecs
import stat
import tarfile
import zipfile
from pathlib import Path

from fgbench.errors import FgbenchError, no_checkpoint

SAFETENSORS, TORCH, NPZ = "safetensors", "torch", "npz"  # kinds of files that weights are read from

HEAD = 4096  # bytes that are read
SHOWN = 3  # members of an archive in a message
LONGEST_NAME = 80  # characters of a name in a message
SAFETENSORS_HEADER = 10**8  # bytes; the format allows no more
TORCH_MAGIC = b"\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19"  # in files that torch.save wrote before it wrote zip archives
SAVE_STATE_DICT = "save the model's state_dict with torch.save, or as .safetensors"
UNPACK = "unpack it, and give the file in it"
# First bytes of files, the kind of the file, and advice.
MAGIC: tuple[tuple[bytes, str, str], ...] = (
    (b"version https://git-lfs", "a Git LFS pointer, not the file that it stands for", "fetch that with git lfs pull"),
    (b"version https://hawser", "a Git LFS pointer, not the file that it stands for", "fetch that with git lfs pull"),
    (b"\x1f\x8b", "a gzip archive", UNPACK),
    (b"BZh", "a bzip2 archive", UNPACK),
    (b"\xfd7zXZ\x00", "an xz archive", UNPACK),
    (b"\x28\xb5\x2f\xfd", "a zstd archive", UNPACK),
    (b"\x04\x22\x4d\x18", "an lz4 archive", UNPACK),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive", UNPACK),
    (b"Rar!", "a rar archive", UNPACK),
    (b"\x93NUMPY", "a single NumPy array (.npy)", "weights have names: save them as .npz"),
    (b"\x89HDF\r\n\x1a\n", "an HDF5 file, as Keras and TensorFlow write it", SAVE_STATE_DICT),
    (b"GGUF", "a GGUF file", SAVE_STATE_DICT),
    (b"\x89PNG", "a PNG picture", ""),
    (b"\xff\xd8\xff", "a JPEG picture", ""),
    (b"GIF8", "a GIF picture", ""),
    (b"II*\x00", "a TIFF picture", ""),
    (b"MM\x00*", "a TIFF picture", ""),
    (b"RIFF", "a RIFF file, such as a WebP picture", ""),
    (b"%PDF", "a PDF document", ""),
    (b"SQLite format 3\x00", "an SQLite file, such as a store of fgbench", ""),
    (b"\x7fELF", "a program", ""),
    (b"PAR1", "a Parquet file", ""),
    (b"MATLAB 5.0", "a MATLAB file", "save the weights as .npz"),
)


def kind_of(path: Path) -> str:
    """The kind of a file of weights: ``SAFETENSORS``, ``TORCH`` or ``NPZ``.

    Raises:
        FgbenchError: If there is no such file, it cannot be read, or it is of another kind, which the message names.

    """
    try:
        mode = path.stat().st_mode
        if not stat.S_ISREG(mode):
            raise _is(path, _irregular(mode), "name a file in it" if stat.S_ISDIR(mode) else "")
        size = path.stat().st_size
        with path.open("rb") as file:
            head = file.read(HEAD)
            file.seek(max(0, size - 8))
            tail = file.read(8)
    except (FileNotFoundError, NotADirectoryError):
        raise no_checkpoint(path) from None
    except (OSError, ValueError) as error:  # a name that is too long, or has a null byte
        raise FgbenchError(
            "cannot read the checkpoint", str(path), getattr(error, "strerror", "") or str(error)
        ) from None
    if head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return _kind_of_zip(path)
    if head[8:9] == b"{" and int.from_bytes(head[:8], "little") <= SAFETENSORS_HEADER:
        return SAFETENSORS
    if head.startswith(b"\x80") and TORCH_MAGIC in head[:32]:
        return TORCH
    raise _is(path, *_other(path, head, tail))


def _irregular(mode: int) -> str:
    kinds = ((stat.S_ISDIR, "a folder"), (stat.S_ISFIFO, "a pipe"), (stat.S_ISSOCK, "a socket"))
    return next((name for test, name in kinds if test(mode)), "a device")


def _kind_of_zip(path: Path) -> str:
    try:
        with zipfile.ZipFile(path) as archive:
            names = [name for name in archive.namelist() if not name.endswith("/")]
    except Exception as error:  # a damaged archive raises any exception of its reader
        raise damaged(path, error) from error
    ends = {name.rpartition("/")[2] for name in names}
    if "data.pkl" in ends:
        if "constants.pkl" in ends:
            raise _is(path, "a TorchScript archive, which holds code", SAVE_STATE_DICT)
        return TORCH
    if any(name.endswith(".npy") for name in names):
        return NPZ
    if "archive_format" in ends:
        raise _is(path, "an archive of torch.export", SAVE_STATE_DICT)
    if "model.weights.h5" in ends:
        raise _is(path, "a Keras archive", SAVE_STATE_DICT)
    if not names:
        raise _is(path, "an empty archive", "")
    more = ", …" if len(names) > SHOWN else ""
    raise _is(path, f"a zip archive ({', '.join(map(shown, names[:SHOWN]))}{more})", UNPACK)


def _other(path: Path, head: bytes, tail: bytes) -> tuple[str, str]:
    """The kind of a file that weights are not read from, and advice."""
    if not head:
        return "an empty file", "was it downloaded whole?"
    for magic, what, do in MAGIC:
        if head.startswith(magic):
            return what, do
    if head[257:262] == b"ustar":
        return _tar(path)
    if head.startswith(b"\x80") and head[1:2] <= b"\x05":
        return "a pickle that torch.save did not write, and was not run", SAVE_STATE_DICT
    if head[4:8] == b"TFL3":
        return "a TensorFlow Lite file", SAVE_STATE_DICT
    if tail == b"\x57\xfb\x80\x8b\x24\x75\x47\xdb":
        return "the index of a TensorFlow checkpoint", SAVE_STATE_DICT
    if path.suffix.lower() == ".onnx" or (head[:1] == b"\x08" and head[2:3] == b"\x12" and b"torch" in head[:16]):
        return "an ONNX file", SAVE_STATE_DICT
    if not head.strip(b"\x00"):
        return "a file that begins with nothing but zeros", "was it downloaded whole?"
    return _text(head) or ("binary data of an unknown kind", "known: .safetensors, .pth and .npz files")


def _tar(path: Path) -> tuple[str, str]:
    try:
        with tarfile.open(path, "r:") as archive:
            names = [member.name for member in archive]
    except (OSError, tarfile.TarError):
        names = []
    if {"pickle", "storages", "tensors"} <= set(names):
        return "a tar archive as torch.save wrote it before 2017", "load it with torch and save its state_dict again"
    return f"a tar archive ({', '.join(map(shown, names[:SHOWN]))}{', …' if len(names) > SHOWN else ''})", UNPACK


def _text(head: bytes) -> tuple[str, str] | None:
    wide = "utf-16" if head.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8-sig"
    try:  # the last character may be cut off
        text = codecs.getincrementaldecoder(wide)().decode(head).lstrip()
    except UnicodeDecodeError:
        return None
    if not all(character.isprintable() or character.isspace() for character in text):
        return None
    start = text[:200].lower()
    if start.startswith("<") and ("<!doctype html" in start or "<html" in start):
        return "an HTML page, not the file that it speaks of", "download the file itself"
    if start.startswith("<?xml"):
        return "an XML file", "was the download refused?"
    if "weight_map" in text:
        return "the index of weights in several files", "join them into one .safetensors file"
    words = " ".join(text.split())[:40]
    if "annex/objects/" in start:
        return "a git-annex pointer, not the file that it stands for", "fetch that with git annex get"
    return ("a JSON file" if start.startswith(("{", "[")) else "a text file") + f" that begins with {words!r}", ""


def shown(name: object) -> str:
    """A name from a file for a message: short, and without control characters."""
    text = str(name)
    text = text if len(text) <= LONGEST_NAME else text[: LONGEST_NAME - 1] + "…"
    return text if text.isprintable() else repr(text)


def _is(path: Path, what: str, do: str) -> FgbenchError:
    return FgbenchError(f"the checkpoint is {what}:", str(path), do)


def damaged(path: Path, error: Exception) -> FgbenchError:
    """The error for a file that cannot be read.

    Args:
        path: The file.
        error: The exception of its reader.

    """
    reason = " ".join(str(error).split())[:160] or type(error).__name__
    return FgbenchError(f"the checkpoint cannot be read ({reason}):", str(path), "is it whole?")
