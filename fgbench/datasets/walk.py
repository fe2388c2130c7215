"""Images below folders: each real file once, and a count of all files and links that are left out."""

from __future__ import annotations

import functools
import mimetypes
import os
import stat
from collections import deque
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import NoReturn, TypeAlias

from PIL import Image

from fgbench.datasets.dataset import DatasetError, decode, readable
from fgbench.datasets.files import listed
from fgbench.datasets.images import quiet

# Formats that Pillow registers, and decodes only with another program or not at all.
DOUBTFUL = frozenset(("BUFR", "EPS", "GRIB", "HDF5", "MPEG", "WMF"))
# Formats that are recognised by their first bytes in files without a known suffix.
BY_CONTENT = (
    "JPEG",
    "PNG",
    "GIF",
    "WEBP",
    "TIFF",
    "BMP",
    "AVIF",
    "JPEG2000",
    "PPM",
    "PSD",
    "DDS",
    "QOI",
    "ICNS",
    "SGI",
)
# Folders that operating systems create: thumbnails, deleted files, metadata of another system.
SYSTEM_FOLDERS = frozenset(
    (
        *("__MACOSX", "@eaDir", "@Recycle", "#recycle", "#snapshot", "$RECYCLE.BIN", "System Volume Information"),
        *("lost+found", "__pycache__"),
    )
)
# Copies and incomplete downloads of other files.
BACKUPS = frozenset((".bak", ".old", ".orig", ".tmp", ".part", ".crdownload"))
# Raw files of cameras. Many begin like a TIFF whose first page is a thumbnail.
RAW_SUFFIXES = frozenset(
    ".3fr .arw .cr2 .cr3 .dcr .dng .erf .iiq .kdc .mef .mrw .nef .nrw .orf .pef .raf .rw2 .rwl .srf .srw .x3f".split()
)
UNREAD_SUFFIXES = RAW_SUFFIXES | {".heic", ".heif", ".hif", ".svg", ".svgz", ".jxl", ".jxr", ".ai"}
SHOWN = 3  # names that a note shows
MOST_BESIDE = 100_000  # largest number of files outside of the splits that are examined

# Reasons to leave a file out, in words for one file and for several.
HIDDEN = ("hidden file", "hidden files")
SYSTEM = ("file in a folder of the system", "files in folders of the system")
BESIDE = ("file beside the class folders", "files beside the class folders")
FOREIGN = ("file whose suffix is not an image's", "files whose suffix is not an image's")
UNREAD = ("image of a format that Pillow does not read", "images of formats that Pillow does not read")
NO_IMAGE = ("file that is no image", "files that are no images")
EMPTY = ("empty file", "empty files")
SPECIAL = ("pipe, socket or device", "pipes, sockets or devices")
SAME_IMAGE = ("other name of an image that is there already", "other names of images that are there already")
SAME_IMAGE_OTHER_CLASS = (
    "other name, in a second class, of an image that keeps its first class",
    "other names, in a second class, of images that keep their first class",
)
BROKEN = ("link that leads to nothing", "links that lead to nothing")
LOOP = ("link to a folder that it lies in", "links to folders that they lie in")
SAME_FOLDER = ("link to a folder that is there already", "links to folders that are there already")

Reason: TypeAlias = tuple[str, str]
Id: TypeAlias = tuple[int, int]  # device and inode
Parts: TypeAlias = tuple[str, ...]  # parts of a path below the root


