"""Annotations of a GitHub run, as workflow commands of one line each."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from fgbench.results.escaping import visible
from fgbench_reports.regression.findings import FAILING, FASTER, NEW, OPEN, SMALLER, Finding, Outcome
from fgbench_reports.regression.wording import (
    by_reason,
    detail,
    figure_word,
    line_of,
    meaning,
    more_points,
    places,
    shortened,
    verdict_word,
)
from fgbench_reports.tables.numbers import how_many

SHOWN = 10  # annotations of a level that GitHub shows per step
TITLE_LETTERS, MESSAGE_LETTERS = 200, 2000  # GitHub accepts 255 characters, and 64 KB
Note = tuple[str, str, int]  # title, message, number of findings


def to_annotations(outcome: Outcome, *, file: str | None = None) -> str:
    """Errors for failing findings, warnings for open ones by reason, notices for faster, smaller and new ones.

    GitHub shows them at ``file``, a path in the repository. If a level has more than ten, the nine largest changes are
    shown, and the tenth line has the number of the others. Equal figures have none; the text may be empty.
    """
    levels = {
        "error": [_each(finding) for finding in outcome.having(*FAILING)],
        "warning": list(_by_reason(outcome.having(*OPEN))),
        "notice": [*map(_each, outcome.having(FASTER, SMALLER)), *_by_reason(outcome.having(NEW))],
    }
    lines = [
        _command(level, title, message, file) for level, notes in levels.items() for title, message in _first(notes)
    ]
    return "".join(f"{line}\n" for line in lines)


def _each(finding: Finding) -> Note:
    title = f"{verdict_word(finding.verdict)}: {figure_word(finding.figure)} of {line_of(finding.point)}"
    return title, f"{line_of(finding.point)}: {detail(finding)}\n{finding.reason.strip() or meaning(finding)}", 1


def _by_reason(findings: Iterable[Finding]) -> Iterator[Note]:
    """One note per reason, however many points have it."""
    for (verdict, reason), found in by_reason(findings).items():
        if len(found) == 1:
            yield _each(found[0])
            continue
        figures, names, left = places(found)
        title = f"{verdict_word(verdict)}: {how_many(len(found), 'figure')}"
        yield title, f"{figures} of {more_points(names, left)}\n{reason}", len(found)


def _first(notes: Sequence[Note]) -> Iterator[tuple[str, str]]:
    whole = notes if len(notes) <= SHOWN else notes[: SHOWN - 1]
    yield from ((title, message) for title, message, _ in whole)
    if left := notes[len(whole) :]:
        count = sum(findings for _, _, findings in left)
        yield f"{count} more", f"{how_many(count, 'more figure')}: the report of fgbench regress lists all of them."


def _command(level: str, title: str, message: str, file: str | None) -> str:
    properties = {"title": shortened(title, TITLE_LETTERS), "file": file}
    told = ",".join(f"{name}={_property(value)}" for name, value in properties.items() if value)
    return f"::{level} {told}::{_data(shortened(message, MESSAGE_LETTERS))}"


def _data(text: str) -> str:
    """A message with the escapes of actions/toolkit, packages/core/src/command.ts."""
    lines = re.sub(r"[^\r\n]+", lambda line: visible(line[0]), text)  # a command holds no other control characters
    return lines.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
