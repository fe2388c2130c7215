"""All that one run of ``fgbench regress`` compares; what was found before something broke stands."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fgbench.cli.commands.regress_counted import CountedRequest, compare_with_baseline
from fgbench.cli.errors import INTERRUPTED
from fgbench.errors import FgbenchError
from fgbench.regress.request import PairsRequest, SidesRequest
from fgbench_reports.regression.findings import Outcome, together


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """What was found, what broke on the way without being part of it, and whether Ctrl-C ended it early."""

    outcome: Outcome
    problems: Sequence[FgbenchError] = ()
    interrupted: bool = False


def compare_all(
    counted: CountedRequest | None, files: Sequence[str], sides: SidesRequest, pairs: PairsRequest
) -> Comparison:
    """Compare files of pytest-benchmark, counted figures, and two sides: each where it is asked for."""
    outcomes: list[Outcome] = []
    problems: list[FgbenchError] = []
    interrupted = False
    if files:
        from fgbench.cli.commands.regress_files import compare_files

        outcomes.append(compare_files(files))
    if counted is not None:
        compared = compare_with_baseline(counted)
        outcomes.append(compared.outcome)
        problems += compared.problems
    if sides.any:
        from fgbench.cli.commands.regress_pairs import compare_sides

        try:
            measured = compare_sides(sides, pairs)
        except (FgbenchError, KeyboardInterrupt) as error:
            if not outcomes:
                raise
            interrupted = isinstance(error, KeyboardInterrupt) or error.exit_code == INTERRUPTED
            problems += [error] if isinstance(error, FgbenchError) and not interrupted else []
        else:
            outcomes.append(measured.outcome)
            problems += measured.problems
            interrupted = measured.interrupted
    return Comparison(outcome=together(outcomes), problems=problems, interrupted=interrupted)
