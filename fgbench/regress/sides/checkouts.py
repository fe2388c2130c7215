"""Checkouts beside the user's own, whose files and index stay as they are: of a revision, or of the files on disk."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from fgbench.errors import FgbenchError
from fgbench.regress.sides.processes import Ended, run_program, undisturbed
from fgbench.workers.pool import last_line

GIT_S, CHECKOUT_S = 60.0, 1800.0
# Set by git for its hooks: they would lead every command below to the user's own index.
_OF_HOOKS = (
    *("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX", "GIT_COMMON_DIR", "GIT_OBJECT_DIRECTORY"),
    "GIT_NAMESPACE",
)
_SHALLOW = "this clone is shallow: fetch-depth: 0 in actions/checkout, or git fetch --unshallow, has all of them"


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkout:
    """A folder with the files of a revision, or of a working tree."""

    root: Path
    revision: str  # full hash; "+" behind it where files differ
    repository: Path  # the user's own

    @property
    def short(self) -> str:
        """The revision as people write it."""
        return self.revision[:12] + ("+" if self.revision.endswith("+") else "")


def repository_of(folder: Path) -> Path:
    """The root of the repository that a folder lies in, resolved. Raises :class:`FgbenchError` outside of one."""
    if shutil.which("git") is None:
        raise FgbenchError("git is not installed", do="install it, or compare two installed environments")
    if not folder.is_dir():
        raise FgbenchError("there is no folder", str(folder))
    ended = _git(folder, "rev-parse", "--show-toplevel")
    if ended.code != 0:
        raise FgbenchError("no git repository at", str(folder), _why(ended))
    return Path(ended.stdout.removesuffix("\n")).resolve()


@contextmanager
def revision_checkout(revision: str, repository: Path) -> Iterator[Checkout]:
    """A revision in a folder of its own, which is gone afterwards.

    Raises :class:`FgbenchError` where the repository does not have it.
    """
    commit = _commit(revision, repository)
    with _worktree(commit, repository) as root:
        yield Checkout(root=root, revision=commit, repository=repository)


@contextmanager
def working_tree_checkout(repository: Path) -> Iterator[Checkout]:
    """The files on disk in a folder of their own: uncommitted changes and new files are in it, ignored ones are not."""
    commit = _commit("HEAD", repository)
    with _worktree(commit, repository) as root:
        differing = [name for name in _differing(repository) if _bring(repository / name, root / name)]
        yield Checkout(root=root, revision=commit + ("+" if differing else ""), repository=repository)


def _commit(revision: str, repository: Path) -> str:
    ended = None
    if revision and not revision.startswith("-"):
        ended = _git(repository, "rev-parse", "--verify", "--quiet", f"{revision}^{{commit}}")
    if ended is None or ended.code != 0:
        shallow = _git(repository, "rev-parse", "--is-shallow-repository").stdout.strip() == "true"
        advice = _SHALLOW if shallow else "give a branch, a tag or a commit that 'git rev-parse' knows"
        raise FgbenchError("no such git revision here:", revision, advice)
    return ended.stdout.strip()


@contextmanager
def _worktree(commit: str, repository: Path) -> Iterator[Path]:
    # Both sides' folders have names of one length: the size of a process's arguments moves its memory.
    folder = Path(tempfile.mkdtemp(prefix="fgbench-tree-")).resolve()
    root = folder / "tree"
    try:
        # No hook of the user's runs: it would not know that this is not for work.
        words = ("-c", "core.hooksPath=/dev/null", "worktree", "add", "--quiet", "--detach", str(root), commit)
        ended = _git(repository, *words, limit_s=CHECKOUT_S)
        if ended.code != 0:
            raise FgbenchError("git cannot check out", commit, _why(ended))
        yield root
    finally:
        with undisturbed():
            removed = _git(repository, "worktree", "remove", "--force", str(root))
            shutil.rmtree(folder, ignore_errors=True)
            if removed.code != 0:
                _git(repository, "worktree", "unlock", str(root))  # git locks what it has not finished
                _git(repository, "worktree", "prune")


def _differing(repository: Path) -> list[str]:
    """Paths that may not be as in HEAD: changed and deleted ones, then new ones that are not ignored."""
    # Plumbing: it looks, and does not refresh the user's index.
    changed = _git(repository, "diff-index", "-z", "--name-only", "--no-renames", "HEAD", limit_s=CHECKOUT_S)
    new = _git(repository, "ls-files", "-z", "--others", "--exclude-standard", limit_s=CHECKOUT_S)
    for ended in (changed, new):
        if ended.code != 0:
            raise FgbenchError("git cannot list what differs in", str(repository), _why(ended))
    return [name for name in f"{changed.stdout}\0{new.stdout}".split("\0") if name]


def _bring(source: Path, target: Path) -> bool:
    """Make a file as it is in the working tree; False where it is so already."""
    if _is_folder(source) and _is_folder(target):  # a repository inside of this one: both sides go without
        return False
    if _content(source) == _content(target):  # git goes by time stamps
        return False
    if _is_folder(target):
        shutil.rmtree(target)
    else:
        target.unlink(missing_ok=True)
    if source.is_symlink() or source.is_file():
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(source, target, follow_symlinks=False)
    return True


def _is_folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()


def _content(path: Path) -> tuple[object, ...] | None:
    if path.is_symlink():
        return ("link", str(path.readlink()))
    return (path.stat().st_mode & 0o100, path.read_bytes()) if path.is_file() else None


def _git(folder: Path, *words: str, limit_s: float = GIT_S) -> Ended:
    environment = {name: value for name, value in os.environ.items() if name not in _OF_HOOKS}
    environment |= {"LC_ALL": "C", "GIT_TERMINAL_PROMPT": "0", "GIT_OPTIONAL_LOCKS": "0"}
    return run_program(["git", "-C", str(folder), *words], folder=folder, environment=environment, limit_s=limit_s)


def _why(ended: Ended) -> str:
    fatal = [line.partition(": ")[2] for line in ended.stderr.splitlines() if line.startswith(("fatal: ", "error: "))]
    if ended.code is None:
        return "git did not end in time"
    return f"git says: {fatal[0] if fatal else last_line(ended.stderr)}"
