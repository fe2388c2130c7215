"""The code of fgbench as a whole: nodes must have that of the driver, or are sent it."""

from __future__ import annotations

import importlib.util
import shutil
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from fgbench.results.environment import digest_of_code, installed_version

PACKAGES = ("fgbench", "fgbench_selectors", "fgbench_reports")
METADATA = ("METADATA", "entry_points.txt")  # the built-in selectors are found by their entry points
DIGITS = 16


def folders() -> list[Path]:
    """The folders of the packages, as they are imported here."""
    found = [importlib.util.find_spec(name) for name in PACKAGES]
    return [Path(place) for spec in found if spec for place in spec.submodule_search_locations or ()]


def whole_code() -> dict[str, str]:
    """The version of fgbench, and a digest of all of its code."""
    version = installed_version("fgbench") or "of no version"
    return {"version": version, "code": digest_of_code(folders())[:DIGITS]}


def copy_code(folder: Path) -> None:
    """Copy the packages with what says that they are installed, for nodes that have their requirements alone."""
    for place in folders():
        shutil.copytree(place, folder / place.name, ignore=shutil.ignore_patterns("__pycache__"))
    try:
        installed = distribution("fgbench")
    except PackageNotFoundError:
        return
    about = folder / f"fgbench-{installed.version}.dist-info"
    about.mkdir()
    for name in METADATA:
        if (text := installed.read_text(name)) is not None:
            (about / name).write_text(text, encoding="utf-8")
