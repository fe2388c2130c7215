"""``fgbench report --fill PAGE``: the blocks of pages that people write, filled from saved rows."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from fgbench.errors import FgbenchError, OnProblem
from fgbench.results.output import check_output, emit, emit_bytes, make_folder
from fgbench.results.reading import read_text

if TYPE_CHECKING:
    from fgbench_reports.blocks import Content, Rows

FIGURES = "figures"  # beside a page: the folder of the figures that its blocks show


def split_self_tests(files: Sequence[Path]) -> tuple[list[Path], list[dict[str, object]]]:
    """Files of rows, and the self-tests (``fgbench regress --a-a --format json``) among the files.

    Args:
        files: What ``--rows`` names.

    Returns:
        The files that hold rows, and the self-tests. A file that cannot be read counts as one of rows: its reader says
        why.

    """
    from fgbench_reports.regression.rule_tables import read_self_test

    others: list[Path] = []
    self_tests: list[dict[str, object]] = []
    for file in files:
        try:
            self_test = read_self_test(read_text(file))
        except (OSError, UnicodeDecodeError):
            self_test = None
        if self_test is None:
            others.append(file)
        else:
            self_tests.append({**self_test, "machine": self_test["machine"] or file.stem})
    return others, self_tests


def fill_pages(pages: Sequence[Path], rows: Rows, on_problem: OnProblem) -> list[str]:
    """Fill the blocks of pages, and write the figures that they show beside each page.

    Nothing is written before every block of every page is made.

    Args:
        pages: Markdown files with blocks (:mod:`fgbench_reports.pages`).
        rows: What the blocks are filled from.
        on_problem: Called with a problem of a report that a block names.

    Returns:
        A line for each page.

    Raises:
        FgbenchError: A page cannot be read or written, has no blocks, or a block that is unknown or that the rows
            cannot fill.

    """
    from fgbench_reports.pages import filled

    texts = {page: _read(page) for page in pages}
    names = {page: _block_names(page, text) for page, text in texts.items()}
    contents: dict[str, Content] = {}
    for page, wanted in names.items():
        for name in wanted:
            if name not in contents:
                contents[name] = _content(page, name, rows, on_problem)
    lines = []
    for page, text in texts.items():
        new = filled(text, {name: contents[name].text for name in names[page]})
        if new != text:
            emit(new, page)
        for name in names[page]:
            _write_figures(contents[name].figures, page.parent / FIGURES)
        count = f"{len(names[page])} blocks" if len(names[page]) > 1 else "1 block"
        lines.append(f"{page}: {count} filled" if new != text else f"{page}: {count} filled, nothing changed")
    return lines


def _read(page: Path) -> str:
    check_output(page)
    try:
        return read_text(page)
    except UnicodeDecodeError as error:
        raise FgbenchError("cannot fill", str(page), "it is no UTF-8 text") from error
    except OSError as error:
        why = error.strerror or str(error)
        do = f"{why}; give a page that is there, with blocks '<!-- begin NAME -->'"
        raise FgbenchError("cannot fill", str(page), do) from error


def _block_names(page: Path, text: str) -> list[str]:
    from fgbench.plugins.kinds import reports
    from fgbench_reports.blocks import BLOCKS
    from fgbench_reports.pages import block_names

    try:
        names = block_names(text)
    except ValueError as error:
        raise FgbenchError("cannot fill", str(page), str(error)) from error
    for name in names:
        if name not in BLOCKS and name not in reports.names():
            near = difflib.get_close_matches(name, [*BLOCKS, *reports.names()], n=1)
            hint = f"did you mean {near[0]}? " if near else ""
            own = ", ".join(BLOCKS)
            raise FgbenchError(
                f"cannot fill {page}: unknown block",
                name,
                f"{hint}A block is a report ('fgbench list reports') or {own}",
            )
    return names


def _content(page: Path, name: str, rows: Rows, on_problem: OnProblem) -> Content:
    from fgbench_reports.blocks import BLOCKS
    from fgbench_reports.data import KINDS

    block = BLOCKS.get(name)
    if block is None:
        return _of_report(page, name, rows, on_problem)
    for kind in block.needs:
        if not rows.data.of_kind(kind):
            raise FgbenchError(
                f"cannot fill the block {name!r} of", str(page), f"no rows of kind {kind}: '{KINDS[kind]}' makes them"
            )
    return block.make(rows)


def _of_report(page: Path, name: str, rows: Rows, on_problem: OnProblem) -> Content:
    """The tables of a report as Markdown, its figures as images."""
    from fgbench.plugins.reports import make_reports, render_reports
    from fgbench_reports.blocks import of_report
    from fgbench_reports.folder import missing_of
    from fgbench_reports.plots.style import import_seaborn_alone

    import_seaborn_alone()
    problems: list[FgbenchError] = []
    made = make_reports([name], rows.data, problems.append, drawn=True)
    parts = render_reports(made, problems.append)
    for problem in problems:
        on_problem(problem)
    if not parts:
        raise FgbenchError(f"cannot fill the block {name!r} of", str(page), "its report is broken")
    content = of_report(parts[0])
    if not content.text:
        why = "; ".join(f"{item.what}: '{item.command}' would fill it" for item in missing_of(made))
        raise FgbenchError(f"cannot fill the block {name!r} of", str(page), why or "its report is empty")
    return content


def _write_figures(figures: Mapping[str, str | bytes], folder: Path) -> None:
    for name, figure in figures.items():
        make_folder(folder)
        if isinstance(figure, bytes):
            emit_bytes(figure, folder / name)
        else:
            emit(figure, folder / name)
