"""The tables and notes of ``fgbench regress``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from fgbench_reports.regression.findings import FAILING, FASTER, LISTED, NEW, OPEN, SAME, SMALLER, Finding, Outcome
from fgbench_reports.regression.wording import (
    MISSING,
    before_and_after,
    by_reason,
    change_text,
    compared,
    figure_word,
    line_of,
    more_points,
    places,
    shortened,
    verdict_line,
    verdict_word,
)
from fgbench_reports.sweep_rows import first_notes
from fgbench_reports.tables.column import Cell, word
from fgbench_reports.tables.numbers import how_many
from fgbench_reports.tables.render import RowTables
from fgbench_reports.tables.table import Layout, Table

HEADINGS = ("point", "figure", "before", "after", "change", "verdict")
FIGURES = ("before", "after", "change")
NAMES = ("check", "point", "figure", "verdict", "reason")  # columns that are aligned to the left
TITLES = {FAILING: "What fails", OPEN: "Neither passed nor failed", LISTED: "New, faster, smaller"}
STYLES = {**dict.fromkeys(FAILING, "red"), **dict.fromkeys(OPEN, "yellow"), FASTER: "green", SMALLER: "green", NEW: ""}
MAX_LINES = {FAILING: 60, OPEN: 20, LISTED: 20}  # lines of a table in a terminal


def regression_tables(outcome: Outcome) -> RowTables:
    """The findings of ``fgbench regress`` as each format shows them.

    A terminal shows three tables – failing findings, open ones, new or better ones – each with the largest change
    first. Documents have one table with a line per finding.

    Args:
        outcome: The findings of a comparison.

    """
    titles = TITLES | ({FAILING: "What changed"} if outcome.updated else {})
    narrow = [
        _narrow(title, verdicts, findings)
        for verdicts, title in titles.items()
        if (findings := outcome.having(*verdicts))
    ]
    notes = regression_notes(outcome)
    rows = [finding.as_dict() for finding in outcome.findings]
    return RowTables(rows=rows, narrow=narrow, wide=[_wide(outcome, notes)], notes=notes)


def regression_notes(outcome: Outcome) -> list[str]:
    """Each reason once with its points, the number of lines left out, the notes of the outcome, and the verdict."""
    told = [f"Compared: {what}."] if (what := compared(outcome)) else []
    reasons = first_notes(list(_reasons(outcome)), "reason")
    notes = [*reasons, *_left_out(outcome), *told, *map(line_of, outcome.notes), verdict_line(outcome)]
    return [note for note in notes if note]


def _wide(outcome: Outcome, notes: Sequence[str]) -> Table:
    ordered = [finding for verdicts in (*TITLES, (SAME,)) for finding in outcome.having(*verdicts)]
    lines = [
        {"check": word(line_of(finding.check)), **_cells(finding), "reason": word(line_of(finding.reason))}
        for finding in ordered
    ]
    return Table.from_cells("regression", "", lines, names=NAMES, headings=["check", *HEADINGS, "reason"], notes=notes)


def _narrow(title: str, verdicts: tuple[str, ...], findings: Sequence[Finding]) -> Table:
    lines: list[dict[str, Cell]] = []
    styles: dict[tuple[int, str], str] = {}
    for index, finding in enumerate(findings[: MAX_LINES[verdicts]]):
        cells = _cells(finding)
        broken = {heading: cells[heading].text.replace(" (", "\n(") for heading in FIGURES}
        lines.append(cells | {heading: Cell(cells[heading].value, text) for heading, text in broken.items()})
        styles |= {(index, heading): STYLES.get(finding.verdict, "") for heading in ("change", "verdict")}
    title = f"{title}: {how_many(len(findings), 'figure')}"
    return Table.from_cells("regression", title, lines, names=NAMES, headings=HEADINGS, layout=Layout(styles=styles))


def _cells(finding: Finding) -> dict[str, Cell]:
    before, after = before_and_after(finding)
    return {
        "point": word(line_of(finding.point) or MISSING),
        "figure": word(figure_word(finding.figure)),
        "before": Cell(finding.before, before),
        "after": Cell(finding.after, after),
        "change": word(change_text(finding)),
        "verdict": word(verdict_word(finding.verdict)),
    }


def _reasons(outcome: Outcome) -> Iterator[str]:
    for (verdict, reason), found in by_reason(outcome.having(*FAILING, *OPEN)).items():
        figures, names, left = places(found)
        yield f"{verdict_word(verdict)}: {figures} of {more_points(names, left)} – {shortened(reason)}"


def _left_out(outcome: Outcome) -> Iterator[str]:
    for verdicts, title in TITLES.items():
        left = len(outcome.having(*verdicts)) - MAX_LINES[verdicts]
        if left > 0:
            yield f"{title}: {how_many(left, 'more figure')} are in the other formats."
