"""Base and head measured in one job, in pairs A B, B A, A B …: little time passes between the two runs of a pair."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, replace

from fgbench.errors import FgbenchError
from fgbench.regress.pair_results import PairResults
from fgbench.regress.pair_store import PairStore
from fgbench.regress.request import PairsRequest, RunGroup
from fgbench.regress.side_runs import SideRun, TimedPoint, run_side
from fgbench.regress.sides.sides import Side

Progress = Callable[[int, int, str], None]  # finished runs, all runs as far as is known, the label of the current run
BASE, HEAD = "base", "head"


@dataclass(frozen=True, slots=True, kw_only=True)
class PairsResult:
    """All points of either side, and notes about them."""

    points: list[TimedPoint]
    problems: list[str]  # sentences: pairs that were left out
    unmeasured: dict[str, str] = field(default_factory=dict)  # groups that neither side can measure, and why
    interrupted: bool = False  # by Ctrl-C: this is what was finished before
    taken: int = 0  # pairs that were in the store
    not_kept: FgbenchError | None = None  # why the store took no more pairs


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """A pair of runs of one group."""

    group: RunGroup
    batch_sizes: Sequence[int]
    pair: int  # from 0
    again: bool = False  # the first attempt was disturbed, or failed on one side


def measure_pairs(
    request: PairsRequest,
    base: Side,
    head: Side,
    undecided: Callable[[Sequence[TimedPoint]], Collection[str]],
    progress: Progress = lambda *_: None,
) -> PairsResult:
    """Measure every point on both sides in a few pairs of runs, and undecided points in more.

    Every run is a fresh process of the side's own ``fgbench throughput``. The groups take turns in an order that is
    drawn anew for each pair, so that a disturbance does not meet one point alone. A pair that was disturbed, or failed
    on one side, is repeated once.

    Args:
        request: The points, and the numbers of pairs.
        base: One side.
        head: The other side.
        undecided: Returns the names of the points, of those given, that need more pairs.
        progress: Gets the finished runs, all runs and the label of the current run.

    Returns:
        The points; those that cannot be measured with their reasons. After Ctrl-C the points of finished pairs.

    Raises:
        FgbenchError: Where the store cannot be opened; nothing has been measured then.

    """
    with PairStore(request.store, base, head) as store:
        work = _Work(request=request, sides={BASE: base, HEAD: head}, store=store, progress=progress)
        interrupted = False
        try:
            for pair in range(request.first_pairs):
                work.measure(pair, request.first_pairs, work.results.batches)
            wanted = set(undecided(work.results.points)) if request.more_pairs else set()
            every = request.first_pairs + request.more_pairs
            for pair in range(request.first_pairs, every if wanted else 0):
                work.measure(pair, every, lambda group: work.results.batches(group, wanted))
            progress(work.done, work.done, "done")
        except KeyboardInterrupt:
            interrupted = True
        return PairsResult(
            points=work.results.points,
            problems=work.results.problems,
            not_kept=store.failure,
            unmeasured=work.results.unmeasured,
            interrupted=interrupted,
            taken=store.taken,
        )


def self_pairs(request: PairsRequest, side: Side, progress: Progress = lambda *_: None) -> PairsResult:
    """Measure a side against itself, every point in all pairs: their differences are the noise of this machine."""
    return measure_pairs(request, side, side, lambda points: [point.name for point in points], progress)


@dataclass(slots=True, kw_only=True)
class _Work:
    """The measuring itself; an interrupt leaves its results as it is."""

    request: PairsRequest
    sides: dict[str, Side]
    store: PairStore
    progress: Progress
    results: PairResults = field(init=False)
    done: int = 0  # runs

    def __post_init__(self) -> None:
        self.results = PairResults(self.request.batch_sizes or (1,))

    def measure(self, pair: int, pairs: int, batches: Callable[[RunGroup], Sequence[int]]) -> None:
        """One pair of every group that has batches left."""
        groups = [group for group in self.request.groups if batches(group)]
        random.Random(f"{self.request.seed} {pair}").shuffle(groups)
        turns = deque(Turn(group=group, batch_sizes=tuple(batches(group)), pair=pair) for group in groups)
        while turns:
            turn = turns.popleft()
            if not self.results.is_wanted(turn.group):
                continue
            total = self.done + 2 * (len(turns) + 1 + len(groups) * (pairs - pair - 1))
            runs = self._pair(turn, total)
            again = self.results.take(
                turn.group, turn.batch_sizes, runs[BASE], runs[HEAD], pair, may_repeat=not turn.again
            )
            if again:  # at the end of the round: what disturbed it may be over by then
                turns.append(replace(turn, batch_sizes=tuple(again), again=True))

    def _pair(self, turn: Turn, total: int) -> dict[str, SideRun]:
        words = self.request.words(turn.group, turn.batch_sizes)
        kept = None if self.request.again else self.store.get(words, turn.pair, again=turn.again)
        if kept is None:
            kept = self._runs(turn, words, total)
            self.store.keep(words, turn.pair, kept, again=turn.again)
        else:
            self.done += 2
        return kept

    def _runs(self, turn: Turn, words: Sequence[str], total: int) -> dict[str, SideRun]:
        runs = {}
        for name in (BASE, HEAD) if turn.pair % 2 == 0 else (HEAD, BASE):
            what = f"{turn.group.label}: {name}, pair {turn.pair + 1}" + (", once more" if turn.again else "")
            self.progress(self.done, total, what)
            runs[name] = run_side(self.sides[name], words, self.request.limit_s(turn.batch_sizes))
            self.done += 1
        return runs
