"""The measured part of a comparison: base and head in pairs, or the head against itself."""

from __future__ import annotations

import signal
import statistics
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from fgbench.errors import CannotMeasureError, InterruptError, OnProblem
from fgbench.regress.pairs import PairsResult, Progress, measure_pairs, self_pairs
from fgbench.regress.request import PairsRequest, SidesRequest
from fgbench.regress.side_runs import TimedPoint
from fgbench.regress.sides.revisions import Side, environment_side, revision_side, running_side, working_tree_side
from fgbench_reports.regression.exact import compare_bytes
from fgbench_reports.regression.findings import (
    INCONCLUSIVE,
    MEMORY,
    NEW,
    REBASELINE,
    SLOWER,
    TIME,
    VANISHED,
    Finding,
    Outcome,
)
from fgbench_reports.regression.rule import FIRST_PAIRS, PairedPoint, judge, pooled_spread, undecided
from fgbench_reports.regression.simulation import SUITE_POINTS, as_seen, simulate
from fgbench_reports.regression.wording import roughly
from fgbench_reports.tables.numbers import how_many

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

SUITES = 1000  # that a self-test simulates


def compare_sides(
    sides: SidesRequest,
    request: PairsRequest,
    *,
    on_problem: OnProblem = lambda _: None,
    say: Callable[[str], None] = lambda _: None,
    progress: Progress = lambda *_: None,
) -> Outcome:
    """Measure both sides in this job, and judge their differences.

    Args:
        sides: The sides.
        request: What is measured, and in how many pairs.
        on_problem: Gets the reason where finished pairs are not kept.
        say: Gets what is done before anything is measured, in words.
        progress: Gets the number of finished runs, of all runs, and what is measured now.

    Returns:
        The findings; after Ctrl-C those of finished pairs.

    Raises:
        InterruptError: For a Ctrl-C before a pair is finished.
        FgbenchError: For a side that cannot be prepared, and where nothing can be measured.

    """
    with ExitStack() as open_sides:
        # A job that is cancelled leaves no checkouts behind.
        open_sides.callback(signal.signal, signal.SIGTERM, signal.signal(signal.SIGTERM, signal.default_int_handler))
        say("preparing both sides")
        head = open_sides.enter_context(_head(sides))
        if sides.a_a:
            return _judged(self_pairs(request, head, progress), head, head, on_problem, a_a=True)
        base = open_sides.enter_context(_base(sides))
        return _judged(measure_pairs(request, base, head, _undecided, progress), base, head, on_problem, a_a=False)


def _judged(result: PairsResult, base: Side, head: Side, on_problem: OnProblem, *, a_a: bool) -> Outcome:
    points = _paired(result.points)
    findings = judge(points)
    for point in result.points:
        findings += [*_failure(point), *_memory(point)]
    neither = _neither(result)
    if not findings and result.interrupted:
        raise InterruptError("interrupted before a pair was finished")
    if not findings:
        told = [f"{name}: neither side can measure it, {why}" for name, why in neither.items()]
        raise CannotMeasureError(f"nothing was measured: {'; '.join([*told, *result.problems]) or 'no point is there'}")
    findings += [
        Finding(
            check=TIME, point=name, figure="latency_s", verdict=INCONCLUSIVE, reason=f"neither side measures it: {why}"
        )
        for name, why in neither.items()
    ]
    spread = pooled_spread(points)
    notes = list(result.problems)
    if spread is not None:
        allowed = "is allowed" if spread.conclusive else "and more would be held against the head"
        seen = f"Processes of one side differ by {roughly(spread.value)} on this machine"
        notes.append(f"{seen}; a change of {roughly(spread.bound)} {allowed}.")
    if result.taken:
        notes.append(f"{how_many(result.taken, 'pair')} had been measured before; --again measures them once more.")
    if base.code == head.code and not a_a:
        notes.append("Both sides run the same code.")
    if a_a:
        notes += self_test(points, findings)
    if result.not_kept is not None:
        on_problem(result.not_kept)
    return Outcome(
        findings=findings,
        notes=notes,
        before=base.label,
        after=head.label,
        facts=_facts(result.points, head),
        interrupted=result.interrupted,
    )


