"""The code of foreign objects: other code is another point, and nothing that was found with it before stays true."""

from __future__ import annotations

import hashlib
import inspect
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from fgbench_selectors.plugins import PREFIX

OURS = ("fgbench", "fgbench_selectors", "fgbench_reports", "builtins")
KNOWN_BY_VERSION = frozenset({*OURS, *sys.stdlib_module_names, "torch", "timm", "fvcore", "__main__"})


def foreign_code(*objects: Any) -> str | None:
    """A digest of the files that define classes and functions of others; None where all are fgbench's own."""
    foreign = [each for each in map(_unwrapped, objects) if each.__module__.partition(".")[0] not in OURS]
    files = [inspect.getsourcefile(each) for each in foreign]
    content = b"".join(Path(file).read_bytes() for file in files if file)
    return hashlib.sha256(content).hexdigest()[:16] if content else None


def _unwrapped(value: Any) -> Any:
    return value if isinstance(value, type) else inspect.unwrap(value)


def loaded_files() -> list[list[Any]]:
    """[path, size, time] of the files that modules were loaded from, but of plug-in files and what a version tells.

    What foreign code imports, by whatever way, is among them: what is found with it is true for as long as they are as
    they are, see :func:`unchanged`.
    """
    files = set()
    for name, module in list(sys.modules.items()):
        with suppress(Exception):  # foreign code may put anything there
            known = name.partition(".")[0] in KNOWN_BY_VERSION or name.startswith(PREFIX)
            if not known and (file := _existing(Path(module.__file__ or ""))):
                files.add(file)
    return sorted(_stamp(file) for file in files)


def unchanged(files: Any) -> bool:
    """Whether files of :func:`loaded_files` are as they were."""
    if not isinstance(files, list):
        return False
    with suppress(OSError, TypeError, ValueError, IndexError):
        return all(_stamp(Path(file[0])) == file for file in files)
    return False


def _existing(path: Path) -> Path | None:
    """The file that a path leads into: itself, or the archive that it is in."""
    path = path.absolute()
    found = next((each for each in (path, *path.parents) if each.exists()), None)
    return found if found is not None and found.is_file() else None


def _stamp(file: Path) -> list[Any]:
    status = file.stat()
    return [str(file), status.st_size, status.st_mtime_ns]
