"""Counted rows are stored, and the table is shown even if the store cannot be written."""

from __future__ import annotations

import json
import os
import sqlite3
from contextlib import ExitStack, closing
from pathlib import Path

import pytest
from typer.testing import CliRunner

from fgbench.cli import app
from fgbench.cli.saved import read_data
from fgbench.flops import counting
from fgbench.results.store import Store
from fgbench_selectors import selectors

TINY = ["--backbones", "vit_tiny_patch16_224", "--sizes", "224", "--selectors", "gls"]
PLUGIN = (
    "from fgbench_selectors import Needs, Selector\n"
    "class Mine(Selector):\n"
    "    needs, score_shape = Needs(tokens=True), ('batch', 'patches')\n"
    "    def published(self, features):\n"
    "        return features.read_tokens()[:, 1:].norm(dim=-1)\n"
)


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("FGBENCH_STORE", raising=False)
    return tmp_path


def count(*words: str, code: int = 0):
    result = CliRunner().invoke(app, ["flops", *TINY, "--format", "json", *words])
    assert result.exit_code == code, result.stderr
    return json.loads(result.stdout), result.stderr


def kept(name="fgbench.db") -> list[dict]:
    with Store(Path(name), read_only=True) as store:
        return list(store.rows("flops"))


def attempts(name="fgbench.db") -> int:
    with closing(sqlite3.connect(name)) as db:
        return db.execute("SELECT count(*) FROM points").fetchone()[0]


def test_rows_are_kept_with_what_they_were_counted_with():
    rows, said = count()
    assert said == ""
    found = kept()
    assert [{name: row[name] for name in rows[0]} for row in found] == rows
    assert {row["part"] for row in found} == {None}
    environment = found[0]["environment"]
    assert (environment["num_classes"], environment["patch_stride"]) == (200, None)
    assert {"fgbench", "timm", "torch", "code"} <= set(environment)
    Path("export.json").write_text(json.dumps(rows))
    assert list(read_data(Path("fgbench.db"), [Path("export.json")], print).flops) == found
    alone = read_data(None, [Path("export.json")], print)  # somebody's file is not mixed with one's own store unasked
    assert [row["environment"] for row in alone.flops] == [{}] * len(rows)


def test_counting_again_adds_nothing_and_other_options_are_other_rows():
    count()
    count()
    assert attempts() == 3
    count("--num-classes", "10")
    count("--patch-stride", "12")
    count("--convention", "fvcore", "--impl", "fast")
    assert attempts() == 3 + 3 + 3 + 2
    around = [(row["environment"]["num_classes"], row["environment"]["patch_stride"]) for row in kept()]
    assert dict.fromkeys(around) == dict.fromkeys([(200, None), (10, None), (200, 12)])


def test_a_count_that_has_changed_replaces_the_old_one():
    rows, _ = count()
    with closing(sqlite3.connect("fgbench.db")) as db, db:
        db.execute("UPDATE points SET content = json_set(content, '$.macs', 1) WHERE attempt = 1 AND id = 1")
    assert kept()[0]["macs"] == 1
    count()
    assert attempts() == 4
    assert kept()[0]["macs"] == rows[0]["macs"]


def test_parts_of_models_are_kept_whether_they_are_shown_or_not(monkeypatch):
    monkeypatch.setenv("FGBENCH_STORE", "other.db")
    words = ["flops", "--backbones", "vit_tiny_patch16_224", "--sizes", "224", "--models", "glsim", "--format", "json"]
    shown = json.loads(CliRunner().invoke(app, words).stdout)
    parts = [row["part"] for row in kept("other.db") if row["model"] == "glsim" and row["impl"] == "fast"]
    assert parts == [None, "pass 1", "selector", "crop", "pass 2", "fusion"]
    assert len(shown) == 3
    assert not Path("fgbench.db").exists()


def test_selectors_of_one_name_from_two_files_are_two(tmp_path):
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "mine.py").write_text(PLUGIN)
        selectors._from_files.clear()
        count("--selectors", "mine", "--impl", "fast", "--plugin", f"{name}/mine.py", "--store", "plugins.db")
    assert [row["selector"] for row in kept("plugins.db")].count("mine") == 2
    assert [row["selector"] for row in kept("plugins.db")].count("gls") == 1


@pytest.mark.parametrize("spoil", ["foreign", "a folder", "locked", "read-only"])
def test_a_store_that_cannot_be_written_costs_nobody_the_table(spoil, tmp_path, monkeypatch):
    monkeypatch.setattr(counting, "LOCKED_STORE_S", 0.1)
    wanted, _ = count("--store", "good.db")
    target = tmp_path / "place" / "store.db"
    target.parent.mkdir()
    with ExitStack() as spoiled:
        if spoil == "foreign":
            target.write_text("my diary")
        elif spoil == "a folder":
            target.mkdir()
        elif spoil == "locked":
            Store(target).close()
            lock = spoiled.enter_context(closing(sqlite3.connect(target, isolation_level=None)))
            lock.execute("BEGIN EXCLUSIVE")
        elif os.geteuid():
            target.parent.chmod(0o555)
        else:
            target = tmp_path / "nowhere" / "store.db"  # root may write everywhere
        rows, said = count("--store", str(target), code=3 if spoil == "locked" else 2)
    assert rows == wanted
    assert len(said.splitlines()) == 1
    assert said.startswith(f"fgbench: the rows were not kept: cannot use the store {str(target)!r}")
    if spoil == "foreign":
        assert target.read_text() == "my diary"


def test_nothing_is_kept_of_a_request_that_is_refused():
    result = CliRunner().invoke(app, ["flops", "--backbones", "vit_tiny_patch16_224", "--sizes", "224", "8"])
    assert result.exit_code == 2
    assert not Path("fgbench.db").exists()


def test_rows_are_kept_where_they_cannot_be_shown():
    if not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    result = CliRunner().invoke(app, ["flops", *TINY, "--format", "json", "--output", "/dev/full"])
    assert result.exit_code == 2
    assert len(kept()) == 3
