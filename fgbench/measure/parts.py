"""Time and memory of the parts of a run: the stages of a model, or the way from a file to logits. No torch.

A part is timed from where it begins to where it ends. A part inside of another one is its own, and the outer one has
the time around it: the parts of a run and :data:`REST` add up to the run.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from fgbench.errors import FgbenchError
from fgbench.measure.clocks import do_nothing
from fgbench.measure.timer import ATTEMPTS, Timing, time_iterations

if TYPE_CHECKING:
    from fgbench.measure.point import LoadedSubject, OnProgress
    from fgbench.measure.watch import Watch

REST = "rest"  # of a run: what lies in none of its parts
SUM = "sum"  # of the stages of a model and the rest: a forward pass that is timed stage by stage
END_TO_END = "end to end"  # from the files of pictures to logits
WHOLE = "whole"  # a forward pass without stages, in turn with those that are timed stage by stage
NEGLIGIBLE = 0.005  # share of a run below which the rest has no row

OnPart: TypeAlias = Callable[[str, Callable[[], Any]], Any]  # the name of a part, and what runs it → its result
InParts: TypeAlias = Callable[[OnPart], object]  # runs once, every part of it through the function


class Marks(Protocol):
    """Notes times, as often as it is told."""

    def begin(self) -> None:
        """Wait for everything before, and note the first time."""
        ...

    def mark(self) -> None:
        """Note a time behind everything that was begun."""
        ...

    def end(self) -> list[float]:
        """The seconds between the times that were noted, in order."""
        ...


class HostMarks:
    """Times of the host's clock.

    Args:
        synchronize: Waits until the device has done what was begun.
        now: The clock, in seconds.

    """

    def __init__(
        self, synchronize: Callable[[], None] = do_nothing, now: Callable[[], float] = time.perf_counter
    ) -> None:
        self.synchronize, self.now = synchronize, now
        self._times: list[float] = []

    def begin(self) -> None:
        """Wait, and begin anew."""
        self._times.clear()
        self.mark()

    def mark(self) -> None:
        """Wait, and note the time."""
        self.synchronize()
        self._times.append(self.now())

    def end(self) -> list[float]:
        """The seconds between the times."""
        return [after - before for before, after in pairwise(self._times)]


@dataclass(slots=True)
class PartClock:
    """Times iterations part by part.

    Attributes:
        in_parts: One iteration.
        undivided: The same iteration without parts, which runs in turn with it: both meet the same disturbances.
        marks: Notes the times.
        middle: The seconds of several iterations → those of their block.
        glance: Called behind the iterations of a block.
        blocks: Of each block, the seconds by part.
        totals: Of each block, the sum of its parts.

    """

    in_parts: InParts
    marks: Marks
    middle: Callable[[Sequence[float]], float] = statistics.median
    glance: Callable[[], None] = do_nothing
    undivided: Callable[[], object] | None = None
    blocks: list[dict[str, float]] = field(default_factory=list)
    totals: list[float] = field(default_factory=list)

    def begin(self) -> None:
        """Forget the blocks so far."""
        self.blocks.clear()
        self.totals.clear()

    def run(self, iterations: int) -> list[float]:
        """Run a block of iterations; the seconds of each."""
        self.marks.begin()
        labels = [self._run_once() for _ in range(iterations)]
        self.glance()
        seconds = iter(self.marks.end())
        times: list[dict[str, float]] = []
        for labels_of_one in labels:
            by_part: dict[str, float] = {}
            for label in labels_of_one:
                by_part[label] = by_part.get(label, 0.0) + next(seconds)
            times.append(by_part)
        parts = dict.fromkeys(part for by_part in times for part in by_part)
        self.blocks.append({part: self.middle([by_part.get(part, 0.0) for by_part in times]) for part in parts})
        self.totals.append(sum(seconds for part, seconds in self.blocks[-1].items() if part != WHOLE))
        return [sum(seconds for part, seconds in by_part.items() if part != WHOLE) for by_part in times]

    def _run_once(self) -> list[str]:
        """Run one iteration; of each time between two marks, the part that ran."""
        labels: list[str] = []
        running = [REST]
        if self.undivided is not None:
            self.undivided()
            labels.append(WHOLE)
            self.marks.mark()

        def mark() -> None:
            labels.append(running[-1])
            self.marks.mark()

        def on_part(name: str, run: Callable[[], Any]) -> Any:
            mark()
            running.append(name)
            try:
                return run()
            finally:
                mark()
                running.pop()

        self.in_parts(on_part)
        mark()
        return labels

    @property
    def parts(self) -> list[str]:
        """The parts in the order in which they first ran, behind them the rest and the undivided run."""
        names = dict.fromkeys(part for block in self.blocks for part in block)
        last = [name for name in (REST, WHOLE) if name in names]
        return [*(name for name in names if name not in last), *last]


def measure_stages(
    loaded: LoadedSubject, batch_size: int, *, progress: OnProgress = lambda *_: None
) -> list[dict[str, Any]]:
    """Measure the stages of a model's forward pass.

    Args:
        loaded: The model in its engine.
        batch_size: Images.
        progress: Called now and then while it is timed.

    Returns:
        Per part the fields of its row, ``part`` and ``added_memory_bytes`` among them. The last ones are :data:`WHOLE`
        and :data:`SUM`.

    Raises:
        FgbenchError: Where the engine does not run the subject part by part.

    """
    batch = loaded.prepare_batch(batch_size)
    if batch.in_parts is None:
        raise FgbenchError(f"engine {loaded.engine.mode.engine!r} does not run this model part by part")
    clock = PartClock(batch.in_parts, loaded.engine.marks(), undivided=batch.run)
    return _measure(loaded, batch_size, clock, SUM, progress)


def measure_end_to_end(
    loaded: LoadedSubject,
    batch_size: int,
    way: Callable[[Callable[[Any], object], Callable[[], object]], InParts],
    *,
    progress: OnProgress = lambda *_: None,
) -> list[dict[str, Any]]:
    """Measure the way from files to logits, a batch after the other, each part finished before the next begins.

    Args:
        loaded: The model in its engine.
        batch_size: Images.
        way: What gives images (B, 3, S, S) to the engine, and what runs the model on them → the whole way in parts.
        progress: Called now and then while it is timed.

    Returns:
        As :func:`measure_stages`; :data:`END_TO_END` is the last. A block is the mean of its iterations, as pictures
        differ.

    Raises:
        FgbenchError: Where the engine does not take images from outside.

    """
    batch = loaded.prepare_batch(batch_size)
    if batch.feed is None:
        raise FgbenchError(f"engine {loaded.engine.mode.engine!r} does not take pictures")
    in_parts, marks = way(batch.feed, batch.run), HostMarks(loaded.engine.synchronize)
    return _measure(loaded, batch_size, PartClock(in_parts, marks, middle=statistics.fmean), END_TO_END, progress)


def _measure(
    loaded: LoadedSubject, batch_size: int, clock: PartClock, total: str, progress: OnProgress
) -> list[dict[str, Any]]:
    missing: dict[str, str] = {}
    watch = loaded.engine.watch(missing)
    clock.glance = watch.glance

    def warmed() -> None:
        watch.warmed()
        clock.begin()

    for attempts in range(1, ATTEMPTS + 1):  # noqa: B007  # how many there were
        timing = time_iterations(clock, loaded.plan, warmed=warmed, progress=progress, middle=clock.middle)
        disturbed = watch.disturbed()
        if disturbed is None:
            break
    status, reason = loaded.verdict(timing, disturbed)
    added = _added_bytes(watch, clock.in_parts)
    seen = {**watch.seen(), "attempts": attempts, "iterations_per_block": timing.iterations}
    rows = []
    whole = statistics.median(clock.totals)
    for part in clock.parts:
        blocks = [block.get(part, 0.0) for block in clock.blocks]
        latency_s = statistics.median(blocks)
        if latency_s <= 0 or (part == REST and latency_s < NEGLIGIBLE * whole):
            continue
        fields = _timed(replace(timing, blocks=blocks), batch_size)
        rows.append({"part": part, **fields, "added_memory_bytes": added.get(part)})
    names = [row["part"] for row in rows]
    rows.append({"part": total, **_timed(replace(timing, blocks=list(clock.totals)), batch_size)})
    why_not = "it lies inside of another part, or the system tells no peak that begins anew"
    about = {"status": status, "reason": reason, "seen": {**seen, "parts": names}}
    for row in rows:
        row |= about
        row["missing"] = {} if row.get("added_memory_bytes") is not None else {"added_memory_bytes": why_not}
    return rows


def _timed(timing: Timing, batch_size: int) -> dict[str, Any]:
    low, high = timing.interval_s
    return {
        "latency_s": timing.latency_s,
        "latency_ci95_low_s": low,
        "latency_ci95_high_s": high,
        "blocks": timing.blocks,
        "throughput_img_s": batch_size / timing.latency_s,
    }


def _added_bytes(watch: Watch, in_parts: InParts) -> dict[str, int]:
    """By part, the most bytes that a run of it takes beyond what is held when it begins. It is run once more for it.

    Parts inside of another one have none: a peak begins once at a time.
    """
    added: dict[str, int] = {}
    depth = 0

    def on_part(name: str, run: Callable[[], Any]) -> Any:
        nonlocal depth
        before = watch.begin_peak() if depth == 0 else None
        depth += 1
        try:
            result = run()
        finally:
            depth -= 1
        peak = watch.peak() if depth == 0 else None
        if before is not None and peak is not None:
            added[name] = max(added.get(name, 0), peak - before, 0)
        return result

    in_parts(on_part)
    return added
