"""All comparisons of one run: files, counted figures, two sides. What was found before one breaks is in the outcome."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from fgbench.errors import FgbenchError, InterruptError, OnProblem
from fgbench.regress.pairs import Progress
from fgbench.regress.request import PairsRequest, RegressRequest, SidesRequest
from fgbench_reports.regression.exact import Row
from fgbench_reports.regression.findings import Outcome, together


def compare_all(
    request: RegressRequest,
    sides: SidesRequest,
    pairs: PairsRequest,
    saved_rows: Callable[[], Sequence[Row]] = tuple,
    *,
    on_problem: OnProblem = lambda _: None,
    say: Callable[[str], None] = lambda _: None,
    progress: Progress = lambda *_: None,
) -> Outcome:
    """Compare files of pytest-benchmark, counted figures, and two sides: each where it is asked for.

    Args:
        request: The files and the baseline.
        sides: The sides that are measured.
        pairs: What is measured on them.
        saved_rows: Reads rows of throughput, whose allocated memory is compared with the baseline's.
        on_problem: Gets what does not end the comparison.
        say: Gets what is done now, in words.
        progress: Gets the number of finished runs, of all runs, and what is measured now.

    Returns:
        All findings.

    Raises:
        FgbenchError: Where nothing can be compared.

    """
    outcomes: list[Outcome] = []
    if request.benchmarks:
        from fgbench.regress.files import compare_files

        outcomes.append(compare_files(request.benchmarks))
    if request.baseline is not None:
        from fgbench.regress.counted import compare_with_baseline

        outcomes.append(
            compare_with_baseline(request, saved_rows, plugins=sides.plugins, on_problem=on_problem, progress=say)
        )
    if sides.any:
        from fgbench.regress.paired import compare_sides

        try:
            outcomes.append(compare_sides(sides, pairs, on_problem=on_problem, say=say, progress=progress))
        except (FgbenchError, KeyboardInterrupt) as error:
            if not outcomes:
                raise
            if isinstance(error, FgbenchError) and not isinstance(error, InterruptError):
                on_problem(error)
            else:
                outcomes.append(Outcome(findings=(), interrupted=True))
    return together(outcomes)
