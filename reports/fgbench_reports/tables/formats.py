"""A table as Markdown, LaTeX, CSV, HTML, and rows for JSON."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from html import escape
from typing import Any

from fgbench.results.escaping import (
    LATEX_NEEDS_MATHS,
    csv_line,
    latex_text,
    markdown_paragraph,
    markdown_text,
    spreadsheet_text,
)
from fgbench_reports.tables.column import MISSING, as_text, is_missing
from fgbench_reports.tables.table import BEST, SECOND, Table, number_of

# The text around a marked cell.
MARKDOWN = {BEST: ("**", "**"), SECOND: ("<u>", "</u>")}
LATEX = {BEST: (r"\textbf{", "}"), SECOND: (r"\underline{", "}")}
HTML = {BEST: ('<strong class="best">', "</strong>"), SECOND: ('<u class="second">', "</u>")}
UNMARKED = ("", "")
# Cells without a letter that some format escapes, and how many of the others are remembered: names come again.
PLAIN = re.compile(r"[0-9A-Za-z.]+")
REMEMBERED = 10_000


def _remembering(escape_cell: Callable[[str], str]) -> Callable[[str], str]:
    remembered = functools.lru_cache(maxsize=REMEMBERED)(escape_cell)
    return lambda text: text if PLAIN.fullmatch(text) else remembered(text)


_markdown_cell, _latex_cell = _remembering(markdown_text), _remembering(latex_text)


def to_markdown(table: Table) -> str:
    """The title, a pipe table, and the notes; best is **bold**, second is underlined."""
    from tabulate import tabulate

    lines = [
        [_around(_markdown_cell(cell), MARKDOWN.get(mark, UNMARKED)) for cell, mark in line] for line in cells_of(table)
    ]
    sides = ["left" if heading in table.names else "right" for heading in table.printed.columns]
    headings = [markdown_text(heading) for heading in headings_of(table)]
    # Without lines tabulate knows no columns to align.
    body = tabulate(lines, headings, tablefmt="pipe", disable_numparse=True, colalign=sides if lines else None)
    title = [f"**{markdown_text(one_line(table.title))}**"] if table.title else []
    return "\n\n".join([*title, body, *(markdown_paragraph(one_line(note)) for note in table.notes)]) + "\n"


def to_latex(table: Table) -> str:
    r"""A booktabs ``tabular`` for a ``table`` environment of the reader's own, with their ``\caption`` and ``\label``.

    Comments above it are the title and the packages that it needs, comments below it are the notes. Best is
    ``\textbf``, second is ``\underline``. pandas' Styler writes the same text, but takes two seconds for 3,000
    lines, and a report may hold 10,000.
    """
    columns = "".join("l" if heading in table.names else "r" for heading in table.printed.columns)
    body = [
        rf"\begin{{tabular}}{{{columns}}}",
        r"\toprule",
        _latex_line(latex_text(heading) for heading in headings_of(table)),
        r"\midrule",
        *(
            _latex_line(_around(_latex_cell(cell), LATEX.get(mark, UNMARKED)) for cell, mark in line)
            for line in cells_of(table)
        ),
        r"\bottomrule",
        r"\end{tabular}",
    ]
    above = [*([table.title] if table.title else []), _latex_needs("".join(body))]
    return "\n".join([*map(_latex_comment, above), *body, *map(_latex_comment, table.notes)]) + "\n"


def to_csv(table: Table) -> str:
    """Values at full precision; missing ones are empty, text that a spreadsheet would run begins with an apostrophe."""
    values = _columns(table)
    lines = zip(*values, strict=True) if values else ()
    headings = [spreadsheet_text(heading) for heading in _raw_headings(table)]
    return "".join(map(csv_line, [headings, *map(_csv_cells, lines)]))


def to_html(table: Table) -> str:
    """A fragment: caption, headings with ``data-unit``, numbers with ``data-value``, and the notes as paragraphs."""
    kinds = ["name" if heading in table.names else "figure" for heading in table.printed.columns]
    heads = "".join(
        f'<th scope="col" class="{kind}"{_unit(table.units.get(raw))}>{escape(heading)}</th>'
        for raw, heading, kind in zip(table.printed.columns, headings_of(table), kinds, strict=True)
    )
    lines = [
        '<table class="fg-table">',
        f"<caption>{escape(one_line(table.title))}</caption>",
        f"<thead><tr>{heads}</tr></thead>",
        "<tbody>",
        *_html_lines(table, kinds),
        "</tbody>",
        "</table>",
        *(f'<p class="fg-note">{escape(one_line(note))}</p>' for note in table.notes),
    ]
    return "\n".join(lines) + "\n"


def to_rows(table: Table) -> list[dict[str, Any]]:
    """A dict per line for JSON: numbers as they are, None where one is missing, NaN or infinite."""
    headings, columns = _raw_headings(table), _columns(table)
    return [
        {heading: _json_value(value) for heading, value in zip(headings, line, strict=True)}
        for line in zip(*columns, strict=True)
    ]


def one_line(text: object) -> str:
    """A text as one line of visible characters without blanks around it."""
    return as_text(text).strip()


def headings_of(table: Table) -> list[str]:
    """The headings of a table as they are printed."""
    return [one_line(heading) for heading in table.printed.columns]


def cells_of(table: Table) -> Iterator[list[tuple[str, str]]]:
    """The printed cells of every line, each with its mark or with nothing."""
    headings = list(table.printed.columns)
    for index, line in enumerate(table.printed.itertuples(index=False, name=None)):
        yield [
            (one_line(cell), table.marks.get((index, heading), ""))
            for heading, cell in zip(headings, line, strict=True)
        ]


def _raw_headings(table: Table) -> list[str]:
    return [str(heading) for heading in table.frame.columns]


def _columns(table: Table) -> list[list[Any]]:
    """The values by column, as Python's own numbers."""
    return [[_plain(value) for value in table.frame.iloc[:, index].tolist()] for index in range(table.frame.shape[1])]


def _plain(value: Any) -> Any:
    return value.item() if type(value).__module__ == "numpy" and hasattr(value, "item") else value


def _around(text: str, mark: tuple[str, str]) -> str:
    return f"{mark[0]}{text}{mark[1]}"


def _latex_line(cells: Iterable[str]) -> str:
    return " & ".join(cells) + r" \\"


def _latex_comment(text: str) -> str:
    return f"% {one_line(text)}"


def _latex_needs(body: str) -> str:
    needs = r"needs \usepackage{booktabs}"
    if LATEX_NEEDS_MATHS in body:
        needs += r" and \usepackage{amssymb}"
    if not body.isascii():
        needs += ", and LuaLaTeX or XeLaTeX for letters that pdfLaTeX's fonts lack"
    return needs


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
    for cells, raw in zip(cells_of(table), values, strict=True):
        yield (
            "<tr>"
            + "".join(
                _html_cell(text, mark, value, kind, first=index == 0)
                for index, ((text, mark), value, kind) in enumerate(zip(cells, raw, kinds, strict=True))
            )
            + "</tr>"
        )


def _unit(unit: str | None) -> str:
    return f' data-unit="{escape(unit)}"' if unit else ""


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
