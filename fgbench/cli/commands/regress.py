"""``fgbench regress``: whether a change made selection or models costlier."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import typer

from fgbench.cli.commands.regress_output import OutcomeOptions
from fgbench.cli.errors import complain
from fgbench.cli.options import OutputOptions, PluginOptions, StoreOptions
from fgbench.errors import CannotMeasureError, CheckFailedError, FgbenchError, InterruptError
from fgbench.regress.request import RegressRequest, SidesRequest
from fgbench_reports.regression.findings import FAIL, UNDECIDED, Outcome


def regress(
    sides: SidesRequest,
    request: RegressRequest,
    outcome_options: OutcomeOptions,
    store: StoreOptions,
    plugin: PluginOptions,
    output: OutputOptions,
) -> None:
    """Compare what selection and models cost with before: counted figures exactly, times by pairs in one job.

    Exit codes: 0 nothing got costlier, 1 something did, 2 bad input, 3 could not be compared. What is inconclusive is
    said, and fails only with --strict.
    """
    sides = replace(sides, plugins=plugin.plugins)
    outcome_options.check_with(output, request.baseline, [*request.rows, *request.benchmarks])
    request.check_with(sides, judges=outcome_options.judges)
    again = request.again or sides.a_a  # old figures would test nothing
    from fgbench.cli.progress import PairsProgress
    from fgbench.cli.saved import read_data
    from fgbench.regress.compare import compare_all

    problems: list[FgbenchError] = []
    with PairsProgress(shown=sides.any or request.baseline is not None) as progress:
        outcome = compare_all(
            request,
            sides,
            request.pairs(store.store, again=again),
            lambda: read_data(None, [Path(name) for name in request.rows], complain).throughput,
            on_problem=problems.append,
            say=progress.say,
            progress=progress,
        )
    problems += outcome_options.write(outcome, output, request.baseline)
    for problem in problems:
        complain(problem)
    if request.update:
        complain(f"{request.baseline} is written")
    if outcome.interrupted:
        raise InterruptError("interrupted; finished pairs are kept, start again for the others")
    _leave(outcome, problems, strict=outcome_options.strict)


def _leave(outcome: Outcome, problems: Sequence[FgbenchError], *, strict: bool) -> None:
    """Leave with the exit code of an outcome."""
    code = max((problem.exit_code for problem in problems), default=0)
    if outcome.verdict == FAIL and not outcome.updated:
        code = CheckFailedError.exit_code
    elif not code and outcome.verdict == UNDECIDED and strict:
        code = CannotMeasureError.exit_code
    if code:
        raise typer.Exit(code)
