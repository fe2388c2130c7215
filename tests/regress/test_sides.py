"""Installed environments as sides."""

from __future__ import annotations

import ast
import subprocess
import sys
import venv
from importlib import metadata
from pathlib import Path

import pytest

import fgbench
from fgbench.errors import FgbenchError
from fgbench.regress.sides.revisions import environment_side

ROOTS = [Path(fgbench.__file__).parents[1] / place for place in ("", "selectors", "reports")]


@pytest.fixture
def environment(tmp_path):
    """A virtual environment with nothing in it, and its folder for packages."""
    venv.create(tmp_path / "env", with_pip=False)
    words = [tmp_path / "env/bin/python", "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]
    packages = subprocess.run(words, check=True, capture_output=True, text=True).stdout.strip()
    return tmp_path / "env", Path(packages)


def install(packages: Path) -> None:
    """fgbench as an editable install leaves it."""
    (packages / "fgbench.pth").write_text("\n".join(map(str, ROOTS)))
    (packages / "fgbench-7.5.dist-info").mkdir(exist_ok=True)
    (packages / "fgbench-7.5.dist-info/METADATA").write_text("Metadata-Version: 2.1\nName: fgbench\nVersion: 7.5\n")


def test_an_environment_is_named_by_its_folder_or_its_python(environment, tmp_path, monkeypatch):
    folder, packages = environment
    install(packages)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "before everything"))
    with environment_side(str(folder)) as by_folder, environment_side(f"{folder}/bin/python") as by_name:
        assert by_folder.python == by_name.python == f"{folder}/bin/python"
        assert by_folder.version == "7.5"
        assert by_folder.label == f"environment {folder}, fgbench 7.5"
        assert by_folder.code == by_name.code
        assert "PYTHONPATH" not in by_folder.surroundings(), "the same code would be before both environments"


def test_an_environment_without_fgbench_is_one_line(environment):
    folder, _ = environment
    with pytest.raises(FgbenchError) as raised, environment_side(str(folder)):
        pass
    assert raised.value.exit_code == 2
    assert "No module named 'fgbench'; install fgbench there" in str(raised.value)


def test_what_is_installed_beside_fgbench_is_part_of_the_code(environment):
    folder, packages = environment
    install(packages)
    codes = []
    for step in range(4):
        if step == 1:  # another version of anything
            (packages / "torch-2.dist-info").mkdir()
            (packages / "torch-2.dist-info/METADATA").write_text("Metadata-Version: 2.1\nName: torch\nVersion: 2\n")
        if step == 2:  # a plug-in
            (packages / "mine.py").write_text("A = 1\n")
            (packages / "mine-1.dist-info").mkdir()
            (packages / "mine-1.dist-info/METADATA").write_text("Metadata-Version: 2.1\nName: mine\nVersion: 1\n")
            (packages / "mine-1.dist-info/entry_points.txt").write_text("[fgbench.selectors]\nmine = mine:A\n")
        if step == 3:  # its code, which has the version that it had
            (packages / "mine.py").write_text("A = 2\n")
        with environment_side(str(folder)) as side:
            codes.append(side.code)
    assert len(set(codes)) == 4


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("no/such/python", "no Python executable"),
        ("", "no Python in the folder"),
        ("silent", "cannot import fgbench with"),
        ("plain.txt", "no Python executable"),
    ],
)
def test_what_is_no_python_is_one_line(tmp_path, name, said):
    (tmp_path / "plain.txt").write_text("text")
    (tmp_path / "silent").write_text("#!/bin/sh\nexit 0\n")
    (tmp_path / "silent").chmod(0o755)
    with pytest.raises(FgbenchError, match=said), environment_side(str(tmp_path / name)):
        pass


def test_a_plug_in_file_that_is_missing_is_one_line(tmp_path):
    said, missing = r"no plug-in file '.*/mine.py'; give the path of a Python file", str(tmp_path / "mine.py")
    with pytest.raises(FgbenchError, match=said), environment_side(sys.executable, [missing]):
        pass


def test_the_room_knows_no_commands_and_loads_no_torch():
    room = Path(fgbench.__file__).parent / "regress"
    for path in room.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            for name in names:
                assert not name.startswith("fgbench.cli"), path.name
    code = "import fgbench.regress.pairs, fgbench.regress.sides.revisions, sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_version_is_that_of_the_environment():
    with environment_side(sys.executable) as side:
        assert side.version == metadata.version("fgbench")
