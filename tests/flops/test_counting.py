"""Counting as a function, without a command line."""

from __future__ import annotations

import pytest

from fgbench.errors import FgbenchError
from fgbench.flops import counting
from fgbench.flops.counting import count_grid
from fgbench.flops.grid import CountGrid
from fgbench.results.store import Store

GRID = CountGrid(sizes=(64,), backbones=("test_vit",), selectors=("gls",), impls=("fast",))


def test_rows_are_returned_and_kept_in_a_store(tmp_path):
    counted = count_grid(GRID, store=tmp_path / "rows.db")
    assert [(row.selector, row.image_size) for row in counted.rows] == [(None, 64), ("gls", 64)]
    assert (counted.kept, counted.interrupted) == (True, False)
    with Store(tmp_path / "rows.db", read_only=True) as store:
        assert [row["macs"] for row in store.rows("flops")] == [row.macs for row in counted.rows]


def test_without_a_store_nothing_is_kept(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert not count_grid(GRID).kept
    assert not list(tmp_path.iterdir())


def test_an_interrupt_leaves_the_finished_rows(monkeypatch):
    def interrupted(*arguments):
        yield from list(counting_rows(*arguments))[:1]
        raise KeyboardInterrupt

    counting_rows = counting.flops_rows
    monkeypatch.setattr(counting, "flops_rows", interrupted)
    counted = count_grid(GRID)
    assert counted.interrupted
    assert [row.selector for row in counted.rows] == [None]


def test_a_store_that_cannot_be_written_is_a_problem_and_no_error(tmp_path):
    problems: list[FgbenchError] = []
    counted = count_grid(GRID, store=tmp_path, on_problem=problems.append)
    assert (len(counted.rows), counted.kept) == (2, False)
    assert str(problems[0]).startswith("the rows were not kept: cannot use the store")


def test_options_of_backbones_are_refused_beside_models():
    with pytest.raises(FgbenchError, match="--patch-stride is for backbones"):
        CountGrid(models=("glsim",), patch_stride=12).check()
