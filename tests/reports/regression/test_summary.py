"""The summary in Markdown, and summaries that exceed the size limit."""

from __future__ import annotations

import re

import pytest
from helpers.regression_outcomes import EMPTY, EXAMPLE, HOSTILE, HOSTILE_OUTCOME, VERDICTS, counted, many, of, timed
from markdown_it import MarkdownIt

from fgbench_reports.regression.findings import (
    CHANGED,
    FAILING,
    INCONCLUSIVE,
    NEW,
    OPEN,
    SAME,
    SLOWER,
    Outcome,
)
from fgbench_reports.regression.summary import to_markdown
from fgbench_reports.regression.wording import line_of


def page(text: str) -> str:
    return MarkdownIt("commonmark").enable("table").render(text)


def cells(text: str) -> list[list[str]]:
    """The lines of all tables as text."""
    lines = re.findall(r"<tr>(.*?)</tr>", page(text), flags=re.S)
    return [[_plain(cell) for cell in re.findall(r"<t[dh][^>]*>(.*?)</t[dh]>", line, flags=re.S)] for line in lines]


def _plain(html: str) -> str:
    from html import unescape

    return unescape(re.sub(r"</?code>", "", html))


def test_the_summary(same_as_snapshot):
    same_as_snapshot("summary.md", to_markdown(EXAMPLE))


@pytest.mark.parametrize(
    ("findings", "word"),
    [([SAME], "passed"), ([NEW], "passed"), ([CHANGED, INCONCLUSIVE], "failed"), ([*OPEN], "inconclusive")],
)
def test_the_first_line_is_the_verdict_in_words(findings, word):
    outcome = Outcome(findings=[of(verdict) for verdict in findings])
    assert to_markdown(outcome).splitlines()[0] == f"# Regression check: {word}"


def test_what_fails_stands_in_a_table_the_longest_change_first():
    lines = cells(to_markdown(EXAMPLE))
    assert lines[0] == ["point", "figure", "before", "after", "change", "what it means"]
    assert [line[4] for line in lines[1:6]] == ["–", "+100 %", "+5.1 %", "+1.1 %", "+1 MAC"]
    assert lines[5][2:4] == ["17.6 G (17,563,213,824)", "17.6 G (17,563,213,825)"]


def test_a_thousand_points_with_one_reason_are_one_line():
    reason = "the machine is too noisy"
    found = [timed(f"m{n}", INCONCLUSIVE, n / 1e5, reason=reason) for n in range(1000)]
    (line,) = [line for line in to_markdown(Outcome(findings=found)).splitlines() if reason in line]
    assert line.startswith("- **1000 figures, inconclusive**")
    assert line.endswith("and 997 more points; longest change +1.0 %)")


def test_names_and_reasons_are_text_and_nothing_else():
    text = to_markdown(HOSTILE_OUTCOME)
    html = page(text)
    assert "<b>" not in html
    assert set(re.findall(r"<(\w+)", html)) <= set(
        "h1 h2 p table thead tbody tr th td ul li details summary code strong".split()
    )
    named = [line[0] for line in cells(text) if line[0] != "point"]
    listed = [verdict for verdict in VERDICTS if verdict not in (*OPEN, SAME)]
    assert sorted(named) == sorted(line_of(f"{verdict} {HOSTILE}") for verdict in listed)
    assert all(line[5].endswith(line_of(f"because {HOSTILE}")) for line in cells(text) if line[0] != "point")


def test_details_hold_their_tables():
    html = page(to_markdown(EXAMPLE))
    for verdict in ("new", "faster", "smaller"):
        assert re.search(
            rf"<details><summary>1 figure: {verdict}</summary>\s*<table>.*?</table>\s*</details>", html, re.S
        )


def test_the_last_line_counts_what_is_the_same():
    assert to_markdown(EXAMPLE).splitlines()[-1] == "3 figures of 3 points are the same."
    assert to_markdown(EMPTY).splitlines()[-1] == "Nothing was compared."


@pytest.mark.parametrize("limit", [500, 1000, 5000, 60_000, 200_000])
def test_what_does_not_fit_is_left_out_by_whole_lines_and_counted(limit):
    outcome = many(4000, *FAILING, *OPEN, NEW)
    whole, text = to_markdown(outcome).splitlines(), to_markdown(outcome, limit_bytes=limit)
    assert len(text.encode()) <= limit
    assert set(text.splitlines()[:-1]) <= set(whole)
    kept = sum(line.startswith("| <code>") for line in text.splitlines())
    kept += sum(int(number) for number in re.findall(r"^- \*\*(\d+) figures", text, flags=re.M))
    assert text.splitlines()[-1] == f"**Left out here, as a summary holds no more: {4000 - kept} findings.**"
    assert text.startswith("# Regression check: failed\n")
    assert text.count("<details>") == text.count("</details>")
    if limit >= 5000:
        assert kept > 0
        assert len(text.encode()) > limit - 1000  # and no room is wasted


def test_notes_are_kept_before_findings():
    text = to_markdown(Outcome(findings=many(4000).findings, notes=["torch was 2.8.0 before"]), limit_bytes=2000)
    assert "- torch was 2.8.0 before" in text


def test_letters_of_several_bytes_count_as_such():
    found = [counted("日本語" * 20 + str(n), CHANGED, 1, 2) for n in range(1000)]
    assert len(to_markdown(Outcome(findings=found), limit_bytes=50_000).encode()) <= 50_000


def test_one_endless_name_does_not_crowd_out_the_others():
    found = [counted("x" * 2_000_000, CHANGED, 1, 3), counted("short", SLOWER, 1, 2)]
    text = to_markdown(Outcome(findings=found))
    assert "<code>short</code>" in text
    assert len(text) < 5000


def test_a_limit_that_no_summary_fits_is_refused():
    with pytest.raises(ValueError, match="limit_bytes is 499; a summary needs 500 at least"):
        to_markdown(EXAMPLE, limit_bytes=499)
