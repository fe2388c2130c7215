"""Findings of a comparison, one per point and figure, and the verdict over all of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

# What was compared: counted figures against a baseline, seconds of two revisions, memory that was allocated.
COUNTED, TIME, MEMORY = "counted", "time", "memory"

# Verdicts of one finding.
SAME = "same"
CHANGED = "changed"  # an exact figure differs, in either direction
VANISHED = "vanished"  # in the baseline, and not among the new figures
SLOWER, LARGER = "slower", "larger"
FASTER, SMALLER, NEW = "faster", "smaller", "new"  # listed, and no failure
INCONCLUSIVE = "inconclusive"  # too noisy, or too little was measured
REBASELINE = "re-baseline"  # the baseline was measured on another machine and cannot be compared

FAILING = (CHANGED, VANISHED, SLOWER, LARGER)
OPEN = (INCONCLUSIVE, REBASELINE)
LISTED = (FASTER, SMALLER, NEW)

# The verdict over all findings.
PASS, FAIL, UNDECIDED = "pass", "fail", "inconclusive"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One figure of one point, before and after."""

    check: str  # COUNTED, TIME or MEMORY
    point: str  # its name, unique in its check: "psm published vit_base_patch16_224 224"
    figure: str  # with its unit: macs, flops, params, activation_bytes, latency_s, peak_memory_allocated_bytes
    verdict: str
    before: float | None = None  # figure of the baseline or the base revision; for times the median of its processes
    after: float | None = None
    reason: str = ""  # why the figures differ, and what to do; empty for "same"
    change: float | None = None  # relative: 0.05 is 5 % more; for times exp(median log ratio of the pairs) − 1
    bound: float | None = None  # relative: the change that is allowed; 0 for exact figures
    before_samples: Sequence[float] = ()  # for times: seconds, one value per process, in the order of the pairs
    after_samples: Sequence[float] = ()
    batch_size: int | None = None  # images; for times, None if unknown

    def as_dict(self) -> dict[str, object]:
        """The finding as a row for JSON, its fields in the order of the class."""
        values = {name: getattr(self, name) for name in self.__slots__}
        return {name: list(value) if name.endswith("_samples") else value for name, value in values.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """All findings of a run of ``fgbench regress``."""

    findings: Sequence[Finding]
    notes: Sequence[str] = ()  # sentences: spread of the machine, bounds, versions that differ
    before: str = ""  # what was compared: "reports/baseline.json", "revision 1a2b3c4"
    after: str = ""
    facts: Mapping[str, object] = field(default_factory=dict)  # environment: cpu, gpu, torch, python, git_revision
    interrupted: bool = False  # Ctrl-C ended the comparison; the findings before it are complete
    updated: bool = False  # the baseline was updated with the new figures

    @property
    def verdict(self) -> str:
        """FAIL if a finding fails, else UNDECIDED if one is open, else PASS."""
        verdicts = {finding.verdict for finding in self.findings}
        if verdicts.intersection(FAILING):
            return FAIL
        return UNDECIDED if verdicts.intersection(OPEN) else PASS

    def having(self, *verdicts: str) -> list[Finding]:
        """The findings with one of these verdicts: those without a change first, then the largest change first."""
        findings = [finding for finding in self.findings if finding.verdict in verdicts]
        return sorted(findings, key=_size_of_change, reverse=True)


def together(outcomes: Sequence[Outcome]) -> Outcome:
    """Several outcomes as one."""
    return Outcome(
        findings=[finding for outcome in outcomes for finding in outcome.findings],
        notes=[note for outcome in outcomes for note in outcome.notes],
        before="; ".join(outcome.before for outcome in outcomes if outcome.before),
        after="; ".join(outcome.after for outcome in outcomes if outcome.after),
        facts={name: value for outcome in reversed(outcomes) for name, value in outcome.facts.items()},
        interrupted=any(outcome.interrupted for outcome in outcomes),
        updated=any(outcome.updated for outcome in outcomes),
    )


def _size_of_change(finding: Finding) -> float:
    return float("inf") if finding.change is None else abs(finding.change)
