"""Every format of a table: what is marked, what is escaped, and that it can be read back."""

from __future__ import annotations

import csv
import io
import json
import math
import re
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
from helpers.growth import assert_work_grows_with
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from fgbench.results import escaping
from fgbench_reports.sweep_rows import as_text
from fgbench_reports.tables import render
from fgbench_reports.tables.formats import to_csv, to_html, to_latex, to_markdown, to_rows
from fgbench_reports.tables.table import Table
from fgbench_reports.tables.terminal import to_rich

HOSTILE = "=1+1|_a_&[red]<b>*\\x $y$ {z} #1 ~^% `c`\n**w**"
NAMES = [HOSTILE, "<script>alert(1)</script>", "@cmd", "[1pt] 日本語", "plain"]
texts = st.one_of(
    st.text(max_size=20),
    st.text(alphabet="\\|_*`[]()<>&;#~$^%{}!=+-@'\" \t\r\nab1.:", max_size=20),
    st.sampled_from([*NAMES, "&amp;", "&#38;", "a_b_c", "__x__", "-", "–", "![x](y)", "<!-- x -->", "--", "'=1"]),
)
FORMATS = {"md": to_markdown, "tex": to_latex, "csv": to_csv, "html": to_html}


def percent(value: float) -> str:
    return f"{value:.1f}"


def table(names=NAMES, title="A title", notes=(), heading="model"):
    numbers = [92.04, None, -1.5, 91.0, math.nan, *[float(i) for i in range(len(names))]][: len(names)]
    frame = pd.DataFrame({heading: names, "top-1 %": numbers, "batch": range(1, len(names) + 1)})
    return Table.from_frame(
        "x", title, frame, {"top-1 %": percent, "batch": str}, best={"top-1 %": "high"}, notes=notes
    )