def self_test(points: Sequence[PairedPoint], findings: Sequence[Finding]) -> list[str]:
    """The rate of false alarms: of the points that were measured, and of suites that deviate as they did."""
    alarms = sum(finding.verdict == SLOWER for finding in findings)
    said = f"{how_many(alarms, 'false alarm')} in {how_many(len(points), 'point')} that did not change."
    whole = [point for point in points if len(point.base) >= FIRST_PAIRS]
    if not whole:
        return [f"Self-test: {said}"]
    found = simulate(as_seen(whole), suites=SUITES)
    share = found.inconclusive / (found.suites * found.points)
    return [
        f"Self-test: {said}",
        f"{found.suites} simulated suites of {SUITE_POINTS} points whose processes deviate as these did: "
        f"{roughly(found.alarm_rate)} have a false alarm (95 % interval: below {roughly(found.most_alarm_rate)}), "
        f"{roughly(share)} of points are inconclusive.",
    ]


def _base(sides: SidesRequest) -> AbstractContextManager[Side]:
    if sides.base_python is not None:
        return environment_side(sides.base_python, sides.plugins)
    assert sides.base is not None
    return revision_side(sides.base, Path.cwd(), sides.plugins)


def _head(sides: SidesRequest) -> AbstractContextManager[Side]:
    if sides.head is not None:
        return revision_side(sides.head, Path.cwd(), sides.plugins)
    if sides.head_python is not None:
        return environment_side(sides.head_python, sides.plugins)
    if sides.base is not None:
        return working_tree_side(Path.cwd(), sides.plugins)
    return running_side(sides.plugins)


def _paired(points: Sequence[TimedPoint]) -> list[PairedPoint]:
    return [
        PairedPoint(name=point.name, base=point.base, head=point.head, batch_size=point.batch_size)
        for point in points
        if not point.failed
    ]


def _undecided(points: Sequence[TimedPoint]) -> Collection[str]:
    return undecided(_paired(points))


def _failure(point: TimedPoint) -> Iterator[Finding]:
    """A point that one side cannot measure has vanished, or is new."""
    if point.head_failure is not None and point.base_failure is None:
        reason = f"the base measures it, and the head does not: {point.head_failure}"
        yield Finding(check=TIME, point=point.name, figure="latency_s", verdict=VANISHED, reason=reason)
    elif point.base_failure is not None and point.head_failure is None:
        reason = f"the head measures it, and the base does not: {point.base_failure}"
        yield Finding(check=TIME, point=point.name, figure="latency_s", verdict=NEW, reason=reason)


def _neither(result: PairsResult) -> dict[str, str]:
    """What was asked for and cannot be measured, and why: it did not pass."""
    points = {
        point.name: " / ".join(dict.fromkeys((point.base_failure, point.head_failure)))
        for point in result.points
        if point.base_failure is not None and point.head_failure is not None
    }
    return result.unmeasured | points


def _memory(point: TimedPoint) -> Iterator[Finding]:
    if not (point.base_memory and point.head_memory):
        return
    before, after = int(statistics.median(point.base_memory)), int(statistics.median(point.head_memory))
    places = [
        tuple(environment.get(name) for name in ("device_name", "torch"))
        for environment in (point.base_environment, point.head_environment)
    ]
    if places[0] == places[1]:
        yield compare_bytes(point.name, before, after, both_ways=False)
        return
    names = [" with torch ".join(map(str, place)) for place in places]
    yield Finding(
        check=MEMORY,
        point=point.name,
        figure="peak_memory_allocated_bytes",
        verdict=REBASELINE,
        before=before,
        after=after,
        reason=f"re-baseline: allocated memory of {names[0]} and of {names[1]} is not compared",
    )


def _facts(points: Sequence[TimedPoint], head: Side) -> dict[str, object]:
    """What the head's rows say of where they were measured."""
    rows = [point.head_environment for point in points if point.head_environment]
    wanted = ("device_name", "cpu", "torch", "cuda", "python", "system")
    facts = {name: rows[0].get(name) for name in wanted} if rows else {}
    return {**{name: value for name, value in facts.items() if value is not None}, "git_revision": head.revision}
