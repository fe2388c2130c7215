"""Findings of a comparison, one per point and figure, and the verdict over all of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

# What was compared: counted figures against a baseline, seconds of two revisions, memory that was allocated.
COUNTED, TIME, MEMORY = "counted", "time", "memory"

# Verdicts of one finding.
SAME = "same"
CHANGED = "changed"  # a figure that is exact is another one, in either direction
VANISHED = "vanished"  # it was compared before, and is not there any more
SLOWER, LARGER = "slower", "larger"
FASTER, SMALLER, NEW = "faster", "smaller", "new"  # said, and no failure
INCONCLUSIVE = "inconclusive"  # too noisy, or too little was measured
REBASELINE = "re-baseline"  # what was measured elsewhere cannot be compared

FAILING = (CHANGED, VANISHED, SLOWER, LARGER)
OPEN = (INCONCLUSIVE, REBASELINE)
LISTED = (FASTER, SMALLER, NEW)

# The verdict over all.
PASS, FAIL, UNDECIDED = "pass", "fail", "inconclusive"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One figure of one point, before and after."""

    check: str  # COUNTED, TIME or MEMORY
    point: str  # its name, unique in its check: "psm published vit_base_patch16_224 224"
    figure: str  # with its unit: macs, flops, params, activation_bytes, latency_s, peak_memory_allocated_bytes
    verdict: str
    before: float | None = None  # of the baseline or the base revision; of time the median of its processes
    after: float | None = None
    reason: str = ""  # why it is not the same, in words; what to do about it
    change: float | None = None  # relative: 0.05 is 5 % more; of time e^median of the pairs' log ratios, less 1
    bound: float | None = None  # relative: what a change is held against; 0 for what is exact
    before_samples: Sequence[float] = ()  # of time: seconds, one process each, in the order of the pairs
    after_samples: Sequence[float] = ()
    batch_size: int | None = None  # images; of time, where it is known

    def as_dict(self) -> dict[str, object]:
        """The finding as a row, ready for JSON; the order of its fields is that of the class."""
        values = {name: getattr(self, name) for name in self.__slots__}
        return {name: list(value) if name.endswith("_samples") else value for name, value in values.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """All findings of a run of ``fgbench regress``."""

    findings: Sequence[Finding]
    notes: Sequence[str] = ()  # sentences: spread of the machine, bounds, versions that differ
    before: str = ""  # what was compared: "reports/baseline.json", "revision 1a2b3c4"
    after: str = ""
    facts: Mapping[str, object] = field(
        default_factory=dict
    )  # of the environment: cpu, gpu, torch, python, git_revision
    interrupted: bool = False  # by Ctrl-C: this was found before
    updated: bool = False  # the baseline was written: what differs from the old one was taken over

    @property
    def verdict(self) -> str:
        """FAIL where anything fails, else UNDECIDED where anything is open, else PASS."""
        verdicts = {finding.verdict for finding in self.findings}
        if verdicts.intersection(FAILING):
            return FAIL
        return UNDECIDED if verdicts.intersection(OPEN) else PASS

    def having(self, *verdicts: str) -> list[Finding]:
        """The findings with one of these verdicts, the longest change first; what has no change comes first of all."""
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