class Page(HTMLParser):
    """The texts of the elements of a page, by their tags, and the attributes of all tags."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict]] = []
        self.cells: list[str] = []
        self.other: list[str] = []
        self._inside = 0
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag in ("td", "th"):
            self._inside += 1
            self.cells.append("")

    def handle_endtag(self, tag):
        self._inside -= tag in ("td", "th")

    def handle_data(self, data):
        if self._inside:
            self.cells[-1] += data
        elif data.strip():
            self.other.append(data.strip())

    def handle_comment(self, data):
        raise AssertionError(f"a comment was read: {data}")


def visible(text: str) -> str:
    return as_text(text).strip()


@pytest.mark.parametrize("suffix", FORMATS)
def test_a_table_with_odd_names_in_every_format(same_as_snapshot, suffix):
    notes = ["# a note: " + HOSTILE, "1. of two"]
    same_as_snapshot(f"hostile_table.{suffix}", FORMATS[suffix](table(title=f"Odd: {HOSTILE}", notes=notes)))


def test_a_table_with_odd_names_on_a_terminal(same_as_snapshot):
    odd = table(title=f"Odd: {HOSTILE}", notes=["[red]note"])
    same_as_snapshot("hostile_table.txt", render.render(odd, "table", to_file=True))


def test_rows_for_json_hold_raw_values():
    rows = to_rows(table())
    assert json.loads(json.dumps(rows, allow_nan=False)) == rows
    assert [row["model"] for row in rows] == NAMES
    assert [row["top-1 %"] for row in rows] == [92.04, None, -1.5, 91.0, None]


def test_numpys_numbers_are_numbers_in_every_format():
    frame = pd.DataFrame({"n": pd.Series([np.float64(0.1), np.int64(3), np.bool_(True)], dtype=object)})
    odd = Table.from_frame("x", "X", frame, {"n": str})
    assert to_rows(odd) == [{"n": 0.1}, {"n": 3}, {"n": True}]
    assert 'data-value="0.1"' in to_html(odd)
    assert to_html(odd).count("data-value") == 2
    assert to_csv(odd) == "n\n0.1\n3\nTrue\n"


def test_best_and_second_are_marked_where_people_look_and_not_where_programs_do():
    plain = table(["a", "b", "c", "d"])
    assert " **92.0** |" in to_markdown(plain)
    assert " <u>91.0</u> |" in to_markdown(plain)
    assert r"\textbf{92.0}" in to_latex(plain)
    assert r"\underline{91.0}" in to_latex(plain)
    assert '<strong class="best">92.0</strong>' in to_html(plain)
    assert '<u class="second">91.0</u>' in to_html(plain)
    styles = {str(text): text.style for text in to_rich(plain).columns[1]._cells}
    assert (styles["92.0"], styles["91.0"], styles["-1.5"]) == ("bold", "underline", "")
    assert to_csv(plain) == "model,top-1 %,batch\na,92.04,1\nb,,2\nc,-1.5,3\nd,91.0,4\n"


def test_html_is_what_the_page_relies_on():
    lines = to_html(table(["a", "b"], title="T", notes=["n"])).splitlines()
    assert lines[:4] == [
        '<table class="fg-table">',
        "<caption>T</caption>",
        '<thead><tr><th scope="col" class="name">model</th><th scope="col" class="figure">top-1 %</th>'
        '<th scope="col" class="figure">batch</th></tr></thead>',
        "<tbody>",
    ]
    assert lines[4] == (
        '<tr><th scope="row" class="name">a</th><td class="figure" data-value="92.04">92.0</td>'
        '<td class="figure" data-value="1">1</td></tr>'
    )
    assert '<td class="figure">–</td>' in lines[5]
    assert lines[6:] == ["</tbody>", "</table>", '<p class="fg-note">n</p>']


@given(st.lists(texts, min_size=1, max_size=4), texts, texts)
def test_markdown_is_read_as_the_text_that_was_written(names, heading, note):
    written = to_markdown(table(names, title=f"T {heading}", notes=[f"n {note}"], heading=f"h {heading}"))
    page = Page(MarkdownIt("commonmark").enable(["table", "strikethrough"]).render(written))
    width = 3
    assert page.cells[0] == visible(f"h {heading}")
    assert page.cells[width::width] == [visible(name) for name in names]
    assert {tag for tag, _ in page.tags} <= {"p", "strong", "table", "thead", "tbody", "tr", "th", "td", "u"}
    assert page.other == [visible(f"T {heading}"), visible(f"n {note}")]


@given(texts)
def test_a_note_is_a_paragraph_of_markdown_whatever_it_begins_with(note):
    page = Page(MarkdownIt("commonmark").render("before\n\n" + escaping.markdown_paragraph(visible(note)) + "\n"))
    assert {tag for tag, _ in page.tags} == {"p"}
    assert "".join(page.other[1:]) == visible(note)


@given(st.lists(texts, min_size=1, max_size=4), texts, texts)
def test_html_is_read_as_the_text_that_was_written(names, heading, note):
    page = Page(to_html(table(names, title=f"T {heading}", notes=[f"n {note}"], heading=f"h {heading}")))
    assert page.cells[0] == visible(f"h {heading}")
    assert page.cells[3::3] == [visible(name) for name in names]
    assert page.other == [visible(f"T {heading}"), visible(f"n {note}")]
    assert {tag for tag, _ in page.tags} <= {
        *("table", "caption", "thead", "tbody", "tr", "th", "td", "p", "strong", "u")
    }


@given(st.lists(texts, min_size=1, max_size=4), texts)
def test_csv_is_read_as_what_was_written_and_nothing_runs_in_a_spreadsheet(names, heading):
    written = to_csv(table(names, heading=f"{heading} h"))
    header, *lines = csv.reader(io.StringIO(written, newline=""))
    texts_read = [header[0], *(line[0] for line in lines)]
    for read, raw in zip(texts_read, [f"{heading} h", *names], strict=True):
        held = raw.replace("\0", "\ufffd")
        assert read == ("" if raw == "–" else f"'{held}" if raw.startswith(tuple("=+-@\t\r\n")) else held)
    raw_numbers = [row["top-1 %"] for row in to_rows(table(names))]
    assert [line[1] for line in lines] == ["" if value is None else repr(value) for value in raw_numbers]


def test_what_no_text_file_can_hold_is_replaced():
    odd = Table.from_frame("x", "X", pd.DataFrame({"model": ["\udc80x\0"]}, dtype=object), {})
    assert to_csv(odd).encode("utf-8").decode("utf-8") == "model\n\ufffdx\ufffd\n"
    for write in (to_markdown, to_latex, to_html):
        assert write(odd).encode("utf-8")


LATEX_TOKENS = {
    **{r"\textbackslash{}": "\\", r"\textasciitilde{}": "~", r"\textasciicircum{}": "^", r"\textless{}": "<"},
    **{r"\textgreater{}": ">", r"\textbar{}": "|", r"\ldots{}": "…", "{[}": "[", "{*}": "*"},
    **{f"\\{letter}": letter for letter in "{}$&#%_"},
    **{rf"\({name}\)": sign for name, sign in {r"\checkmark": "✓", r"\times": "×", r"\pm": "±"}.items()},
}


def read_latex(cell: str) -> str:
    """The text behind a cell; what is special to LaTeX and not escaped fails."""
    assert "--" not in cell, "LaTeX makes a dash of two hyphens"
    cell = re.sub(r"(?<=-)\{\}(?=-)", "", cell)
    tokens = "|".join(re.escape(token) for token in sorted(LATEX_TOKENS, key=len, reverse=True))
    rest = re.sub(tokens, "", cell)
    assert not set(rest) & set("\\{}$&#%_~^<>|"), rest
    return re.sub(tokens, lambda found: LATEX_TOKENS[found[0]], cell)


@given(texts.filter(lambda text: not set(text) & set("·→²³–−≥≤Δ†")))
def test_no_unescaped_special_remains_in_latex(text):
    cell = escaping.latex_text(visible(text))
    assert read_latex(cell) == visible(text)
    assert not cell.startswith(("[", "*"))


def test_an_option_in_latex_keeps_its_two_hyphens():
    assert escaping.latex_text("--max-latency: 5–6 ms") == "-{}-max-latency: 5--6 ms"
    assert escaping.latex_text("a---b") == "a-{}-{}-b"


@given(st.lists(texts, min_size=1, max_size=3), texts)
def test_latex_is_a_tabular_and_comments(names, note):
    lines = to_latex(table(names, title=f"T {note}", notes=[note])).splitlines()
    first, last = lines.index(r"\begin{tabular}{lrr}"), lines.index(r"\end{tabular}")
    assert all(line.startswith("% ") or line == "%" for line in lines[:first] + lines[last + 1 :])
    assert len(lines[first:last]) == 5 + len(names)
    assert all(line.endswith(r" \\") for line in lines[first + 4 : last - 1])


def test_latex_says_what_it_needs():
    assert "amssymb" in to_latex(table(["✓"]))
    assert "LuaLaTeX" not in to_latex(table(["90.93†"]))
    assert "LuaLaTeX" in to_latex(table(["日本語"]))
    assert "needs \\usepackage{booktabs}\n" in to_latex(table(["× ± – ² ³ · …"]))


@pytest.mark.parametrize("write", [*FORMATS.values(), to_rows, lambda t: to_rich(t).row_count])
def test_a_table_without_lines_is_a_table(write):
    empty = Table.from_frame("x", "X", pd.DataFrame({"model": [], "img/s": []}), {"img/s": str}, best={"img/s": "high"})
    found = write(empty)
    assert not found or "img/s" in found


def test_the_work_for_ten_thousand_lines_is_ten_times_that_for_a_thousand():
    frame = pd.DataFrame({"model": [f"m_{i}" for i in range(10_000)], "img/s": np.arange(10_000) / 7})

    def write_all(frame) -> None:
        large, last = (
            Table.from_frame("x", "X", frame, {"img/s": "{:.3f}".format}, best={"img/s": "high"}),
            len(frame) - 1,
        )
        for write in FORMATS.values():
            text = write(large)
            assert text.count(f"m\\_{last}") + text.count(f"m_{last}") == 1
        assert len(to_rows(large)) == len(frame)

    assert_work_grows_with(frame, write_all)
