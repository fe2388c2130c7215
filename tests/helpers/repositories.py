"""Git repositories with a small project: a selector that fgbench finds by its entry point."""

from __future__ import annotations

import subprocess
from pathlib import Path

PYPROJECT = """\
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"

[project]
name = "tiny-selectors"
version = "{version}"

[project.entry-points."fgbench.selectors"]
tiny = "tiny_selectors:Tiny"
"""
SELECTOR = """\
from fgbench_selectors import Needs, Selector

REVISION = {revision!r}


class {name}(Selector):
    needs = Needs(tokens=True)
    score_shape = ("batch", "patches")

    def published(self, features):
        {work}
        return features.read_tokens()[:, features.num_prefix_tokens :].norm(dim=-1)
"""


class Repository:
    """A repository in a folder, with the commands that tests need."""

    def __init__(self, root: Path) -> None:
        self.root = root
        root.mkdir(parents=True)
        self.git("init", "-q", "-b", "main")

    def git(self, *words: str) -> str:
        who = ["-c", "user.name=Test", "-c", "user.email=test@example.org"]
        run = subprocess.run(["git", *who, *words], cwd=self.root, check=True, capture_output=True, text=True)
        return run.stdout.strip()

    def put(self, name: str, text: str) -> Path:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def project(self, version: str, *, under: str = "", work: str = "pass") -> None:
        """The tiny project in a version that can be told from others."""
        folder = f"{under}/" if under else ""
        self.put(f"{folder}pyproject.toml", PYPROJECT.format(version=version))
        self.put(f"{folder}tiny_selectors/__init__.py", SELECTOR.format(revision=version, name="Tiny", work=work))

    def plugin(self, revision: str, name: str = "plugins/mine.py") -> Path:
        return self.put(name, SELECTOR.format(revision=revision, name="Mine", work="pass"))

    def commit(self, message: str = "a change") -> str:
        """Commit everything; the hash."""
        self.git("add", "--all")
        self.git("commit", "-qm", message)
        return self.git("rev-parse", "HEAD")

    def state(self) -> dict[str, object]:
        """All that a comparison must leave as it is."""
        files = {str(path.relative_to(self.root)): path.read_bytes() for path in self._files()}
        index = (self.root / ".git" / "index").read_bytes()
        return {"files": files, "index": index, "worktrees": self.git("worktree", "list"), "head": self.git("log")}

    def _files(self) -> list[Path]:
        return [path for path in self.root.rglob("*") if path.is_file() and ".git" not in path.parts]
