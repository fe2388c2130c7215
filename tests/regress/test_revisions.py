"""The two sides: the code that each imports, and the user's files, which do not change."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from helpers.repositories import Repository

from fgbench.errors import CannotMeasureError, FgbenchError
from fgbench.regress.sides import checkouts
from fgbench.regress.sides.revisions import revision_side, running_side, working_tree_side

# What a side's interpreter imports, and what the registry of its fgbench finds: without torch.
LOOK = """
import importlib.util, json
from importlib import metadata
from fgbench_selectors.entries import Registry
spec = importlib.util.find_spec("tiny_selectors")
text = open(spec.origin).read()
entries = Registry("fgbench.selectors", "selector", lambda _: None).entries()
found = {name: entry.origin for name, entry in entries.items()}
print(json.dumps({
    "version": metadata.version("tiny-selectors"), "revision": text.split("REVISION = '")[1].split("'")[0],
    "bytecode": spec.cached and __import__("os").path.exists(spec.cached), "tiny": found["tiny"], "place": spec.origin,
    "others": [name for name in found if name.startswith("tiny@")],
}))
"""


def look(side):
    """What a side sees."""
    run = subprocess.run(
        [side.python, "-c", LOOK], env=side.surroundings(), cwd="/", check=True, capture_output=True, text=True
    )
    return json.loads(run.stdout)


@pytest.fixture
def temporary(tmp_path, monkeypatch):
    """Where temporary folders are made; it must be empty in the end."""
    place = tmp_path / "temporary"
    place.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(place))
    yield place
    assert list(place.iterdir()) == []


@pytest.fixture
def repository(tmp_path, temporary) -> Repository:
    """Two revisions of the tiny project, 1 and 2; the second one is checked out."""
    made = Repository(tmp_path / "repository")
    made.project("1")
    made.put(".gitignore", "*.weights\n__pycache__/\n")
    made.commit("one")
    made.git("tag", "v1")
    made.project("2")
    made.commit("two")
    return made


@pytest.mark.slow
def test_each_side_imports_its_own_revision_though_another_one_is_installed(repository, tmp_path, monkeypatch):
    installed = tmp_path / "editable"  # as an editable install leaves it: metadata, and a path to the checkout
    (installed / "tiny_selectors-9.dist-info").mkdir(parents=True)
    (installed / "tiny_selectors-9.dist-info/METADATA").write_text(
        "Metadata-Version: 2.1\nName: tiny-selectors\nVersion: 9\n"
    )
    points = "[fgbench.selectors]\ntiny = elsewhere:Other\n"
    (installed / "tiny_selectors-9.dist-info/entry_points.txt").write_text(points)
    monkeypatch.setenv("PYTHONPATH", f"{installed}:{repository.root}:{':'.join(filter(None, sys.path))}")
    before = repository.state()
    with revision_side("v1", repository.root) as base, working_tree_side(repository.root) as head:
        seen = [look(side) for side in (base, head)]
        assert [(one["version"], one["revision"]) for one in seen] == [("1", "1"), ("2", "2")]
        assert [(one["tiny"], one["others"]) for one in seen] == [("tiny-selectors", [])] * 2
        assert [one["bytecode"] for one in seen] == [True, True]
        assert not any(one["place"].startswith(str(repository.root)) for one in seen)
        hashes = [repository.git("rev-parse", name) for name in ("v1", "main")]
        assert [side.revision for side in (base, head)] == hashes
        assert [side.label for side in (base, head)] == [
            f"revision v1 ({hashes[0][:12]})",
            f"working tree ({hashes[1][:12]})",
        ]
        assert base.code != head.code
        assert_alike(base, head)
    assert repository.state() == before


def assert_alike(base, head):
    """Two sides differ in what they import, and in nothing else: the length of a variable moves memory, too."""
    assert base.python == head.python == sys.executable
    assert base.version == head.version
    paths = [side.environment["PYTHONPATH"] for side in (base, head)]
    assert len(paths[0]) == len(paths[1])
    assert [path.partition(":")[2] for path in paths] == [paths[0].partition(":")[2]] * 2
    assert base.environment.keys() == head.environment.keys()


@pytest.mark.slow
def test_the_working_tree_is_what_is_on_disk(repository):
    repository.put("tiny_selectors/removed.py", "")
    repository.put("tiny_selectors/moved.py", "MOVED = 1\n")
    last = repository.commit("more")
    (repository.root / "tiny_selectors/removed.py").unlink()
    repository.git("mv", "tiny_selectors/moved.py", "tiny_selectors/staged.py")
    repository.project("3")
    repository.put("tiny_selectors/new ü.txt", "not committed")
    repository.put("tiny_selectors/large.weights", "ignored")
    before = repository.state()
    with working_tree_side(repository.root / "tiny_selectors") as head:
        seen = look(head)
        assert (seen["version"], seen["revision"]) == ("3", "3")
        names = {path.name for path in Path(seen["place"]).parent.iterdir()} - {"__pycache__"}
        assert names == {"__init__.py", "staged.py", "new ü.txt"}
        assert head.revision == last + "+"
        assert head.label == f"working tree ({last[:12]}+)"
    assert repository.state() == before, "something was built in, or written to, the user's own checkout"


@pytest.mark.slow
def test_the_same_code_has_the_same_digest_wherever_it_lies(repository):
    with revision_side("main", repository.root) as one, working_tree_side(repository.root) as other:
        assert one.code == other.code


def test_plug_in_files_of_the_repository_are_those_of_the_revision(tmp_path, temporary):
    repository = Repository(tmp_path / "plain")
    mine = repository.plugin("1")
    outside = tmp_path / "outside.py"
    outside.write_text("")
    first = repository.commit()
    repository.plugin("2")
    plugins = [str(mine), str(outside)]
    with revision_side(first, repository.root, plugins) as base, working_tree_side(repository.root, plugins) as head:
        texts = [Path(side.plugins[0]).read_text() for side in (base, head)]
        assert ["REVISION = '1'" in texts[0], "REVISION = '2'" in texts[1]] == [True, True]
        assert [side.plugins[1] for side in (base, head)] == [str(outside)] * 2
        assert [Path(side.plugins[0]).relative_to(Path(side.plugins[0]).parents[1]) for side in (base, head)] == [
            Path("plugins/mine.py")
        ] * 2
        assert base.code != head.code
        assert base.label == f"revision {first[:12]}"
        assert_alike(base, head)
    assert not list(repository.root.rglob("__pycache__"))


def test_a_plug_in_file_that_the_base_does_not_have_is_named(tmp_path, temporary):
    repository = Repository(tmp_path / "plain")
    repository.put("README", "nothing yet")
    first = repository.commit()
    mine = repository.plugin("2")
    with pytest.raises(FgbenchError) as raised, revision_side(first, repository.root, [str(mine)]):
        pass
    said = f"revision {first[:12]} has no plug-in file 'plugins/mine.py'; give one that both sides have"
    assert str(raised.value) == said
    with pytest.raises(FgbenchError, match="no plug-in file"), revision_side(first, repository.root, ["/no/such.py"]):
        pass


@pytest.mark.slow
def test_the_project_is_the_one_that_holds_the_folder(tmp_path, temporary):
    repository = Repository(tmp_path / "many")
    repository.project("1", under="packages/tiny")
    repository.put("pyproject.toml", "[tool.ruff]\nline-length = 99\n")  # it configures a linter, and installs nothing
    first = repository.commit()
    with revision_side(first, repository.root / "packages/tiny/tiny_selectors") as base:
        assert look(base)["version"] == "1"
    with pytest.raises(FgbenchError) as raised, revision_side(first, repository.root):
        pass
    assert "nothing that could be measured is in" in str(raised.value)
    assert "no project (pyproject.toml or setup.py)" in str(raised.value)


@pytest.mark.parametrize("name", ["v9", "", "--all", "main:pyproject.toml"])
def test_a_revision_that_is_not_there_is_one_line(repository, name):
    with pytest.raises(FgbenchError) as raised, revision_side(name, repository.root):
        pass
    assert str(raised.value).startswith(f"no such git revision here: {name!r}; give a branch, a tag or a commit")
    assert raised.value.exit_code == 2


def test_in_a_shallow_clone_the_line_says_how_to_have_more(repository, tmp_path, temporary):
    repository.git("clone", "-q", "--depth", "1", f"file://{repository.root}", str(tmp_path / "shallow"))
    with pytest.raises(FgbenchError, match="fetch-depth: 0"), revision_side("HEAD~1", tmp_path / "shallow"):
        pass


def test_outside_of_a_repository_git_is_quoted(tmp_path, temporary):
    said = r"no git repository at .*git says: not a git repository"
    with pytest.raises(FgbenchError, match=said), revision_side("HEAD", tmp_path):
        pass
    with pytest.raises(FgbenchError, match="there is no folder"), working_tree_side(tmp_path / "no"):
        pass


def test_a_project_that_cannot_be_built_is_one_line_and_could_not_be_measured(repository):
    text = (repository.root / "pyproject.toml").read_text()
    repository.put("pyproject.toml", text.replace('version = "2"', 'version = "two and a half"'))
    before = repository.state()
    with pytest.raises(CannotMeasureError) as raised, working_tree_side(repository.root):
        pass
    assert raised.value.exit_code == 3
    assert str(raised.value).startswith(f"cannot install the project '{repository.root}'; the installer says: ")
    assert "version" in str(raised.value)
    assert "\n" not in str(raised.value)
    assert repository.state() == before


@pytest.mark.parametrize("kind", [KeyboardInterrupt, RuntimeError])
def test_however_it_ends_no_worktree_is_left(tmp_path, temporary, kind):
    repository = Repository(tmp_path / "plain")
    mine = repository.plugin("1")
    repository.commit()
    before = repository.state()

    def use_it():
        with revision_side("main", repository.root, [str(mine)]) as side:
            Path(side.plugins[0]).with_name("more.py").write_text("dirt")
            assert repository.git("worktree", "list").count("\n") == 1
            raise kind

    with pytest.raises(kind):
        use_it()
    assert repository.state() == before


def test_a_checkout_that_is_killed_half_way_leaves_no_worktree(tmp_path, temporary, monkeypatch):
    repository = Repository(tmp_path / "plain")
    mine = repository.plugin("1")
    repository.put(".gitattributes", "*.py filter=slow\n")
    repository.commit()
    repository.git("config", "filter.slow.smudge", "sleep 60")
    before = repository.state()
    monkeypatch.setattr(checkouts, "CHECKOUT_S", 1.0)
    with pytest.raises(FgbenchError, match="git did not end in time"):
        revision_side("main", repository.root, [str(mine)]).__enter__()
    assert repository.state() == before


def test_inside_a_hook_neither_the_hook_nor_the_users_index_is_in_the_way(tmp_path, temporary, monkeypatch):
    repository = Repository(tmp_path / "plain")
    mine = repository.plugin("1")
    first = repository.commit()
    hook = repository.put(".git/hooks/post-checkout", f"#!/bin/sh\ntouch {tmp_path}/called\n")
    hook.chmod(0o755)
    before = repository.state()
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "another/.git"))
    monkeypatch.setenv("GIT_INDEX_FILE", str(tmp_path / "another/index"))
    with revision_side(first, repository.root, [str(mine)]) as base:
        assert Path(base.plugins[0]).is_file()
    monkeypatch.undo()
    assert repository.state() == before
    assert not (tmp_path / "called").exists()


@pytest.mark.slow
def test_a_copy_that_hides_the_revision_is_named(repository, tmp_path, monkeypatch):
    """Some editable installs answer before any path is looked at."""
    hiding = tmp_path / "hiding"
    hiding.mkdir()
    (hiding / "sitecustomize.py").write_text(
        "import importlib.util, sys\n"
        f"place = '{repository.root}/tiny_selectors/__init__.py'\n"
        "class Hides:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name == 'tiny_selectors':\n"
        "            return importlib.util.spec_from_file_location(name, place)\n"
        "sys.meta_path.insert(0, Hides())\n"
    )
    monkeypatch.setenv("PYTHONPATH", f"{hiding}:{':'.join(filter(None, sys.path))}")
    with pytest.raises(CannotMeasureError) as raised, revision_side("v1", repository.root):
        pass
    assert "would not be measured, for its package 'tiny_selectors'; the environment has another copy" in str(
        raised.value
    )


def test_what_runs_here_is_a_side_with_its_path_made_absolute(tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", f"here::{':'.join(filter(None, sys.path))}")
    with running_side() as side:
        assert side.python == sys.executable
        assert side.environment["PYTHONPATH"].startswith(f"{tmp_path}/here:/")
        assert side.code
