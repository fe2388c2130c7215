"""Run by the interpreter of a side, not imported: what is measured there, as JSON.

The digest covers the code of everything that fgbench finds through entry points, and which versions of what else there
are. The folder that may be given must be where its packages are imported from; those that are not are ``hidden``.
"""

from __future__ import annotations

import hashlib
import json
import platform
import sys
from contextlib import suppress
from importlib import metadata, util
from pathlib import Path

LARGE = 2**22  # bytes: such a file is data, and told by its size


def main(installed: str | None) -> None:
    """Print one JSON object."""
    import fgbench  # noqa: F401  # whether it can be imported is the question

    found = {
        "version": _version(),
        "python": platform.python_version(),
        "code": _code_digest(),
        "hidden": [name for name in _packages(Path(installed)) if not _is_in(name, installed)] if installed else [],
    }
    print(json.dumps(found))


def _version() -> str | None:
    try:
        return metadata.version("fgbench")
    except metadata.PackageNotFoundError:
        return None


def _code_digest() -> str:
    digest = hashlib.sha256(f"{platform.python_version()} {sys.implementation.cache_tag}".encode())
    names, versions = {"fgbench", "fgbench_selectors"}, set()
    for distribution in metadata.distributions():
        with suppress(Exception):  # an installation that is broken
            versions.add(f"{distribution.metadata['Name']}=={distribution.version}")
            points = [point for point in distribution.entry_points if point.group.startswith("fgbench.")]
            names |= {point.value.partition(":")[0].partition(".")[0].strip() for point in points}
    digest.update("\n".join(sorted(versions)).encode())
    for name in sorted(names):
        for place in _places(name):
            files = sorted(place.rglob("*")) if place.is_dir() else [place]
            for file in files:
                if file.is_file() and "__pycache__" not in file.parts:
                    # A package that stands first on the path is the same one wherever it stands.
                    size = file.stat().st_size
                    digest.update(f"\0{file.relative_to(place.parent)}\0{size}\0".encode(errors="surrogateescape"))
                    digest.update(file.read_bytes() if size <= LARGE else b"")
    return digest.hexdigest()


def _packages(folder: Path) -> list[str]:
    """What can be imported from a folder."""
    files = {path.name.partition(".")[0] for path in folder.iterdir() if path.suffix in (".py", ".so", ".pyd")}
    folders = {path.name for path in folder.iterdir() if path.is_dir() and path.name.isidentifier()}
    return sorted(files | {name for name in folders - {"bin", "__pycache__"} if any((folder / name).rglob("*.py"))})


def _is_in(name: str, folder: str) -> bool:
    root = Path(folder).resolve()
    return any(root in place.resolve().parents for place in _places(name))


def _places(name: str) -> list[Path]:
    """Where a package or module would be imported from."""
    spec = None
    with suppress(Exception):
        spec = util.find_spec(name)
    if spec is None:
        return []
    if spec.submodule_search_locations is not None:
        return [Path(place) for place in spec.submodule_search_locations]
    return [Path(spec.origin)] if spec.has_location and spec.origin else []


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else None)
