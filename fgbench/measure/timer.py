"""When to stop timing: warm until stable, then blocks until the interval of their mean is narrow enough."""

from __future__ import annotations

import math
import statistics
from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from fgbench.measure.clocks import Clock
from fgbench.measure.intervals import half_width

FEWEST_BLOCKS = 3  # below, a spread cannot be estimated at all
ATTEMPTS = 2  # at a point that is disturbed, before it is kept as such
WARM_BLOCKS = 3  # that must agree before anything counts

Middle = Callable[[Sequence[float]], float]


@dataclass(frozen=True, slots=True, kw_only=True)
class TimingPlan:
    """When a timing is good enough, and when to give up."""

    block_s: float = 0.15  # a block of iterations lasts about as long
    min_iterations: int = 3  # in a block, as long as they are short
    min_blocks: int = 8
    target: float = 0.003  # half of the 95 % interval, over the mean
    cap_s: float = 6.0  # of timed blocks; past it the figure is unconverged
    warm_s: float = 0.3  # at least, where iterations are short
    warm_cap_s: float = 3.0
    warm_spread: float = 0.02  # between the last warm blocks, relative
    min_samples: int = 0  # single iterations that are asked for, as far as the cap allows


GPU_PLAN = TimingPlan()
CPU_PLAN = TimingPlan(min_iterations=1, target=0.02, cap_s=10.0, warm_spread=0.1)


def timing_plan(device: str, cap_s: float | None) -> TimingPlan:
    """The plan of a device, with another cap where one was asked for."""
    plan = CPU_PLAN if device == "cpu" else GPU_PLAN
    if cap_s is None:
        return plan
    return replace(plan, cap_s=cap_s, warm_cap_s=min(plan.warm_cap_s, cap_s), warm_s=min(plan.warm_s, cap_s))


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """Seconds per iteration, block by block."""

    blocks: list[float] = field(repr=False)  # the median of each block's iterations, in order
    iterations: int  # per block
    converged: bool
    warm_iterations: int
    warm_s: float
    times: Sequence[float] = field(default=(), repr=False)  # of every timed iteration, in order

    @property
    def latency_s(self) -> float:
        """The median of the blocks."""
        return statistics.median(self.blocks)

    @property
    def interval_s(self) -> tuple[float, float]:
        """The 95 % interval of the blocks' mean, as wide as it takes to hold their median too."""
        mean, half = statistics.fmean(self.blocks), half_width(self.blocks)
        return max(0.0, min(mean - half, self.latency_s)), max(mean + half, self.latency_s)


def warm_up(clock: Clock, plan: TimingPlan) -> tuple[int, float, float]:
    """Run until three blocks in a row agree, or the cap: iterations, seconds, and seconds of one at the end.

    The first iteration stands alone, and its time counts for nothing: it loads, compiles and chooses kernels.
    """
    first = latency_s = clock.run(1)[0]
    done, spent, recent = 1, 0.0, list[float]()
    while spent < plan.warm_cap_s:
        count = max(1, math.ceil(plan.warm_s / 5 / max(latency_s, 1e-9)))
        times = clock.run(min(count, 2 * done))  # a slow first one says little about those that follow
        done, spent, latency_s = done + len(times), spent + sum(times), statistics.median(times)
        recent = [*recent, latency_s][-WARM_BLOCKS:]
        agree = len(recent) == WARM_BLOCKS and max(recent) <= (1 + plan.warm_spread) * min(recent)
        if agree and spent >= plan.warm_s:
            break
    return done, first + spent, latency_s


def iterations_per_block(latency_s: float, plan: TimingPlan) -> int:
    """Enough to fill a block, at least the fewest – unless those alone would eat the time of all blocks."""
    fill = math.ceil(plan.block_s / max(latency_s, 1e-9))
    affordable = max(1, int(plan.cap_s / FEWEST_BLOCKS / max(latency_s, 1e-9)))
    return max(1, min(max(fill, plan.min_iterations), affordable))


def take_blocks(
    clock: Clock,
    plan: TimingPlan,
    latency_s: float,
    progress: Callable[[float, int], None] = lambda *_: None,
    middle: Middle = statistics.median,
) -> tuple[list[float], array[float], int, bool]:
    """Blocks until the interval is narrow enough and there are enough samples, or the time is up.

    Returns the middles of the blocks, all times, the iterations per block, and whether the interval is narrow enough.
    """
    count, blocks, spent = iterations_per_block(latency_s, plan), list[float](), 0.0
    samples = array("d")  # a list of a million floats would be seen in the resident set
    while True:
        times = clock.run(count)
        samples.extend(times)
        blocks.append(middle(times))
        spent += sum(times)
        progress(statistics.median(blocks), len(blocks))
        narrow = half_width(blocks) <= plan.target * statistics.fmean(blocks)
        if narrow and len(blocks) >= plan.min_blocks and len(samples) >= plan.min_samples:
            return blocks, samples, count, True
        if spent >= plan.cap_s and len(blocks) >= FEWEST_BLOCKS:
            return blocks, samples, count, narrow


def time_iterations(
    clock: Clock,
    plan: TimingPlan,
    *,
    warmed: Callable[[], None] = lambda: None,
    progress: Callable[[float, int], None] = lambda *_: None,
    middle: Middle = statistics.median,
) -> Timing:
    """Warm up, call ``warmed``, and take blocks. ``progress`` hears the median so far and the number of blocks.

    ``middle`` is what the times of a block's iterations are summed up by: iterations that are meant to differ have a
    mean.
    """
    done, spent, latency_s = warm_up(clock, plan)
    warmed()
    blocks, times, count, converged = take_blocks(clock, plan, latency_s, progress, middle)
    return Timing(blocks=blocks, times=times, iterations=count, converged=converged, warm_iterations=done, warm_s=spent)
