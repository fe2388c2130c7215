"""Outcomes of a comparison for the tests of their files: one of every kind, hostile names, and many."""

from __future__ import annotations

from fgbench_reports.regression.findings import (
    CHANGED,
    COUNTED,
    FAILING,
    FASTER,
    INCONCLUSIVE,
    LARGER,
    LISTED,
    MEMORY,
    NEW,
    OPEN,
    REBASELINE,
    SAME,
    SLOWER,
    SMALLER,
    TIME,
    VANISHED,
    Finding,
    Outcome,
)

VERDICTS = (*FAILING, *OPEN, *LISTED, SAME)
HOSTILE = "=1+1|_a_&amp;[red]<b>*\\x $y$ @me :heart: ~^% ``c`\n::error::x\r\x00\x1b[31m\ufffe\udc80%0A, ##[set-env]"
VIT = "vit_base_patch16_224 224"
WHICH = {SLOWER: TIME, FASTER: TIME, INCONCLUSIVE: TIME, LARGER: MEMORY, SMALLER: MEMORY, REBASELINE: MEMORY}
FIGURE = {COUNTED: "macs", TIME: "latency_s", MEMORY: "peak_memory_allocated_bytes"}


def timed(point: str, verdict: str, change: float, batch: int | None = 4, **fields) -> Finding:
    """A point whose head takes this share longer, in every one of seven pairs."""
    base = [0.0341, 0.0342, 0.0340, 0.0343, 0.0342, 0.0344, 0.0341]
    head = [seconds * (1 + change) for seconds in base]
    defaults = {"before": 0.0342, "after": 0.0342 * (1 + change), "change": change, "bound": 0.02, "batch_size": batch}
    samples = {"before_samples": base, "after_samples": head}
    return Finding(check=TIME, point=point, figure="latency_s", verdict=verdict, **{**defaults, **samples, **fields})


def counted(point: str, verdict: str, before: int | None, after: int | None, figure="macs", **fields) -> Finding:
    change = (after - before) / before if before and after is not None else None
    known = {"before": before, "after": after, "change": change, "bound": 0.0}
    return Finding(check=COUNTED, point=point, figure=figure, verdict=verdict, **{**known, **fields})


def memory(point: str, verdict: str, before: int, after: int, **fields) -> Finding:
    values = {"before": before, "after": after, "change": after / before - 1, "bound": 0.001}
    figure = "peak_memory_allocated_bytes"
    return Finding(check=MEMORY, point=point, figure=figure, verdict=verdict, **{**values, **fields})


def of(verdict: str, point: str = "glsim gls fast", reason: str = "") -> Finding:
    """A finding with this verdict, in the check where it is usual."""
    before, after = (None if verdict == NEW else 34.2e-3), (None if verdict == VANISHED else 35.9e-3)
    check = WHICH.get(verdict, COUNTED)
    if check == TIME:
        return timed(point, verdict, 0.05, reason=reason)
    make = memory if check == MEMORY else counted
    return make(point, verdict, before and 1_000_000, after and 1_050_000, reason=reason)


FACTS = {
    "cpu": "Intel Xeon 8481C",
    "torch": "2.9.0",
    "python": "3.12.4",
    "git_revision": "1a2b3c4d5e6f+",
    "branch": "leaner-psm",
    "datetime": "2026-03-01T12:00:00+00:00",
    "system": "Linux 6.1 x86_64",
    "settings": {"OMP_PROC_BIND": "true"},
}
RULE = "the median of seven pairs is beyond the bound of 2 %, and six of them are beyond 1 %"
NOISY = "the spread between processes is 1.4 %, above 1 %; measure on a quieter machine"
ELSEWHERE = "the baseline is of an NVIDIA L4; --update measures one here"
EXAMPLE = Outcome(
    findings=[
        counted(f"psm published {VIT}", CHANGED, 17_563_213_824, 17_563_213_825, reason="one more operation"),
        counted(f"psm published {VIT}", SAME, 85_798_656, 85_798_656, "params"),
        counted(f"maws published {VIT}", CHANGED, 1_204_000, 2_408_000, "activation_bytes"),
        counted(f"sacm published {VIT}", VANISHED, 35_000_000_000, None, "flops"),
        counted(f"gls fast {VIT}", NEW, None, 1_548_000),
        counted(f"gls fast {VIT}", SAME, 603, 603, "flops"),
        counted(f"rollout fast {VIT}", SMALLER, 4_000_000, 3_900_000, "activation_bytes"),
        timed(f"glsim gls fast {VIT} batch 4", SLOWER, 0.051, reason=RULE),
        timed(f"vit {VIT} batch 4", SAME, 0.003),
        timed(f"transfg psm fast {VIT} batch 4", FASTER, -0.124, batch=16),
        *(
            timed(f"ev rollout fast {VIT} batch {size}", INCONCLUSIVE, 0.02, size, reason=NOISY)
            for size in (1, 2, 4, 8)
        ),
        timed(f"cal {VIT} batch 1", INCONCLUSIVE, 0.0, 1, reason="only two pairs were measured"),
        memory(f"dcal {VIT} batch 8", LARGER, 1_850_000_000, 1_870_000_000),
        memory(f"ffvt {VIT} batch 8", REBASELINE, 900_000_000, 900_000_001, reason=ELSEWHERE),
    ],
    notes=["The spread between processes of this machine is 0.7 %; the bound is 2 %.", "torch was 2.8.0 before."],
    before="reports/baseline.json",
    after="revision 1a2b3c4d5e6f+",
    facts=FACTS,
)
EMPTY = Outcome(findings=[])
HOSTILE_OUTCOME = Outcome(
    findings=[of(verdict, f"{verdict} {HOSTILE}", f"because {HOSTILE}") for verdict in VERDICTS],
    notes=[HOSTILE],
    before=HOSTILE,
    after=HOSTILE,
    facts={HOSTILE: HOSTILE, "cpu": HOSTILE, "torch": float("nan"), "git_revision": HOSTILE, "datetime": HOSTILE},
)


def many(count: int = 5000, *verdicts: str) -> Outcome:
    """So many points, with these verdicts in turn, by default with every one."""
    chosen = verdicts or VERDICTS
    return Outcome(findings=[of(chosen[n % len(chosen)], f"model{n} {VIT} batch 4") for n in range(count)])
