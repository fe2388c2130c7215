"""`fgbench list` with selectors of fgbench and with unusual ones."""

from __future__ import annotations

import pytest

from fgbench.cli.listing import selector_rows
from fgbench_selectors import Needs, Selector, selectors
from fgbench_selectors.registry import Entry


class Plain(Selector):
    """One line."""

    needs, score_shape = Needs(tokens=True), ("batch", "patches")

    def published(self, features): ...


class EverySecondBlock(Plain):
    needs = Needs(blocks=slice(0, None, 2))


class Undescribed(Plain):
    __doc__ = None


class DescribedByANumber(Plain):
    __doc__ = 5


def row_of(cls: type, monkeypatch) -> tuple[dict, list]:
    monkeypatch.setattr(selectors, "_from_files", {"mine": Entry("mine", "a test", lambda: cls)})
    problems = []
    (row,) = [row for row in selector_rows(problems.append) if row["name"] == "mine"]
    return row, [str(problem) for problem in problems]


@pytest.mark.parametrize(
    ("cls", "reads", "description"),
    [
        (Plain, "tokens", "One line"),
        (EverySecondBlock, "q, k of blocks 1…L in steps of 2", ""),
        (Undescribed, "tokens", ""),
    ],
)
def test_a_selector_is_described_by_what_it_declares(cls, reads, description, monkeypatch):
    row, problems = row_of(cls, monkeypatch)
    assert (row["reads"], row["description"], problems) == (reads, description, [])


def test_a_selector_that_cannot_be_described_is_broken_and_hides_no_other(monkeypatch):
    row, problems = row_of(DescribedByANumber, monkeypatch)
    assert row["description"].startswith("broken: its docstring must be words, got 5")
    assert len(problems) == 1
    assert "plug-in 'mine' from a test is broken" in problems[0]
