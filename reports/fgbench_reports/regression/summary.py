"""The summary in Markdown that GitHub shows for a job: findings that fail, that are open, and that are new."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from fgbench.results.escaping import markdown_paragraph, markdown_text
from fgbench_reports.regression.findings import FAILING, FASTER, NEW, OPEN, SMALLER, Finding, Outcome
from fgbench_reports.regression.wording import (
    MISSING,
    before_and_after,
    by_reason,
    change_text,
    compared,
    facts_line,
    figure_word,
    line_of,
    meaning,
    more_points,
    overall,
    places,
    same_text,
    shortened,
    verdict_word,
)
from fgbench_reports.tables.numbers import how_many

LIMIT_BYTES = 1_000_000  # GitHub shows no summary of more than 1 MiB
SMALLEST_BYTES = 500
HEADINGS = ("point", "figure", "before", "after", "change", "what it means")
RULE = "| --- | --- | ---: | ---: | ---: | --- |"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Block:
    """A section of the summary: its heading, and its lines, each with the number of findings that it covers."""

    head: Sequence[str] = ()
    lines: Sequence[tuple[str, int]] = ()
    tail: Sequence[str] = ()
    rank: int = 2  # sections of a higher rank are left out first if the limit is exceeded


def to_markdown(outcome: Outcome, *, limit_bytes: int = LIMIT_BYTES) -> str:
    """The verdict, failing findings (largest change first), open findings by reason, new ones, and the notes.

    ``limit_bytes`` limits the text in UTF-8: lines that do not fit are left out, and the last line says how many
    findings they cover. ValueError if it is less than 500.
    """
    if limit_bytes < SMALLEST_BYTES:
        raise ValueError(f"limit_bytes is {limit_bytes}; a summary needs {SMALLEST_BYTES} at least")
    blocks = list(_blocks(outcome))
    text = "\n".join(_document(blocks, [len(block.lines) for block in blocks]))
    if _size(text) <= limit_bytes:
        return text
    return "\n".join(_cut(blocks, limit_bytes))


def _blocks(outcome: Outcome) -> Iterator[_Block]:
    yield _Block(head=[f"# Regression check: {overall(outcome)}", ""], rank=0)
    if what := compared(outcome):
        yield _Block(head=[f"Compared: {markdown_text(what)}.", ""], rank=1)
    if failing := outcome.having(*FAILING):
        yield _table(
            f"## {'What changed' if outcome.updated else 'What fails'}: {how_many(len(failing), 'figure')}", failing
        )
    if still_open := outcome.having(*OPEN):
        title = f"## Neither passed nor failed: {how_many(len(still_open), 'figure')}"
        yield _Block(head=[title, ""], lines=list(_reasons(still_open)), tail=[""])
    for verdict in (NEW, FASTER, SMALLER):
        if found := outcome.having(verdict):
            yield _details(f"{how_many(len(found), 'figure')}: {verdict}", found)
    if notes := [line for line in map(line_of, outcome.notes) if line]:
        lines = [(f"- {markdown_paragraph(note)}", 0) for note in notes]
        yield _Block(head=["## Notes", ""], lines=lines, tail=[""], rank=1)
    if facts := facts_line(outcome.facts):
        yield _Block(head=[f"Environment: {markdown_text(facts)}.", ""], rank=1)
    same = same_text(outcome)
    yield _Block(head=[f"{same[0].upper()}{same[1:]}.", ""], rank=0)


def _table(title: str, findings: Sequence[Finding]) -> _Block:
    # Columns are not padded: one long cell would widen every line, and the summary has a size limit.
    lines = [(_row(_cells(finding)), 1) for finding in findings]
    return _Block(head=[title, "", _row(HEADINGS), RULE], lines=lines, tail=[""])


def _details(title: str, findings: Sequence[Finding]) -> _Block:
    inner = _table(f"<details><summary>{title}</summary>", findings)
    return _Block(head=inner.head, lines=inner.lines, tail=["", "</details>", ""])


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _cells(finding: Finding) -> list[str]:
    before, after = before_and_after(finding)
    cells = [figure_word(finding.figure), before, after, change_text(finding)]
    means = f"{verdict_word(finding.verdict)}: {shortened(meaning(finding))}"
    return [_name(finding.point), *map(markdown_text, [*cells, means])]


def _name(name: str) -> str:
    """A name as code, in which GitHub turns neither :words: into pictures nor @words into mentions."""
    return f"<code>{markdown_text(shortened(line_of(name)) or MISSING)}</code>"


def _reasons(findings: Sequence[Finding]) -> Iterator[tuple[str, int]]:
    """One line per reason with the number of its findings, the most frequent reason first."""
    groups = sorted(by_reason(findings).items(), key=lambda group: len(group[1]), reverse=True)
    for (verdict, reason), found in groups:
        figures, names, left = places(found)
        where = f"{markdown_text(figures)} of {more_points([_name(name) for name in names], left)}"
        counted = f"**{how_many(len(found), 'figure')}, {verdict_word(verdict)}**"
        yield f"- {counted}: {markdown_text(shortened(reason))} ({where}{_largest(found)})", len(found)


def _largest(findings: Sequence[Finding]) -> str:
    changed = [finding for finding in findings if finding.change is not None]
    if not changed:
        return ""
    longest = max(changed, key=lambda finding: abs(finding.change or 0.0))
    return f"; {'change' if len(findings) == 1 else 'longest change'} {markdown_text(change_text(longest))}"


def _document(blocks: Sequence[_Block], kept: Sequence[int | None]) -> list[str]:
    """The lines of the document. ``kept`` has the number of lines of each block; None leaves a block out."""
    lines: list[str] = []
    for block, count in zip(blocks, kept, strict=True):
        if count is not None:
            lines += [*block.head, *(line for line, _ in block.lines[:count]), *block.tail]
    return lines


def _cut(blocks: Sequence[_Block], limit_bytes: int) -> list[str]:
    """The lines that fit, blocks of the lowest rank first, and a last line with the number of findings left out."""
    everything = sum(count for block in blocks for _, count in block.lines)
    room = limit_bytes - _size(_left_out(everything)) - 1
    kept: list[int | None] = [None] * len(blocks)
    for index in sorted(range(len(blocks)), key=lambda i: (blocks[i].rank, i)):
        block = blocks[index]
        frame = _cost([*block.head, *block.tail])
        first_line = _cost([block.lines[0][0]]) if block.lines else 0
        if frame + first_line > room:
            continue
        room -= frame
        kept[index] = 0
        for count, (line, _) in enumerate(block.lines, 1):
            if _cost([line]) > room:
                break
            room -= _cost([line])
            kept[index] = count
    told = sum(count for block, lines in zip(blocks, kept, strict=True) for _, count in block.lines[: lines or 0])
    return [*_document(blocks, kept), _left_out(everything - told), ""]


def _left_out(count: int) -> str:
    return f"**Left out here, as a summary holds no more: {how_many(count, 'finding') if count else 'notes'}.**"


def _cost(lines: Sequence[str]) -> int:
    return sum(_size(line) + 1 for line in lines)


def _size(text: str) -> int:
    return len(text.encode("utf-8", errors="backslashreplace"))
