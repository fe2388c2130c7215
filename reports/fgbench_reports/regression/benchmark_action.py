"""The arrays that benchmark-action/github-action-benchmark charts: customSmallerIsBetter, customBiggerIsBetter.

Its README, "Examples", and src/extract.ts: ``name``, ``unit`` and ``value`` are required, ``range`` and ``extra`` are
strings that charts show as they are. A name is a chart, so it is there once, and its unit never depends on its value.
The action refuses an empty array.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence

from fgbench.results.escaping import json_text
from fgbench_reports.regression.findings import COUNTED, TIME, Finding, Outcome
from fgbench_reports.regression.wording import detail, distinct, facts_line, figure_word, line_of

# A figure's unit and how many of its own make one; those that are not here are told by how they end.
UNITS = {"macs": ("MMACs", 1e6), "flops": ("MFLOPs", 1e6), "params": ("M parameters", 1e6)}
ENDINGS = {"_bytes": ("MB", 1e6), "_s": ("ms", 1e-3)}
DIGITS = 6  # of a range


def to_smaller_is_better(outcome: Outcome) -> str:
    """A JSON array of what is better smaller: latency in ms, operations and parameters in millions, memory in MB.

    What vanished, and what is no finite number, is left out.
    """
    found = [finding for finding in outcome.findings if _is_number(finding.after)]
    return _array(outcome, found, figure_word, _cost)


def to_bigger_is_better(outcome: Outcome) -> str:
    """A JSON array of what is better bigger: images per second of the timed points whose batch size is known."""
    timed = [each for each in outcome.findings if each.check == TIME and each.batch_size and _is_number(each.after)]
    return _array(outcome, [each for each in timed if each.after], lambda _: "throughput", _throughput)


Entry = dict[str, str | float]


def _array(
    outcome: Outcome, findings: Sequence[Finding], word: Callable[[str], str], entry: Callable[[Finding], Entry]
) -> str:
    names = distinct(f"{line_of(finding.point)}: {word(finding.figure)}" for finding in findings)
    facts = facts_line(outcome.facts)
    entries = [
        {"name": name, **entry(finding), "extra": _extra(finding, facts)}
        for name, finding in zip(names, findings, strict=True)
    ]
    return json_text(json.dumps(entries, indent=2, allow_nan=False, ensure_ascii=False)) + "\n"


def _cost(finding: Finding) -> Entry:
    unit, size = _unit(finding.figure)
    samples = [value / size for value in finding.after_samples]
    return {"unit": unit, "value": _rounded((finding.after or 0) / size), **_range(finding, samples)}


def _throughput(finding: Finding) -> Entry:
    batch = finding.batch_size or 0
    samples = [batch / seconds if seconds else math.inf for seconds in finding.after_samples]
    return {"unit": "img/s", "value": _rounded(batch / (finding.after or math.inf)), **_range(finding, samples)}


def _unit(figure: str) -> tuple[str, float]:
    ending = next((unit for end, unit in ENDINGS.items() if figure.endswith(end)), (figure_word(figure), 1))
    return UNITS.get(figure, ending)


def _rounded(value: float) -> float:
    """A value without what its division left in the last digits: 34.2, not 34.199999999999996."""
    return float(f"{value:.15g}")


def _range(finding: Finding, samples: Sequence[float]) -> Entry:
    """Half of the spread of the samples; nothing of what is exact; no range where it is not known."""
    spread = [value for value in samples if math.isfinite(value)]
    if spread:
        return {"range": f"± {(max(spread) - min(spread)) / 2:.{DIGITS}g}"}
    return {"range": "± 0"} if finding.check == COUNTED else {}


def _extra(finding: Finding, facts: str) -> str:
    batch = f"batch {finding.batch_size}" if finding.batch_size else ""
    return "\n".join(filter(None, [detail(finding), ", ".join(filter(None, [batch, facts]))]))


def _is_number(value: float | None) -> bool:
    return value is not None and math.isfinite(value)
