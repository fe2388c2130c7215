"""The digest of a plug-in's code: the files that define its objects, and the files that these use."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pytest

from fgbench.plugins import code
from fgbench.plugins.code import foreign_code, loaded_files, unchanged
from fgbench_reports.report import Report


@pytest.fixture
def site(tmp_path, monkeypatch):
    """A package of three modules, and another one that it uses."""
    for name, text in {
        "zebra/__init__.py": "from zebra.part import Mine\n",
        "zebra/part.py": "import numpy, zebra_helper\nfrom zebra.deep import f\nclass Mine: pass\n",
        "zebra/deep.py": "def f(): pass\n",
        "zebra/alone.py": "",
        "zebra_helper.py": "from zebra_far import g\n",
        "zebra_far.py": "def g(): pass\n",
    }.items():
        file = tmp_path / name
        file.parent.mkdir(exist_ok=True)
        file.write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path
    for name in [name for name in sys.modules if name.startswith("zebra")]:
        del sys.modules[name]


def test_a_file_that_is_used_is_part_of_the_code_and_another_one_is_not(site):
    mine = importlib.import_module("zebra").Mine
    before = foreign_code(mine)
    assert before is not None
    assert foreign_code(mine, Report) == before
    for name in ("zebra/part.py", "zebra/deep.py", "zebra_helper.py", "zebra_far.py"):
        text = (site / name).read_text()
        (site / name).write_text(f"{text}# another one\n")
        assert foreign_code(mine) != before
        (site / name).write_text(text)
        assert foreign_code(mine) == before
    (site / "zebra/alone.py").write_text("# another one\n")
    assert foreign_code(mine) == before


def test_a_library_beside_torch_is_told_by_its_version(site, monkeypatch):
    mine = importlib.import_module("zebra").Mine
    before = foreign_code(mine)
    monkeypatch.setattr(code, "version", lambda name: "0.0")
    assert foreign_code(mine) != before


def test_the_code_of_fgbench_is_none():
    assert foreign_code(Report, Report.items) is None


@pytest.mark.parametrize("change", ["written", "removed"])
def test_loaded_files_are_unchanged_until_one_changes(change, site):
    importlib.import_module("zebra")
    files = loaded_files()
    assert {str(site / "zebra_far.py"), str(site / "zebra/deep.py")} <= {file[0] for file in files}
    assert unchanged(files)
    if change == "written":
        (site / "zebra_far.py").write_text("def g(): return 1\n")
    else:
        (site / "zebra_far.py").unlink()
    assert not unchanged(files)


@pytest.mark.parametrize("damage", [None, 1, "x", [1], [[]], [["\0", 1, 1]], [{}]])
def test_damage_is_a_change(damage):
    assert not unchanged(damage)


def test_odd_modules_are_no_error(monkeypatch):
    class Odd:
        def __getattr__(self, name):
            raise KeyError(name)

    for number, odd in enumerate((None, 1, Odd(), "x")):
        monkeypatch.setitem(sys.modules, f"zebra{number}", odd)
    assert all(Path(file[0]).is_file() for file in loaded_files())
