"""Long tables on a terminal: lines equal to rich's where they fit, nothing lost where they do not, in time."""

from __future__ import annotations

import io

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from fgbench_reports.tables import terminal
from fgbench_reports.tables.long_table import LongTable
from fgbench_reports.tables.table import BEST, SECOND, Layout, Table
from fgbench_reports.tables.terminal import MOST_CELLS, to_long, to_rich, to_terminal

WIDE = 2_000  # columns of a console that every table here fits
cells = st.text(st.characters(categories=["L", "N", "P", "Zs", "Sm"]), max_size=12)
layouts = st.one_of(
    st.none(),
    st.builds(
        Layout,
        form=st.sampled_from(["narrow", "framed", "plain"]),
        styles=st.dictionaries(st.tuples(st.integers(0, 6), st.sampled_from("abc")), st.sampled_from(["bold", "red"])),
        column_styles=st.dictionaries(st.sampled_from("abc"), st.just("dim")),
        block_ends=st.sets(st.integers(0, 6)),
    ),
)


def as_printed(shown, width: int, *, coloured: bool = True) -> str:
    system = "truecolor" if coloured else None
    console = Console(file=io.StringIO(), width=width, force_terminal=coloured, color_system=system)
    with console.capture() as captured:
        console.print(shown, crop=False)
    return "\n".join(line.rstrip() for line in captured.get().split("\n"))


def table(lines, layout=None, marks=None, names=("a",), headings=("a", "b", "c")) -> Table:
    frame = pd.DataFrame(lines, columns=list(headings), dtype=object)
    return Table(name="x", title="A title", frame=frame, printed=frame, names=names, marks=marks or {}, layout=layout)


@given(st.lists(st.tuples(cells, cells, cells), min_size=1, max_size=6), layouts)
def test_lines_are_those_of_rich(lines, layout):
    shown = table(lines, layout, marks={(0, "b"): BEST, (len(lines) - 1, "c"): SECOND})
    plain = {"width": WIDE, "coloured": False}
    assert as_printed(to_long(shown), **plain) == as_printed(to_rich(shown), **plain)


@pytest.mark.parametrize("form", [None, "narrow", "framed", "plain"])
def test_styles_of_cells_are_those_of_rich(form):
    layout = None if form is None else Layout(form=form, styles={(0, "b"): "bold"}, column_styles={"c": "dim"})
    shown = table([("ab", "1", "20"), ("c\nd", "10", "3")], layout, marks={(1, "b"): BEST})
    assert letters(as_printed(to_long(shown), WIDE)) == letters(as_printed(to_rich(shown), WIDE))


def letters(text: str) -> list[tuple[str, str]]:
    """The letters that are printed, without blanks, each with the codes in force at it."""
    found, codes, rest = [], "", text
    while rest:
        if rest.startswith("\x1b["):
            code, _, rest = rest.partition("m")
            codes = "" if code == "\x1b[0" else code
        else:
            found += [(rest[0], codes)] if not rest[0].isspace() else []
            rest = rest[1:]
    return found


@given(st.lists(st.tuples(cells, cells, st.integers(0, 10**9).map(str)), min_size=1, max_size=6), st.integers(20, 60))
def test_a_narrow_console_wraps_names_and_cuts_nothing(lines, width):
    layout = Layout(form="narrow")
    shown = as_printed(to_long(table(lines, layout, names=("a", "b"))), width, coloured=False)
    written = "".join(shown.split())
    for *names, number in lines:
        assert number in shown
        assert all(letter in written for name in names for letter in name if not letter.isspace())


def test_every_line_of_a_long_table_is_printed_as_rich_would(monkeypatch):
    lines = [(f"model {number % 7}", str(number), "–") for number in range(MOST_CELLS // 3 + 1)]
    long = table(lines, marks={(5, "b"): BEST})
    shown = to_terminal([long], to_file=True)
    monkeypatch.setattr(terminal, "MOST_CELLS", 10**9)
    monkeypatch.setattr(LongTable, "__rich_console__", None)  # rich alone
    assert terminal.to_terminal([long], to_file=True) == shown
    assert shown.count("model") == len(lines)
