"""Tables of the error rates of the rule for times: in simulated suites, and in self-tests of machines.

The simulation has a fixed seed: it gives the same figures every time.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from fgbench_reports.regression.findings import INCONCLUSIVE, SLOWER
from fgbench_reports.regression.rule import FIRST_PAIRS, PairedPoint, pooled_spread
from fgbench_reports.regression.simulation import SUITE_POINTS, Draw, as_seen, normal, simulate
from fgbench_reports.regression.wording import roughly

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

SUITES, PLANTED_SUITES = 2000, 1000  # suites without a change; suites of 20 points, one of which is slower
FEW_SUITES = 1000  # suites of three pairs of files
SLOWDOWNS = (0.05, 0.25)
FIGURES = ("inconclusive", "5 % slower found", "25 % slower found")  # the last columns of both tables
FIRST_COLUMN = "processes of one side deviate"
SelfTest = Mapping[str, Any]  # of a machine: ``machine`` (its name, or None) and ``rows``, findings as in JSON


def simulated_markdown(self_tests: Sequence[SelfTest], *, scale: float = 1.0) -> str:
    """The tables of docs/regress.md.

    Args:
        self_tests: Self-tests as :func:`read_self_test` returns them; they fill the third table, which is left out
            where there are none.
        scale: Share of the suites that are simulated; tests take fewer.

    Returns:
        Markdown.

    """
    suites, planted, few = (max(1, round(scale * count)) for count in (SUITES, PLANTED_SUITES, FEW_SUITES))
    lines = [*_simulated(suites, planted), "", *_few_pairs(few, planted)]
    return "\n".join([*lines, *(["", *_measured(self_tests)] if self_tests else [])]) + "\n"


def read_self_test(text: str) -> SelfTest | None:
    """A self-test of a machine: what ``fgbench regress --a-a --format json`` prints, or a file of the gallery.

    Args:
        text: The text of the file.

    Returns:
        ``machine`` (its name, or None) and ``rows``; None where the text is something else.

    """
    try:
        parsed = json.loads(text)
    except ValueError:
        return None
    rows = parsed.get("rows") if isinstance(parsed, dict) else parsed
    if not isinstance(rows, list) or not rows or not all(isinstance(row, dict) and "check" in row for row in rows):
        return None
    return {"machine": parsed.get("machine") if isinstance(parsed, dict) else None, "rows": rows}


def _simulated(suites: int, planted: int) -> Iterator[str]:
    yield (
        f"Simulated by the rule's own code, {suites} suites of {SUITE_POINTS} points that did not change, and "
        f"{planted} of 20 points of which one is slower (seeded):"
    )
    yield ""
    yield from _heading(FIRST_COLUMN, "suites with a false alarm", "at most (95 %)", *FIGURES)
    for name, draw in cases().items():
        calm = simulate(draw, suites=suites, seed=1)
        yield _line(
            name,
            f"{calm.alarmed} of {calm.suites}",
            roughly(calm.most_alarm_rate),
            roughly(calm.inconclusive / calm.suites / calm.points),
            *_slower(draw, planted),
        )


def _few_pairs(suites: int, planted: int) -> Iterator[str]:
    yield (
        f"Three pairs of files and no more, {suites} suites of {SUITE_POINTS} points and {10 * suites} of one "
        f"point that did not change, and {planted} of 20 points of which one is slower:"
    )
    yield ""
    yield from _heading(FIRST_COLUMN, "suites with a false alarm", "of one point", *FIGURES)
    for name, draw in cases().items():
        calm = simulate(draw, suites=suites, seed=1, pairs=FIRST_PAIRS)
        alone = simulate(draw, suites=10 * suites, points=1, seed=1, pairs=FIRST_PAIRS)
        yield _line(
            name,
            f"{calm.alarmed} of {calm.suites}",
            f"{alone.alarmed} of {alone.suites}",
            roughly(calm.inconclusive / calm.suites / calm.points),
            *_slower(draw, planted, pairs=FIRST_PAIRS),
        )


def _slower(draw: Draw, suites: int, **more: int) -> list[str]:
    """The shares of slower points that the rule finds, for each slowdown."""
    results = [
        simulate(draw, suites=suites, points=20, planted=1, slowdown=slowdown, seed=2, **more) for slowdown in SLOWDOWNS
    ]
    return [roughly(result.found / result.planted) for result in results]


def _measured(self_tests: Sequence[SelfTest]) -> Iterator[str]:
    yield "Measured, a machine against itself, seven pairs of every point (`fgbench regress --a-a`):"
    yield ""
    columns = ("points", "pairs", "s", "called slower", "inconclusive", "simulated suites with a false alarm")
    yield from _heading("machine", *columns)
    for self_test in self_tests:
        rows = [row for row in self_test["rows"] if row.get("before_samples")]
        points = [PairedPoint(name=row["point"], base=row["before_samples"], head=row["after_samples"]) for row in rows]
        spread = pooled_spread(points)
        alike = simulate(as_seen(points), suites=1000)
        yield _line(
            self_test["machine"] or "–",
            str(len(points)),
            str(sum(len(point.base) for point in points)),
            "–" if spread is None else roughly(spread.value),
            str(sum(row["verdict"] == SLOWER for row in rows)),
            str(sum(row["verdict"] == INCONCLUSIVE for row in rows)),
            f"{alike.alarmed} of {alike.suites}",
        )


def _heading(*names: str) -> list[str]:
    return [_line(*names), _line("---", *(["---:"] * (len(names) - 1)))]


def _line(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def cases() -> dict[str, Draw]:
    """Distributions of the times of one side, by a description: normal ones, quiet and noisy, and others."""
    spreads = (0.004, 0.008, 0.009, 0.01, 0.012, 0.03)
    return {f"normally, s = {100 * spread:g} %": normal(spread) for spread in spreads} | {
        "0.6 %, and every twentieth is 10 % slower": _disturbed,
        "Student's t of 3 degrees, 0.4 %": _heavy_tailed,
        "two ways of running, 2.5 % apart": _bimodal,
        "0.5 %, and three of ten points 1.2 %": _uneven,
    }


def _disturbed(generator: np.random.Generator, shape: tuple[int, ...]) -> NDArray[np.float64]:
    """A normal distribution; one process in twenty is 10 % slower, as beside another program."""
    slow: NDArray[np.float64] = generator.normal(0, 0.006, shape) + 0.1 * (generator.random(shape) < 0.05)
    return slow


def _heavy_tailed(generator: np.random.Generator, shape: tuple[int, ...]) -> NDArray[np.float64]:
    """A distribution with heavy tails."""
    return 0.004 * generator.standard_t(3, shape)


def _bimodal(generator: np.random.Generator, shape: tuple[int, ...]) -> NDArray[np.float64]:
    """A mixture of two normal distributions, as by a good and a bad layout of memory."""
    return generator.normal(0, 0.004, shape) + 0.025 * (generator.random(shape) < 0.5)


def _uneven(generator: np.random.Generator, shape: tuple[int, ...]) -> NDArray[np.float64]:
    """Normal distributions; some points are noisier than others."""
    import numpy as np

    spread = np.where(np.arange(shape[1]) < 0.3 * shape[1], 0.012, 0.005)
    return generator.normal(0, 1, shape) * spread[:, None]
