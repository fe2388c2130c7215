"""JSON for benchmark-action/github-action-benchmark: customSmallerIsBetter and customBiggerIsBetter.

Source: its README, "Examples", and src/extract.ts. ``name``, ``unit`` and ``value`` are required; ``range`` and
``extra`` are strings that charts show. The action draws one chart per name, so names are unique and a unit does not
depend on the value. The action refuses an empty array.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence

from fgbench.results.escaping import json_text
from fgbench_reports.regression.findings import COUNTED, TIME, Finding, Outcome
from fgbench_reports.regression.wording import detail, distinct, facts_line, figure_word, line_of

# Units of figures, and the number by which a value is divided; other figures have a unit by the end of their names.
UNITS = {"macs": ("MMACs", 1e6), "flops": ("MFLOPs", 1e6), "params": ("M parameters", 1e6)}
ENDINGS = {"_bytes": ("MB", 1e6), "_s": ("ms", 1e-3)}
DIGITS = 6  # digits of a range


def to_smaller_is_better(outcome: Outcome) -> str:
    """A JSON array of costs: latency in ms, operations and parameters in millions, memory in MB.

    Points that vanished and values that are not finite are left out.
    """
    found = [finding for finding in outcome.findings if _is_number(finding.after)]
    return _array(outcome, found, figure_word, _cost)


def to_bigger_is_better(outcome: Outcome) -> str:
    """A JSON array of throughput: images per second of the timed points whose batch size is known."""
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
    """A value rounded to 15 digits, without the error of a division: 34.2, not 34.199999999999996."""
    return float(f"{value:.15g}")


def _range(finding: Finding, samples: Sequence[float]) -> Entry:
    """Half of the range of the samples; 0 for counted figures; no range if there are no samples."""
    spread = [value for value in samples if math.isfinite(value)]
    if spread:
        return {"range": f"± {(max(spread) - min(spread)) / 2:.{DIGITS}g}"}
    return {"range": "± 0"} if finding.check == COUNTED else {}


def _extra(finding: Finding, facts: str) -> str:
    batch = f"batch {finding.batch_size}" if finding.batch_size else ""
    return "\n".join(filter(None, [detail(finding), ", ".join(filter(None, [batch, facts]))]))


def _is_number(value: float | None) -> bool:
    return value is not None and math.isfinite(value)
