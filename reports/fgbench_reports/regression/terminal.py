"""The tables and notes of ``fgbench regress``: what fails, what is open, what is listed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

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
from fgbench_reports.sweep_rows import empty_table, first_notes
from fgbench_reports.tables.numbers import how_many

if TYPE_CHECKING:
    import pandas as pd
    from rich.table import Table

HEADINGS = ("point", "figure", "before", "after", "change", "verdict")
FIGURES = ("before", "after", "change")
NAMES = ("check", "point", "figure", "verdict", "reason")  # columns of the frame that stand to the left
TITLES = {FAILING: "What fails", OPEN: "Neither passed nor failed", LISTED: "New, faster, smaller"}
STYLES = {**dict.fromkeys(FAILING, "red"), **dict.fromkeys(OPEN, "yellow"), FASTER: "green", SMALLER: "green", NEW: ""}
MAX_LINES = {FAILING: 60, OPEN: 20, LISTED: 20}  # of a table that is read


def regression_tables(outcome: Outcome) -> list[Table]:
    """A terminal table each of what fails, what is open and what is new or better, the longest change first."""
    titles = TITLES | ({FAILING: "What is another"} if outcome.updated else {})
    return [
        _table(title, verdicts, found) for verdicts, title in titles.items() if (found := outcome.having(*verdicts))
    ]


def regression_notes(outcome: Outcome) -> list[str]:
    """Each reason once with where it was met, what tables leave out, the outcome's own notes; last the verdict."""
    told = [f"Compared: {what}."] if (what := compared(outcome)) else []
    reasons = first_notes(list(_reasons(outcome)), "reason")
    notes = [*reasons, *_left_out(outcome), *told, *map(line_of, outcome.notes), verdict_line(outcome)]
    return [note for note in notes if note]


def regression_frame(outcome: Outcome) -> pd.DataFrame:
    """A DataFrame of printed cells, a line per finding: what fails, what is open, what is listed, what is the same."""
    import pandas as pd

    ordered = [finding for verdicts in (*TITLES, (SAME,)) for finding in outcome.having(*verdicts)]
    lines = [
        {"check": line_of(finding.check), **_cells(finding), "reason": line_of(finding.reason)} for finding in ordered
    ]
    return pd.DataFrame(lines, columns=["check", *HEADINGS, "reason"])


def _table(title: str, verdicts: tuple[str, ...], findings: Sequence[Finding]) -> Table:
    from rich.text import Text

    table = empty_table(f"{title}: {how_many(len(findings), 'figure')}", HEADINGS, FIGURES)
    for column, heading in zip(table.columns, HEADINGS, strict=True):
        column.header = heading  # none of these takes a second line
    for finding in findings[: MAX_LINES[verdicts]]:
        cells = _cells(finding)
        cells |= {heading: cells[heading].replace(" (", "\n(") for heading in FIGURES}
        styles = dict.fromkeys(("change", "verdict"), STYLES.get(finding.verdict, ""))
        table.add_row(*(Text(cells[heading], styles.get(heading, "")) for heading in HEADINGS))
    return table


def _cells(finding: Finding) -> dict[str, str]:
    before, after = before_and_after(finding)
    return {
        "point": line_of(finding.point) or MISSING,
        "figure": figure_word(finding.figure),
        "before": before,
        "after": after,
        "change": change_text(finding),
        "verdict": verdict_word(finding.verdict),
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