class Walk:
    """The images of some splits, ``<split>/<class>/…/<file>`` below a root.

    Real folders come before links, so that an image keeps the class of its own folder. A link is followed once, and
    never to a folder that it lies in.

    Args:
        root: The folder.
        splits: Names of the folders of splits.

    Raises:
        DatasetError: A class folder has no image.
        OSError: A folder cannot be read.
    """

    def __init__(self, root: Path, splits: Sequence[str]) -> None:
        self._root = os.fspath(root)
        self._left_out: dict[Reason, list[str]] = {}
        self._by_content: list[str] = []
        self._files: dict[Id, Parts] = {}
        self._folders: set[Id] = set()
        self._links: deque[Parts] = deque()
        self._classes: dict[Parts, int] = {}
        self._images: list[Parts] = []
        self._split_folders = [os.path.realpath(self._path((split,))) for split in splits]
        for split in splits:
            self._add_folder((split,))
        while self._links:
            self._add_link(self._links.popleft())
        self._check_classes()

    @property
    def images(self) -> list[tuple[str, str]]:
        """Path below the root and class of every image: files before folders, each in the order of names."""
        ordered = sorted(self._images, key=lambda parts: [*((1, part) for part in parts[:-1]), (0, parts[-1])])
        return [("/".join(parts), parts[1]) for parts in ordered]

    @property
    def notes(self) -> Iterator[str]:
        """Sentences on files that were left out, with the reason and the first names."""
        for reason, names in self._left_out.items():
            yield f"left out: {_count(names, reason)}: {listed(names, SHOWN)}"
        if names := self._by_content:
            files = "1 file without a suffix of images is"
            if len(names) > 1:
                files = f"{len(names):,} files without a suffix of images are"
            yield f"{files} read by the content: {listed(names, SHOWN)}"

    def _path(self, parts: Parts) -> str:
        return os.path.join(self._root, *parts)  # noqa: PTH118  # pathlib is too slow for a million files

    def _leave_out(self, reason: Reason, parts: Parts, first: Parts | None = None) -> None:
        kept_as = f" (as {readable('/'.join(first))})" if reason == SAME_IMAGE_OTHER_CLASS and first else ""
        self._left_out.setdefault(reason, []).append(readable("/".join(parts)) + kept_as)

    def _add_folder(self, top: Parts) -> None:
        """Add the images of a folder and of all real folders below it; links are followed at the end."""
        start = self._path(top)
        for place, folders, files in os.walk(start, onerror=_raise):
            parts = (*top, *Path(place).relative_to(start).parts)
            identity = _identity(os.stat(place))  # noqa: PTH116
            if identity is not None and identity in self._folders:
                self._leave_out(SAME_FOLDER, parts)
                folders.clear()
                continue
            if identity is not None:
                self._folders.add(identity)
            if len(parts) == 2:
                self._classes.setdefault(parts, 0)
            folders[:] = [name for name in sorted(folders) if self._is_entered((*parts, name))]
            for name in sorted(files):
                self._add_file((*parts, name))

    def _is_entered(self, parts: Parts) -> bool:
        """Whether to enter a folder now: it is neither a link nor a folder of the operating system."""
        path, name = self._path(parts), parts[-1]
        is_link = os.path.islink(path)  # noqa: PTH114
        if _is_system(name):
            reason = HIDDEN if name.startswith(".") else SYSTEM
            for file in [""] if is_link else _below(path):
                self._leave_out(reason, (*parts, file) if file else parts)
            return False
        if is_link:
            self._links.append(parts)
        return not is_link

    def _add_file(self, parts: Parts, *, through_link: bool = False) -> None:
        path = self._path(parts)
        status = os.stat(path) if through_link else os.lstat(path)  # noqa: PTH116
        identity = _identity(status)
        if parts[-1].startswith("."):
            self._leave_out(HIDDEN, parts)
        elif stat.S_ISLNK(status.st_mode):
            self._links.append(parts)
        elif not stat.S_ISREG(status.st_mode):
            self._leave_out(SPECIAL, parts)  # opening a pipe would block
        elif len(parts) == 2:
            self._leave_out(BESIDE, parts)
        elif not status.st_size:
            self._leave_out(EMPTY, parts)
        elif identity is not None and identity in self._files:
            first = self._files[identity]
            self._leave_out(SAME_IMAGE if first[1] == parts[1] else SAME_IMAGE_OTHER_CLASS, parts, first)
        elif is_foreign(path):
            self._leave_out(FOREIGN, parts)
        elif is_image(path):
            if identity is not None:
                self._files[identity] = parts
            self._images.append(parts)
            self._classes[parts[:2]] += 1
            if not has_image_suffix(path):
                self._by_content.append(readable("/".join(parts)))
        else:
            self._leave_out(UNREAD if _suffix(path) in UNREAD_SUFFIXES else NO_IMAGE, parts)

    def _add_link(self, parts: Parts) -> None:
        path = self._path(parts)
        try:
            is_folder = stat.S_ISDIR(os.stat(path).st_mode)  # noqa: PTH116
        except OSError:  # its target does not exist, or is the link itself
            self._leave_out(BROKEN, parts)
            return
        if not is_folder:
            self._add_file(parts, through_link=True)
            return
        target = os.path.realpath(path)
        if any(_contains(target, place) for place in (os.path.realpath(self._path(parts[:-1])), *self._split_folders)):
            self._leave_out(LOOP, parts)
            return
        if len(parts) == 2:
            self._classes.setdefault(parts, 0)
        self._add_folder(parts)

    def _check_classes(self) -> None:
        empty = ["/".join(parts) for parts, images in self._classes.items() if not images]
        if not empty:
            return
        left = [
            f"{_count(inside, reason)}: {listed(inside, SHOWN)}"
            for reason, names in self._left_out.items()
            if (inside := [name for name in names if f"{name}/".startswith(f"{readable(empty[0])}/")])
        ]
        what = (
            "a class folder without an image:" if len(empty) == 1 else f"{len(empty):,} class folders without an image:"
        )
        held = f"the first holds {'; '.join(left)}" if left else "the first is empty"
        held = held.replace("the first", "it") if len(empty) == 1 else held
        raise DatasetError(what, listed(empty), f"{held}; put images there, or remove it")


