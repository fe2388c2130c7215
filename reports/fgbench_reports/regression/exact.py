"""Comparison of counted figures, which are equal on every machine, and of allocated memory."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from fgbench_reports.regression.findings import (
    CHANGED,
    COUNTED,
    LARGER,
    MEMORY,
    NEW,
    REBASELINE,
    SAME,
    SMALLER,
    VANISHED,
    Finding,
)

FIGURES = ("macs", "flops", "params", "activation_bytes")
MEMORY_FIGURE = "peak_memory_allocated_bytes"
IDENTITY = ("model", "selector", "impl", "backbone", "image_size")
MEMORY_IDENTITY = (*IDENTITY, "batch_size", "dtype", "compiled")
MEMORY_SHARE, MEMORY_BYTES = 0.001, 2 * 2**20  # allocated memory may differ by the larger one
TAKE_OVER, TAKE_IN = "; if this is meant, --update takes it over", "; --update takes it in"

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryBaseline:
    """Allocated memory of points on one type of GPU with one version of torch."""

    gpu: str
    torch: str
    points: Sequence[Row]  # with the fields MEMORY_IDENTITY and MEMORY_FIGURE


def point_name(row: Row) -> str:
    """The name of a counted point: ``psm fast vit_base_patch16_224 224``; ``model`` stands before that of a model."""
    words = ["model" if row["model"] else None, *(row[name] for name in IDENTITY)]
    return " ".join(str(word) for word in words if word is not None)


def memory_name(row: Row) -> str:
    """The name of a point whose memory was measured: ``glsim gls fast vit_base_patch16_224 224 batch 4 float32``."""
    words = [*(row[name] for name in IDENTITY), f"batch {row['batch_size']}", row["dtype"]]
    return " ".join(str(word) for word in (*words, "compiled" if row["compiled"] else None) if word is not None)


def compare_counts(before: Sequence[Row], after: Sequence[Row], lost: Mapping[str, str] | None = None) -> list[Finding]:
    """A finding per figure of every point: points of the baseline in its order, then new points.

    ``lost`` has the reason, by name, of points that could not be counted.
    """
    known = {point_name(row): row for row in before}
    counted = {point_name(row): row for row in after}
    found: list[Finding] = []
    for name, row in known.items():
        if name not in counted:
            found.append(_vanished(name, row, (lost or {}).get(name)))
        else:
            found += [_compare(name, figure, row[figure], counted[name][figure]) for figure in FIGURES]
    fresh = [name for name in counted if name not in known]
    return found + [_new(name, figure, counted[name][figure]) for name in fresh for figure in FIGURES]


def taken_over(findings: Iterable[Finding]) -> list[Finding]:
    """The same findings after an update, without the advice to update."""
    return [
        replace(each, reason=each.reason.removesuffix(TAKE_OVER).removesuffix(TAKE_IN).replace(" yet", " before"))
        for each in findings
    ]


def _compare(name: str, figure: str, before: int, after: int) -> Finding:
    return Finding(
        check=COUNTED,
        point=name,
        figure=figure,
        verdict=SAME if before == after else CHANGED,
        before=before,
        after=after,
        change=_change(before, after),
        bound=0.0,
        reason="" if before == after else f"{'more' if after > before else 'less'} than in the baseline{TAKE_OVER}",
    )


def _vanished(name: str, row: Row, why: str | None) -> Finding:
    reason = f"it is in the baseline and was not counted: {why or 'nothing of this name is there'}{TAKE_OVER}"
    return Finding(
        check=COUNTED, point=name, figure=FIGURES[0], verdict=VANISHED, before=row[FIGURES[0]], reason=reason
    )


def _new(name: str, figure: str, value: int) -> Finding:
    reason = f"not in the baseline yet{TAKE_IN}"
    return Finding(check=COUNTED, point=name, figure=figure, verdict=NEW, after=value, reason=reason)


def _change(before: float, after: float) -> float | None:
    return 0.0 if before == after else after / before - 1 if before else None


def compare_memory(known: Sequence[MemoryBaseline], measured: Sequence[MemoryBaseline]) -> list[Finding]:
    """Compare allocated memory with the baseline of the same GPU and torch; without one it needs a new baseline."""
    found: list[Finding] = []
    for section in measured:
        same = [each for each in known if (each.gpu, each.torch) == (section.gpu, section.torch)]
        if same:
            found += _compare_section(same[0], section)
        else:
            found += _elsewhere(known, section)
    return found


def _compare_section(before: MemoryBaseline, after: MemoryBaseline) -> list[Finding]:
    known = {memory_name(row): row[MEMORY_FIGURE] for row in before.points}
    measured = {memory_name(row): row[MEMORY_FIGURE] for row in after.points}
    found = [
        Finding(
            check=MEMORY,
            point=name,
            figure=MEMORY_FIGURE,
            verdict=VANISHED,
            before=value,
            reason=f"it is in the baseline and was not measured{TAKE_OVER}",
        )
        if name not in measured
        else compare_bytes(name, value, measured[name], both_ways=True)
        for name, value in known.items()
    ]
    fresh = [name for name in measured if name not in known]
    reason = f"not in the baseline yet{TAKE_IN}"
    return found + [
        Finding(check=MEMORY, point=name, figure=MEMORY_FIGURE, verdict=NEW, after=measured[name], reason=reason)
        for name in fresh
    ]


def compare_bytes(name: str, before: int, after: int, *, both_ways: bool) -> Finding:
    """Compare the allocated memory of one point; a difference up to the larger of 0.1 % and 2 MiB is allowed.

    ``both_ways`` is for baselines: less memory fails, too. Between two revisions it does not.
    """
    bound = max(MEMORY_SHARE * before, MEMORY_BYTES)
    verdict, reason = SAME, ""
    if abs(after - before) > bound:
        verdict = LARGER if after > before else CHANGED if both_ways else SMALLER
        reason = f"{'more' if after > before else 'less'} than before, by more than 0.1 % and 2 MiB"
        reason += TAKE_OVER if both_ways else ""
    return Finding(
        check=MEMORY,
        point=name,
        figure=MEMORY_FIGURE,
        verdict=verdict,
        before=before,
        after=after,
        change=_change(before, after),
        bound=bound / before if before else None,
        reason=reason,
    )


def _elsewhere(known: Sequence[MemoryBaseline], section: MemoryBaseline) -> list[Finding]:
    places = "; ".join(f"{each.gpu} with torch {each.torch}" for each in known) or "no GPU"
    reason = (
        f"re-baseline: the baseline's memory is of {places}, this is {section.gpu} with torch {section.torch}; "
        "--update with these rows takes it in"
    )
    return [
        Finding(
            check=MEMORY,
            point=memory_name(row),
            figure=MEMORY_FIGURE,
            verdict=REBASELINE,
            after=row[MEMORY_FIGURE],
            reason=reason,
        )
        for row in section.points
    ]
