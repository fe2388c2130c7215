"""A table as LaTeX to paste: one form for every command and report."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from fgbench.results.escaping import LATEX_NEEDS_MATHS, latex_text
from fgbench_reports.sweep_rows import as_text


def tabular(
    headings: Sequence[str],
    lines: Iterable[Sequence[str]],
    *,
    names: Collection[str],
    title: str = "",
    notes: Sequence[str] = (),
) -> str:
    r"""A booktabs ``tabular`` for a ``table`` environment of the reader's own, with their ``\caption`` and ``\label``.

    Comments above it are the title and the packages that it needs, comments below it are the notes.

    Args:
        headings: Names of the columns, as they are.
        lines: Cells of every line, LaTeX already.
        names: Headings of the columns that stand to the left.
        title: What the table shows.
        notes: Sentences on what stands in it.

    """
    columns = "".join("l" if heading in names else "r" for heading in headings)
    body = [
        rf"\begin{{tabular}}{{{columns}}}",
        r"\toprule",
        _line([latex_text(heading) for heading in headings]),
        r"\midrule",
        *map(_line, lines),
        r"\bottomrule",
        r"\end{tabular}",
    ]
    above = [*([title] if title else []), _needs("".join(body))]
    return "\n".join([*_comments(above), *body, *_comments(notes)]) + "\n"


def _needs(body: str) -> str:
    needs = r"needs \usepackage{booktabs}"
    if LATEX_NEEDS_MATHS in body:
        needs += r" and \usepackage{amssymb}"
    if not body.isascii():
        needs += ", and LuaLaTeX or XeLaTeX for letters that pdfLaTeX's fonts lack"
    return needs


def _line(cells: Sequence[str]) -> str:
    return " & ".join(cells) + r" \\"


def _comments(texts: Iterable[str]) -> list[str]:
    return [f"% {as_text(text).strip()}" for text in texts]
