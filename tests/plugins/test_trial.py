"""Faulty plug-ins from files and distributions: each fault is named, and the other plug-ins work."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from helpers.hostile import AT_IMPORT, DECLARED, ENDLESS, HARMLESS, KINDS, META, plugin
from typer.testing import CliRunner, Result

from fgbench.cli import app
from fgbench.plugins import reports as plugin_reports
from fgbench.plugins import trial
from fgbench.plugins.kinds import KINDS as ALL_KINDS
from fgbench_selectors.plugins import import_file

NAMED = {kind.group.partition(".")[2]: kind for kind in ALL_KINDS}
BUILT_IN = {"selectors": "psm", "models": "glsim", "datasets": "synthetic", "engines": "torch_cpu", "reports": "table1"}


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)


def run(*words: object) -> Result:
    """A command inside of this process, whose trials are in others."""
    return CliRunner().invoke(app, [str(word) for word in words])


def listed(kind: str, *words: object) -> tuple[dict[str, dict], list[str], int]:
    """Rows by name, complaints, the exit code."""
    result = run("list", kind, "--format", "json", *words)
    rows = {row["name"]: row for row in json.loads(result.stdout)}
    assert BUILT_IN[kind] in rows
    return rows, result.stderr.splitlines(), result.exit_code


def write(folder: Path, files: dict[str, str]) -> list[str]:
    for name, text in files.items():
        (folder / f"{name}.py").write_text(text)
    return [word for name in files for word in ("--plugin", f"{name}.py")]


def test_whatever_a_file_does_at_import_it_is_named_and_the_others_are_listed(tmp_path):
    """In a process as users start it, whose output is printed once."""
    bad = {
        name: f"{code}\n{plugin('reports', 'Bad')}" for name, (code, _) in AT_IMPORT.items() if name != "holds_nothing"
    }
    bad["holds_nothing"] = AT_IMPORT["holds_nothing"][0]
    good = {name: f"{code}\n{plugin('reports', f'Good_{name}')}" for name, code in HARMLESS.items()}
    words = write(tmp_path, {"before": plugin("reports", "Before"), **bad, **good, "after": plugin("reports", "After")})
    done = subprocess.run(
        [sys.executable, "-m", "fgbench", "list", "reports", "--format", "json", *words],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=False,
        timeout=900,
    )
    names = {row["name"] for row in json.loads(done.stdout)}
    assert {"before", "after", "table1", *(f"good_{name}" for name in HARMLESS)} <= names
    assert "bad" not in names
    assert done.returncode == 2
    complaints = done.stderr.splitlines()
    assert len(complaints) == len(bad)
    for name, (_, said) in AT_IMPORT.items():
        (complaint,) = [line for line in complaints if f"from {name}.py is broken" in line]
        assert said in complaint
        assert len(complaint) < 1200


def test_what_never_ends_is_ended_after_the_time_that_is_given_to_it(tmp_path, monkeypatch):
    monkeypatch.setenv("FGBENCH_PLUGIN_TIMEOUT", "2s")
    words = write(tmp_path, {name: code for name, (code, _) in ENDLESS.items()} | {"mine": plugin("datasets", "Mine")})
    rows, complaints, code = listed("datasets", *words)
    assert code == 2
    assert rows["mine"]["description"] == "Drawn pictures of mine"
    for name, (_, said) in ENDLESS.items():
        (complaint,) = [line for line in complaints if f"from {name}.py is broken" in line]
        assert said in complaint
        assert "FGBENCH_PLUGIN_TIMEOUT=5m would wait longer" in complaint


def test_a_time_that_is_none_is_an_error_of_the_variable(tmp_path, monkeypatch):
    monkeypatch.setenv("FGBENCH_PLUGIN_TIMEOUT", "soon")
    result = run("list", "reports", *write(tmp_path, {"mine": plugin("reports", "Mine")}))
    assert result.exit_code == 2
    assert "FGBENCH_PLUGIN_TIMEOUT must be a time, got 'soon'" in result.stderr


@pytest.mark.parametrize("kind", KINDS)
def test_whatever_a_plug_in_declares_it_is_named_and_the_others_are_listed(kind, tmp_path):
    files = {
        f"odd{index}": plugin(kind, "Odd" if "name" in line or kind == "datasets" else f"Odd{index}", line)
        for index, line in enumerate(DECLARED[kind])
    }
    if kind == "datasets":  # each is a function of its own name
        files = {
            name: text.replace("def odd(", f"def {name}(").replace("odd.", f"{name}.") for name, text in files.items()
        }
    files["mine"] = plugin(kind, "Mine")
    rows, complaints, code = listed(kind, *write(tmp_path, files))
    assert code == 2
    assert rows["mine"]["from"] == "mine.py"
    assert len(complaints) == len(DECLARED[kind])
    for index, said in enumerate(DECLARED[kind].values()):
        (complaint,) = [line for line in complaints if f"from odd{index}.py is broken" in line]
        assert said in complaint
    assert {row["description"][:7] for name, row in rows.items() if name.startswith("odd")} == {"broken:"}


@pytest.mark.parametrize("kind", ["selectors", "models", "reports"])
@pytest.mark.parametrize("field", ["__doc__", "__mro__", "__name__", "needs", "accepts", "title"])
def test_a_metaclass_that_interrupts_is_named(kind, field, tmp_path):
    base = {"selectors": "Selector", "models": "ViT", "reports": "Report"}[kind]
    text = plugin(kind, "Odd", bases=", metaclass=Meta")
    first = next(line for line in text.splitlines() if line.startswith("class "))
    meta = META.format(field=field).replace("Selector", base)
    words = write(tmp_path, {"odd": text.replace(first, f"{meta}{first}"), "mine": plugin(kind, "Mine")})
    rows, complaints, code = listed(kind, *words)
    assert "mine" in rows
    met = [line for line in complaints if "odd.py is broken" in line and "KeyboardInterrupt" in line]
    assert (code, len(met)) in ((2, 1), (0, 0))  # nobody asks a report for its needs
    if (kind, field) in (("selectors", "needs"), ("models", "accepts"), ("reports", "title")) or "__doc__" in field:
        assert code == 2


def test_a_file_holds_all_kinds_and_every_command_finds_them(tmp_path):
    (tmp_path / "mine.py").write_text(
        "".join(plugin(kind, f"My{kind}", more="name = 'mine'" if kind != "datasets" else "") for kind in KINDS)
    )
    for kind in KINDS:
        rows, complaints, code = listed(kind, "--plugin", "mine.py")
        assert (complaints, code) == ([], 0)
        assert rows["mydatasets" if kind == "datasets" else "mine"]["from"] == "mine.py"
        for each in ALL_KINDS:
            each.registry._from_files.clear()
    (tmp_path / "rows.json").write_text("[]")
    made = run("report", "mine", "--rows", "rows.json", "--plugin", "mine.py", "--format", "csv")
    assert (made.exit_code, made.stdout) == (0, "kind,rows\nflops,0\n")


def test_a_file_without_any_kind_says_which_were_looked_for(tmp_path):
    (tmp_path / "none.py").write_text("class Norm: pass\n")
    result = run("list", "--plugin", "none.py")
    assert result.exit_code == 2
    for kind in ALL_KINDS:
        assert f"no {kind.registry.kind} ({kind.must_be})" in result.stderr


@pytest.mark.parametrize("kind", KINDS)
def test_a_name_that_is_taken_is_told(kind, tmp_path):
    taken = BUILT_IN[kind]
    words = write(
        tmp_path, {"mine": plugin(kind, taken), "other": plugin(kind, "Other"), "again": plugin(kind, "Other")}
    )
    rows, complaints, code = listed(kind, *words)
    assert code == 2
    assert rows[taken]["from"] == "fgbench"
    assert rows["other"]["from"] == "other.py"
    for file, name, owner in (("mine", taken, "fgbench"), ("again", "other", "other.py")):
        (complaint,) = [line for line in complaints if f"from {file}.py is broken" in line]
        assert f"{name!r}" in complaint
        assert f"the name is taken by the {NAMED[kind].registry.kind} from {owner}" in complaint


def test_what_passed_is_not_tried_again_until_it_changes(tmp_path):
    (tmp_path / "mine.py").write_text(f"open('count', 'a').write('x')\n{plugin('selectors', 'Mine')}")
    for _ in range(3):
        assert "mine" in listed("selectors", "--plugin", "mine.py")[0]
        NAMED["selectors"].registry._from_files.clear()
    assert (tmp_path / "count").read_text() == "x"
    (tmp_path / "mine.py").write_text(f"open('count', 'a').write('y')\n{plugin('selectors', 'Mine')}")
    assert "mine" in listed("selectors", "--plugin", "mine.py")[0]
    assert (tmp_path / "count").read_text() == "xy"


def test_what_passed_is_tried_again_when_what_it_imports_changes(tmp_path, monkeypatch):
    (tmp_path / "site").mkdir()
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    helper = tmp_path / "site" / "zebra_helper.py"
    helper.write_text("")
    (tmp_path / "mine.py").write_text(f"import zebra_helper\n{plugin('reports', 'Mine')}")
    assert listed("reports", "--plugin", "mine.py")[1:] == ([], 0)
    helper.write_text("import os; os._exit(3)")
    NAMED["reports"].registry._from_files.clear()
    rows, (complaint,), code = listed("reports", "--plugin", "mine.py")
    assert ("mine" in rows, code) == (False, 2)
    assert "from mine.py is broken" in complaint


@pytest.mark.parametrize("damage", [b"", b"[1]", b"\xff\xfe", b'{"found": [1, {"group": 3}]}', b'{"found": []}'])
def test_damage_of_what_is_remembered_is_no_error(damage, tmp_path, monkeypatch):
    monkeypatch.setenv("FGBENCH_CACHE", str(tmp_path / "cache"))
    (tmp_path / "mine.py").write_text(plugin("reports", "Mine"))
    assert "mine" in listed("reports", "--plugin", "mine.py")[0]
    (kept,) = (tmp_path / "cache").glob("plugin-*.json")
    kept.write_bytes(hashlib.sha256(damage).hexdigest().encode() + b"\n" + damage)  # not damaged on the way
    NAMED["reports"].registry._from_files.clear()
    rows, complaints, code = listed("reports", "--plugin", "mine.py")
    assert (rows["mine"]["description"], complaints, code) == ("How many rows there are", [], 0)


def test_a_cache_that_cannot_be_written_is_no_error(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("FGBENCH_CACHE", str(tmp_path / "file"))
    (tmp_path / "mine.py").write_text(plugin("reports", "Mine"))
    assert listed("reports", "--plugin", "mine.py")[1:] == ([], 0)


@pytest.fixture
def installed(tmp_path):
    """A folder with a distribution of every kind of plug-in, one that works and broken ones, beside the others."""
    site = tmp_path / "site"
    info = site / "zebra-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: zebra\nVersion: 1.0\n")
    points = []
    for kind in KINDS:
        (site / f"zebra_{kind}.py").write_text(plugin(kind, "Mine"))
        points += [f"[fgbench.{kind}]", f"mine = zebra_{kind}:{'mine' if kind == 'datasets' else 'Mine'}"]
        for name in ("segfaults", "interrupts", "forks", "ends_the_process"):
            (site / f"zebra_{name}.py").write_text(f"{AT_IMPORT[name][0]}\nclass Bad: pass\n")
            points.append(f"{name} = zebra_{name}:Bad")
    (info / "entry_points.txt").write_text("\n".join(points))
    return site


@pytest.mark.parametrize("kind", KINDS)
def test_a_distribution_that_crashes_is_named_and_the_others_are_listed(kind, installed, tmp_path, warm):
    beside = os.pathsep.join(filter(None, [str(installed), os.environ.get("PYTHONPATH")]))
    result = warm.run("list", kind, "--format", "json", cwd=tmp_path, env={**os.environ, "PYTHONPATH": beside})
    rows = {row["name"]: row for row in json.loads(result.stdout)}
    assert rows["mine"]["from"] == "zebra"
    assert rows[BUILT_IN[kind]]["from"] == "fgbench"
    assert result.returncode == 2
    for name in ("segfaults", "interrupts", "forks", "ends_the_process"):
        assert AT_IMPORT[name][1] in rows[name]["description"]
        assert f"plug-in {name!r} from zebra is broken" in result.stderr
    assert len(result.stderr.splitlines()) == 4


def test_a_file_is_read_as_it_is_however_soon_it_changes(tmp_path):
    """Bytecode that Python keeps tells one text from another by its length and by whole seconds."""
    for number in range(9):
        (tmp_path / "mine.py").write_text(f"number = {number}\n")
        os.utime(tmp_path / "mine.py", (0, 0))
        assert import_file(tmp_path / "mine.py").number == number


@pytest.mark.parametrize("modules", [trial.PRELOADED, plugin_reports.PRELOADED, (trial.WORKER,)])
def test_modules_that_workers_import_exist(modules):
    """They are named in strings: a module that moves would end every trial."""
    assert [name for name in modules if importlib.util.find_spec(name) is None] == []
