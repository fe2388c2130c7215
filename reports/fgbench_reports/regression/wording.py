"""Texts of figures, changes and verdicts, one line each, the same in every format."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal

from fgbench.results.escaping import sentence
from fgbench_reports.regression.findings import (
    CHANGED,
    FAIL,
    FAILING,
    FASTER,
    INCONCLUSIVE,
    LARGER,
    LISTED,
    NEW,
    OPEN,
    PASS,
    REBASELINE,
    SAME,
    SLOWER,
    SMALLER,
    UNDECIDED,
    VANISHED,
    Finding,
    Outcome,
)
from fgbench_reports.sweep_rows import NUMBER, as_text, in_common
from fgbench_reports.tables.numbers import how_many, milliseconds, significant, with_prefix

MISSING = "–"
TINY = 0.0005  # a smaller relative change is shown as a difference
LONGEST = 500  # letters of a name or a reason in a summary
OVERALL = {PASS: "passed", FAIL: "failed", UNDECIDED: "inconclusive"}
VERDICTS = {SAME: "the same", REBASELINE: "needs a new baseline"}  # all other verdicts are shown by their names
MEANINGS = {
    SAME: "it is as it was",
    CHANGED: "it is exact, so the code does other work than before; where that is meant, update the baseline",
    VANISHED: "it was compared before and is not there any more; where that is meant, update the baseline",
    SLOWER: "it takes more time",
    LARGER: "it takes more memory",
    FASTER: "it takes less time",
    SMALLER: "it takes less memory",
    NEW: "there is nothing yet to compare it with",
    INCONCLUSIVE: "the machine was too noisy for a verdict, or too little was measured",
    REBASELINE: "its baseline was measured elsewhere; measure a new one here",
}
FIGURES = {
    **{"macs": "MACs", "flops": "FLOPs", "params": "parameters", "activation_bytes": "activations"},
    **{"latency_s": "latency", "peak_memory_allocated_bytes": "allocated memory"},
}
UNITS = {"macs": ("MAC", "MACs"), "flops": ("FLOP", "FLOPs"), "params": ("parameter", "parameters")}
FACTS = {  # facts of the environment that are shown on one line, and the text before each
    **{"gpu": "", "device_name": "", "cpu": ""},
    **{"torch": "torch ", "python": "python ", "git_revision": "revision "},
}


def overall(outcome: Outcome) -> str:
    """The verdict over all findings in one word; "updated" after an update."""
    return "updated" if outcome.updated else OVERALL[outcome.verdict]


def verdict_word(verdict: str) -> str:
    """A verdict in words: slower, needs a new baseline."""
    return VERDICTS.get(verdict, as_text(verdict))


def figure_word(figure: str) -> str:
    """A figure without its unit: latency_s → latency."""
    return FIGURES.get(figure) or as_text(figure).replace("_", " ")


def line_of(text: object) -> str:
    """Any text as one line of visible characters."""
    return "–" if text is None else sentence(text)


def shortened(text: str, letters: int = LONGEST) -> str:
    """The text, cut to so many characters."""
    return text if len(text) <= letters else f"{text[: letters - 1]}…"


def meaning(finding: Finding) -> str:
    """The reason of a finding on one line, or the meaning of its verdict where it has none."""
    return line_of(finding.reason) or MEANINGS.get(finding.verdict, "") + _bound(finding)


def _bound(finding: Finding) -> str:
    bounded = finding.verdict in (SLOWER, LARGER, FASTER, SMALLER)
    return f", by more than the bound of {roughly(finding.bound)}" if finding.bound and bounded else ""


def value_text(figure: str, value: float | None) -> str:
    """A value in three or four digits with its unit: 17.6 G, 34.20 ms, 1.85 GB; – if it is missing."""
    if value is None:
        return MISSING
    if not math.isfinite(value):
        return str(value)
    if figure.endswith("_s"):
        return f"{milliseconds(value)} ms"
    if value != int(value):
        return significant(value, 4)
    prefixed = with_prefix(int(value))
    if figure.endswith("_bytes"):
        return f"{prefixed}B" if prefixed[-1].isalpha() else f"{prefixed} B"
    return prefixed


def exact_text(figure: str, value: float) -> str:
    """A value with all of its digits: 17,563,213,825; 0.0342000001 s."""
    if not math.isfinite(value):
        return str(value)
    unit = " s" if figure.endswith("_s") else " B" if figure.endswith("_bytes") else ""
    return (f"{int(value):,}" if value == int(value) else f"{value!r}") + unit


def before_and_after(finding: Finding) -> tuple[str, str]:
    """Both values; two that differ have different texts: 17.6 G (17,563,213,824), 17.6 G (17,563,213,825)."""
    figure, before, after = finding.figure, finding.before, finding.after
    texts = value_text(figure, before), value_text(figure, after)
    if before is None or after is None or before == after or texts[0] != texts[1]:
        return texts
    return f"{texts[0]} ({exact_text(figure, before)})", f"{texts[1]} ({exact_text(figure, after)})"


def change_text(finding: Finding) -> str:
    """The relative change: +5.1 %; for a small change of a counted figure the difference: +1 MAC, -512 B."""
    change, before, after = finding.change, finding.before, finding.after
    known = before is not None and after is not None and math.isfinite(before) and math.isfinite(after)
    if change is None or not math.isfinite(change):
        return _difference(finding) if known and before != after else MISSING
    if known and before != after and abs(change) < TINY and not finding.figure.endswith("_s"):
        return _difference(finding)
    return percent_text(change, signed=True, apart_from=finding.bound)


def _difference(finding: Finding) -> str:
    figure, before, after = finding.figure, finding.before or 0, finding.after or 0
    difference = after - before
    if figure.endswith("_s"):
        return f"{difference * 1e3:+.3g} ms"
    text = f"{int(difference):+,}" if difference == int(difference) else f"{difference:+.3g}"
    unit = "B" if figure.endswith("_bytes") else UNITS.get(figure, ("", ""))[abs(difference) != 1]
    return f"{text} {unit}".rstrip()


def percent_text(share: float, *, signed: bool = False, apart_from: float | None = None) -> str:
    """A share in percent, 0.101 %. A signed one, +5.1 %, has enough digits to differ from ``apart_from``."""
    percent, size = share * 100, abs(share * 100)
    if not signed:
        return f"{Decimal(f'{percent:.0f}' if size >= 100 else f'{percent:.3g}'):f} %"
    if size == 0:
        return "0 %"
    digits = 1 if size >= 0.95 else 1 - math.floor(math.log10(size))
    decimals = 0 if size >= 99.95 else digits
    text = f"{percent:+,.{decimals}f}"
    while apart_from and size != apart_from * 100 and decimals < 6 and _is(text, apart_from * 100):
        decimals += 1
        text = f"{percent:+,.{decimals}f}"
    return f"{text} %"


def roughly(share: float) -> str:
    """A share in percent with two digits: 0.83 %."""
    return percent_text(float(f"{share:.2g}"))


def _is(text: str, percent: float) -> bool:
    return math.isclose(abs(float(text.replace(",", ""))), percent)


def detail(finding: Finding) -> str:
    """A figure on one line: latency 34.20 ms → 35.95 ms, +5.1 %, slower."""
    before, after = before_and_after(finding)
    if finding.verdict in (SAME, NEW):
        return f"{figure_word(finding.figure)} {after}, {verdict_word(finding.verdict)}"
    parts = [f"{figure_word(finding.figure)} {before} → {after}", change_text(finding), verdict_word(finding.verdict)]
    return ", ".join(part for part in parts if part != MISSING)


def by_reason(findings: Iterable[Finding]) -> dict[tuple[str, str], list[Finding]]:
    """Findings by verdict and reason. Reasons of noise that differ in numbers alone are one, with ranges of numbers."""
    groups: dict[tuple[str, str], list[Finding]] = {}
    for finding in findings:
        reason = meaning(finding)
        key = re.sub(NUMBER, "#", reason) if finding.verdict == INCONCLUSIVE else reason
        groups.setdefault((finding.verdict, key), []).append(finding)
    return {(verdict, in_common([*map(meaning, found)])): found for (verdict, _), found in groups.items()}


def places(findings: Sequence[Finding], most: int = 3) -> tuple[str, list[str], int]:
    """The names of the figures, the first few points, and the number of the other points."""
    figures = dict.fromkeys(figure_word(finding.figure) for finding in findings)
    points = list(dict.fromkeys(shortened(line_of(finding.point)) or MISSING for finding in findings))
    return ", ".join(figures), points[:most], len(points[most:])


def more_points(names: Sequence[str], left: int) -> str:
    """Names of points and the number of the others: a, b, c and 997 more points."""
    return ", ".join(names) + (f" and {how_many(left, 'more point')}" if left else "")


def same_text(outcome: Outcome) -> str:
    """How many figures are the same: 812 figures of 203 points are the same."""
    same = outcome.having(SAME)
    if not outcome.findings:
        return "nothing was compared"
    points = len({finding.point for finding in same})
    of_points = f" of {how_many(points, 'point')}" if same else ""
    return f"{how_many(len(same), 'figure')}{of_points} {'is' if len(same) == 1 else 'are'} the same"


def verdict_line(outcome: Outcome) -> str:
    """The verdict and its counts: failed: 1 slower; 4 inconclusive; 812 figures of 203 points are the same."""
    groups = [_counts(outcome, verdicts) for verdicts in (FAILING, OPEN, LISTED)]
    return f"{overall(outcome)}: {'; '.join(group for group in [*groups, same_text(outcome)] if group)}"


def _counts(outcome: Outcome, verdicts: Sequence[str]) -> str:
    met = Counter(finding.verdict for finding in outcome.findings)
    words = {REBASELINE: "to re-baseline"}
    return ", ".join(f"{met[verdict]} {words.get(verdict, verdict)}" for verdict in verdicts if met[verdict])


def compared(outcome: Outcome) -> str:
    """The two sides of the comparison: "after against before"; empty if neither has a name."""
    before, after = line_of(outcome.before or ""), line_of(outcome.after or "")
    return f"{after or 'this state'} against {before or 'another one'}" if before or after else ""


def facts_line(facts: Mapping[str, object]) -> str:
    """The main facts of the environment on one line: Intel Xeon, torch 2.9.0, python 3.12.1."""
    told = [(name, line_of(facts[name])) for name in FACTS if facts.get(name) not in (None, "")]
    return ", ".join(dict.fromkeys(f"{FACTS[name]}{text}" for name, text in told))  # a CPU can be the device


def distinct(names: Iterable[str]) -> list[str]:
    """The names in their order; a repeated one gets a number: "x", "y", "x (2)"."""
    met: dict[str, int] = {}
    made = []
    for name in names:
        written = name
        while written in met:
            met[name] += 1
            written = f"{name} ({met[name]})"
        met[written] = 1
        made.append(written)
    return made