@functools.cache
def _known_suffixes() -> tuple[frozenset[str], frozenset[str]]:
    """Suffixes of formats that Pillow decodes, and of formats in ``DOUBTFUL``, in lower case with their dot."""
    Image.init()
    formats = {suffix.lower(): kind for suffix, kind in Image.registered_extensions().items() if kind in Image.OPEN}
    doubtful = {suffix for suffix, kind in formats.items() if kind in DOUBTFUL}
    return frozenset(formats.keys() - doubtful), frozenset(doubtful)


def image_suffixes() -> frozenset[str]:
    """The suffixes of formats that Pillow decodes, in lower case with their dot."""
    return _known_suffixes()[0]


def has_image_suffix(name: str) -> bool:
    """Whether a name has the suffix of a format that Pillow decodes, in upper or lower case."""
    return _suffix(name) in _known_suffixes()[0]


@functools.cache
def _types() -> mimetypes.MimeTypes:
    return mimetypes.MimeTypes()  # without the lists of the operating system, which differ


def is_foreign(name: str) -> bool:
    """Whether a name has the suffix of another kind of file: a text, a film, an archive, an editor's copy."""
    suffix = _suffix(name)
    if suffix in _known_suffixes()[0] | _known_suffixes()[1]:
        return False
    kind, packed = _types().guess_type(f"x{suffix}")
    other = kind is not None and not kind.startswith("image/")
    return other or packed is not None or suffix in BACKUPS or name.endswith("~")


def is_image(path: str) -> bool:
    """Whether a file is an image, by its suffix, or by its content where the suffix is not known."""
    suffix = _suffix(path)
    known, doubtful = _known_suffixes()
    if suffix in known or suffix in RAW_SUFFIXES:
        return suffix in known
    try:
        if suffix in doubtful:
            decode(Path(path))
        else:
            kinds = [kind for kind in BY_CONTENT if kind in Image.OPEN]
            with quiet(), Image.open(path, formats=kinds):
                pass
    except Exception:  # Pillow raises errors of any type
        return False
    return True


def images_beside(root: Path, used: Sequence[str]) -> list[str]:
    """Images at a root, by their suffix, that lie in none of the folders ``used``; hidden ones are ignored."""
    found: list[str] = []
    looked_at = 0
    for entry in sorted(os.scandir(root), key=lambda entry: entry.name):
        if entry.name in used or _is_system(entry.name):
            continue
        is_folder = entry.is_dir(follow_symlinks=False)
        for file in _below(entry.path) if is_folder else [""]:
            looked_at += 1
            if looked_at > MOST_BESIDE:
                return found
            name = f"{entry.name}/{file}" if is_folder else entry.name
            if has_image_suffix(name) and not os.path.basename(name).startswith("."):  # noqa: PTH119
                found.append(readable(name))
    return found


def images_in_no_list(root: Path, listed_paths: Collection[str]) -> list[str]:
    """Images, by their suffix, that lie in the folders of a list and are not in it; hidden ones are ignored.

    Folders of the root without an image of the list are not searched, and links are not followed.
    """
    known = frozenset(listed_paths)
    tops = sorted({path.partition("/")[0] if "/" in path else "" for path in known})
    found: list[str] = []
    for top in tops:
        for place, folders, files in os.walk(root / top):
            below = os.path.relpath(place, root)
            folders[:] = sorted(name for name in folders if top and not _is_system(name))
            paths = (file if below == "." else f"{below}/{file}" for file in sorted(files) if not _is_system(file))
            found += [path for path in paths if path not in known and has_image_suffix(path)]
    return found


def _is_system(name: str) -> bool:
    return name.startswith(".") or name in SYSTEM_FOLDERS


def _suffix(name: str) -> str:
    return os.path.splitext(name)[1].lower()  # noqa: PTH122


def _raise(error: OSError) -> NoReturn:
    """Raise the error of a folder that cannot be read; ``os.walk`` would treat it as empty."""
    raise error


def _below(place: str) -> Iterator[str]:
    """Paths of all files below a folder that can be read; links are not followed."""
    for folder, folders, files in os.walk(place):
        folders.sort()
        for file in sorted(files):
            yield os.path.relpath(os.path.join(folder, file), place)  # noqa: PTH118


def _identity(status: os.stat_result) -> Id | None:
    return (status.st_dev, status.st_ino) if status.st_ino else None  # some file systems have no inodes


def _contains(folder: str, place: str) -> bool:
    return place == folder or place.startswith(folder.rstrip(os.sep) + os.sep)


def _count(names: Sequence[str], reason: Reason) -> str:
    return f"{len(names):,} {reason[len(names) != 1]}"
