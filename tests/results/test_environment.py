"""The environment of a figure: its digest changes with relevant code, and with no other code."""

from __future__ import annotations

import ast
import shutil
import subprocess
from pathlib import Path

from fgbench.results import environment
from fgbench.results.environment import MEASURED_BY, code_digest, git_revision, processor, software

ROOM = Path(environment.__file__).parents[1]
NOT_MEASURED_BY = {
    "results",
    "plugins",
    "workers",
    "cli",
    "datasets",
    "sweep",
    "errors.py",
    "hub.py",
    "options.py",
    "packages.py",
    "quantities.py",
    "values.py",
}


def test_every_module_that_a_worker_measures_with_is_in_the_digest():
    """Whatever the modules that measure import of fgbench, and what that imports in turn, lies in a listed folder."""
    found, todo = set[Path](), [*(ROOM / "measure").rglob("*.py")]
    while todo:
        path = todo.pop()
        if path in found:
            continue
        found.add(path)
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("fgbench."):
                inside = ROOM.joinpath(*(node.module or "").split(".")[1:])
                todo += [file for file in (inside.with_suffix(".py"), inside / "__init__.py") if file.exists()]
    outside = {path.relative_to(ROOM).parts[0] for path in found} - {*MEASURED_BY}
    assert outside <= NOT_MEASURED_BY
    assert all((ROOM / folder).exists() for folder in MEASURED_BY)


def test_the_digest_changes_with_a_model_and_not_with_a_command(tmp_path, monkeypatch):
    copy = tmp_path / "fgbench"
    shutil.copytree(ROOM, copy, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(environment, "__file__", str(copy / "results" / "environment.py"))
    one = code_digest()
    (copy / "cli" / "program.py").write_text("")
    (copy / "sweep" / "sweep.py").write_text("")
    assert code_digest() == one
    model = copy / "models" / "glsim.py"
    model.write_text(model.read_text() + "\n")
    assert code_digest() != one


def test_the_revision_is_that_of_the_checkout_and_says_where_files_differ(tmp_path):
    assert git_revision(tmp_path) is None
    package = tmp_path / "package"
    package.mkdir()
    (package / "a.py").write_text("a = 1\n")

    def git(*words: str) -> str:
        author = ["-c", "user.name=x", "-c", "user.email=x@x"]
        run = subprocess.run(["git", *author, *words], cwd=tmp_path, check=True, capture_output=True, text=True)
        return run.stdout.strip()

    git("init", "-q")
    git("add", ".")
    git("commit", "-qm", "one")
    head = git("rev-parse", "--short=12", "HEAD")
    assert git_revision(package) == head
    (package / "a.py").write_text("a = 2\n")
    assert git_revision(package) == head + "+"
    deeper = package / "deeper"
    deeper.mkdir()
    assert git_revision(deeper) is None  # an environment inside somebody else's checkout


def test_software_and_processor_are_named():
    facts = software()
    assert facts["fgbench"]
    assert facts["timm"]
    assert facts["python"].count(".") == 2
    assert processor()["cpu"]
    assert processor()["cpus"] >= 1


def test_what_libraries_are_told_is_kept_but_for_what_is_recorded_otherwise(monkeypatch):
    monkeypatch.setenv("NVIDIA_TF32_OVERRIDE", "1")
    monkeypatch.setenv("KMP_BLOCKTIME", "0")
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    monkeypatch.setenv("HOME", "/nowhere")
    settings = processor()["settings"]
    assert settings.items() >= {"NVIDIA_TF32_OVERRIDE": "1", "KMP_BLOCKTIME": "0"}.items()
    assert not {"OMP_NUM_THREADS", "HOME", "PATH"} & set(settings)
