"""A table in every format: Markdown, LaTeX, CSV, HTML, a terminal's, rows for JSON."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

from fgbench.results.escaping import csv_line, latex_text, markdown_paragraph, markdown_text, spreadsheet_text
from fgbench_reports.report import BEST, SECOND, Table
from fgbench_reports.sweep_rows import as_text
from fgbench_reports.tables.build import MISSING, is_missing
from fgbench_reports.tables.latex import tabular
from fgbench_reports.tables.marks import number_of

if TYPE_CHECKING:
    from rich.table import Table as TerminalTable

# What stands around a marked cell.
MARKDOWN = {BEST: ("**", "**"), SECOND: ("<u>", "</u>")}
LATEX = {BEST: (r"\textbf{", "}"), SECOND: (r"\underline{", "}")}
HTML = {BEST: ('<strong class="best">', "</strong>"), SECOND: ('<u class="second">', "</u>")}
TERMINAL = {BEST: "bold", SECOND: "underline"}
UNMARKED = ("", "")


def to_markdown(table: Table) -> str:
    """The title, a pipe table, and the notes; best is **bold**, second is underlined."""
    from tabulate import tabulate

    lines = [
        [_around(markdown_text(cell), MARKDOWN.get(mark, UNMARKED)) for cell, mark in line] for line in _cells(table)
    ]
    sides = ["left" if heading in table.names else "right" for heading in _headings(table)]
    headings = [markdown_text(heading) for heading in _headings(table)]
    # Without lines tabulate knows no columns to align.
    body = tabulate(lines, headings, tablefmt="pipe", disable_numparse=True, colalign=sides if lines else None)
    title = f"**{markdown_text(_line(table.title))}**"
    return "\n\n".join([title, body, *(markdown_paragraph(_line(note)) for note in table.notes)]) + "\n"


def to_latex(table: Table) -> str:
    r"""A booktabs tabular to paste; the title and the notes are comments, best is \textbf, second \underline."""
    lines = [[_around(latex_text(cell), LATEX.get(mark, UNMARKED)) for cell, mark in line] for line in _cells(table)]
    return tabular(_headings(table), lines, names=table.names, title=table.title, notes=table.notes)


def to_csv(table: Table) -> str:
    """Values at full precision; missing ones are empty, text that a spreadsheet would run begins with an apostrophe."""
    values = _columns(table)
    lines = zip(*values, strict=True) if values else ()
    headings = [spreadsheet_text(heading) for heading in _raw_headings(table)]
    return "".join(map(csv_line, [headings, *map(_csv_cells, lines)]))


def to_html(table: Table) -> str:
    """A fragment: the table with its caption, numbers as ``data-value``, and the notes as paragraphs."""
    kinds = ["name" if heading in table.names else "figure" for heading in _headings(table)]
    heads = "".join(
        f'<th scope="col" class="{kind}">{escape(heading)}</th>'
        for heading, kind in zip(_headings(table), kinds, strict=True)
    )
    lines = [
        '<table class="fg-table">',
        f"<caption>{escape(_line(table.title))}</caption>",
        f"<thead><tr>{heads}</tr></thead>",
        "<tbody>",
        *_html_lines(table, kinds),
        "</tbody>",
        "</table>",
        *(f'<p class="fg-note">{escape(_line(note))}</p>' for note in table.notes),
    ]
    return "\n".join(lines) + "\n"


def to_terminal_table(table: Table) -> TerminalTable:
    """A table for :func:`fgbench_reports.tables.render.to_terminal`; its notes go there beside it."""
    from rich import box
    from rich.table import Table as TerminalTable
    from rich.text import Text

    title = Text(_line(table.title), "bold", no_wrap=True, overflow="ignore")  # of a table narrower than it
    made = TerminalTable(title=title, title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for heading in _headings(table):
        made.add_column(
            Text(heading), justify="left" if heading in table.names else "right", overflow="fold", vertical="bottom"
        )
    for line in _cells(table):
        made.add_row(*(Text(cell, TERMINAL.get(mark, "")) for cell, mark in line))
    return made


def to_rows(table: Table) -> list[dict[str, Any]]:
    """A dict per line for JSON: numbers as they are, None where one is missing, NaN or infinite."""
    headings, columns = _raw_headings(table), _columns(table)
    return [
        {heading: _json_value(value) for heading, value in zip(headings, line, strict=True)}
        for line in zip(*columns, strict=True)
    ]


def _line(text: object) -> str:
    return as_text(text).strip()


def _raw_headings(table: Table) -> list[str]:
    return [str(heading) for heading in table.frame.columns]


def _headings(table: Table) -> list[str]:
    return [_line(heading) for heading in table.printed.columns]


def _columns(table: Table) -> list[list[Any]]:
    """The values by column, as Python's own numbers."""
    return [[_plain(value) for value in table.frame.iloc[:, index].tolist()] for index in range(table.frame.shape[1])]


def _plain(value: Any) -> Any:
    return value.item() if type(value).__module__ == "numpy" and hasattr(value, "item") else value


def _cells(table: Table) -> Iterator[list[tuple[str, str]]]:
    """The printed cells of every line, each with its mark or with nothing."""
    headings = list(table.printed.columns)
    for index, line in enumerate(table.printed.itertuples(index=False, name=None)):
        yield [
            (_line(cell), table.marks.get((index, heading), "")) for heading, cell in zip(headings, line, strict=True)
        ]


def _around(text: str, mark: tuple[str, str]) -> str:
    return f"{mark[0]}{text}{mark[1]}"


def _csv_cells(values: Iterable[Any]) -> list[Any]:
    return [_csv_value(value) for value in values]


def _csv_value(value: Any) -> Any:
    if is_missing(value):
        return ""
    if isinstance(value, str):
        return "" if value == MISSING else spreadsheet_text(value)
    return value


def _html_lines(table: Table, kinds: Sequence[str]) -> Iterator[str]:
    values = zip(*_columns(table), strict=True)
    for cells, raw in zip(_cells(table), values, strict=True):
        yield (
            "<tr>"
            + "".join(
                _html_cell(text, mark, value, kind, first=index == 0)
                for index, ((text, mark), value, kind) in enumerate(zip(cells, raw, kinds, strict=True))
            )
            + "</tr>"
        )


def _html_cell(text: str, mark: str, value: Any, kind: str, *, first: bool) -> str:
    printed = _around(escape(text), HTML.get(mark, UNMARKED))
    if first and kind == "name":
        return f'<th scope="row" class="name">{printed}</th>'
    number = "" if number_of(value) is None else f' data-value="{escape(str(value))}"'
    return f'<td class="{kind}"{number}>{printed}</td>'


def _json_value(value: Any) -> Any:
    if is_missing(value) or (isinstance(value, float) and number_of(value) is None):
        return None
    return value if isinstance(value, (str, bool, int, float)) else str(value)
