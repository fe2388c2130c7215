"""The two sides of a comparison: git revisions, the working tree, installed environments. Prepared alike.

A revision is checked out beside the user's own files; the project that holds the folder is installed from there, and
comes before what the environment has of it. Everything else is the environment's own, and the same for both.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from fgbench.errors import FgbenchError
from fgbench.regress.sides.checkouts import Checkout, repository_of, revision_checkout, working_tree_checkout
from fgbench.regress.sides.installation import compile_all, install, project_of
from fgbench.regress.sides.processes import undisturbed
from fgbench.regress.sides.sides import (
    Side,
    checked_side,
    environment_side,
    plugin_path,
    python_path,
    running_side,
)

__all__ = ["Side", "environment_side", "revision_side", "running_side", "working_tree_side"]


@contextmanager
def revision_side(revision: str, folder: Path, plugins: Sequence[str] = ()) -> Iterator[Side]:
    """A revision of the repository that a folder lies in: its project, and its plug-in files.

    Plug-in files inside the repository are those of the revision. Raises :class:`FgbenchError` where the revision, or
    a plug-in file in it, is not there; :class:`CannotMeasureError` where it cannot be installed.
    """
    repository = repository_of(folder)
    with revision_checkout(revision, repository) as checkout:
        name = f"{revision} ({checkout.short})" if not checkout.revision.startswith(revision) else checkout.short
        with _side(f"revision {name}", checkout, folder, plugins) as side:
            yield side


@contextmanager
def working_tree_side(folder: Path, plugins: Sequence[str] = ()) -> Iterator[Side]:
    """The files on disk of the repository that a folder lies in, uncommitted changes and new files included.

    They are copied: nothing is built in the user's own checkout. Raises as :func:`revision_side` does.
    """
    with (
        working_tree_checkout(repository_of(folder)) as checkout,
        _side(f"working tree ({checkout.short})", checkout, folder, plugins) as side,
    ):
        yield side


@contextmanager
def _side(label: str, checkout: Checkout, folder: Path, plugins: Sequence[str]) -> Iterator[Side]:
    files = [_in_checkout(plugin_path(name), checkout) for name in plugins]
    project = project_of(checkout.root / folder.resolve().relative_to(checkout.repository), checkout.root)
    inside = [file for file in files if checkout.root in file.parents]
    if project is None and not inside:
        advice = "it has no project (pyproject.toml or setup.py) at that folder, and no --plugin is a file of it"
        raise FgbenchError("nothing that could be measured is in", str(checkout.repository), f"{label}: {advice}")
    installed = Path(tempfile.mkdtemp(prefix="fgbench-site-")).resolve()
    try:
        if project is not None:
            installed.rmdir()  # installers make it
            install(project, installed, str(checkout.repository / project.relative_to(checkout.root)))
        compile_all(installed, *inside)
        yield checked_side(
            sys.executable,
            {"PYTHONPATH": python_path(installed)},
            label=label,
            plugins=tuple(str(file) for file in files),
            revision=checkout.revision,
            installed=installed,
        )
    finally:
        with undisturbed():
            shutil.rmtree(installed, ignore_errors=True)


def _in_checkout(file: Path, checkout: Checkout) -> Path:
    """A plug-in file of the repository as the checkout has it; another one as it is."""
    if checkout.repository not in file.parents:
        if not file.is_file():
            raise FgbenchError("no plug-in file", str(file), "give the path of a Python file")
        return file
    found = checkout.root / file.relative_to(checkout.repository)
    if not found.is_file():
        name = str(file.relative_to(checkout.repository))
        raise FgbenchError(f"revision {checkout.short} has no plug-in file", name, "give one that both sides have")
    return found
