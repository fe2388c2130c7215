"""Simulate what the rule for times promises, and write the tables of docs/regress.md.

Seeded: the same figures every time. Rows of self-tests are kept in reports/gallery/regress.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fgbench.results.output import emit
from fgbench_reports.regression.findings import SLOWER
from fgbench_reports.regression.rule import FIRST_PAIRS, PairedPoint, pooled_spread
from fgbench_reports.regression.simulation import SUITE_POINTS, Draw, as_seen, normal, simulate
from fgbench_reports.regression.wording import roughly

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "regress.md"
KEPT = ROOT / "reports" / "gallery" / "regress"
SUITES, FOUND_SUITES = 2000, 1000
FEW_SUITES = 1000  # of files, with three pairs of each
BLOCK = re.compile(r"(<!-- begin simulated -->\n).*?(<!-- end simulated -->)", re.DOTALL)


def main() -> None:
    """Write both tables into the page."""
    text = PAGE.read_text(encoding="utf-8")
    tables = "\n".join(["", *simulated(), "", *few_pairs(), "", *measured(), ""])
    emit(BLOCK.sub(lambda found: f"{found[1]}{tables}{found[2]}", text), PAGE)


def simulated() -> Iterator[str]:
    """A table of what the rule says of suites whose truth is known."""
    yield (
        f"Simulated by the rule's own code, {SUITES} suites of {SUITE_POINTS} points that did not change, and "
        f"{FOUND_SUITES} of 20 points of which one is slower (`python docs/regress.py`, seeded):"
    )
    yield ""
    headings = ("suites with a false alarm", "at most (95 %)", "inconclusive", "5 % slower found", "25 % slower found")
    yield f"| processes of one side deviate | {' | '.join(headings)} |"
    yield "| --- | ---: | ---: | ---: | ---: | ---: |"
    for name, draw in cases().items():
        calm = simulate(draw, suites=SUITES, seed=1)
        found = [
            simulate(draw, suites=FOUND_SUITES, points=20, planted=1, slowdown=slowdown, seed=2)
            for slowdown in (0.05, 0.25)
        ]
        cells = [
            name,
            f"{calm.alarmed} of {calm.suites}",
            roughly(calm.most_alarm_rate),
            roughly(calm.inconclusive / calm.suites / calm.points),
            *(roughly(each.found / each.planted) for each in found),
        ]
        yield f"| {' | '.join(cells)} |"


def few_pairs() -> Iterator[str]:
    """A table of what three pairs of files see, where no more follow."""
    yield (
        f"Three pairs of files and no more, {FEW_SUITES} suites of {SUITE_POINTS} points and {10 * FEW_SUITES} of one "
        f"point that did not change, and {FOUND_SUITES} of 20 points of which one is slower:"
    )
    yield ""
    headings = ("suites with a false alarm", "of one point", "inconclusive", "5 % slower found", "25 % slower found")
    yield f"| processes of one side deviate | {' | '.join(headings)} |"
    yield "| --- | ---: | ---: | ---: | ---: | ---: |"
    for name, draw in cases().items():
        calm = simulate(draw, suites=FEW_SUITES, seed=1, pairs=FIRST_PAIRS)
        alone = simulate(draw, suites=10 * FEW_SUITES, points=1, seed=1, pairs=FIRST_PAIRS)
        found = [
            simulate(draw, suites=FOUND_SUITES, points=20, planted=1, slowdown=slowdown, seed=2, pairs=FIRST_PAIRS)
            for slowdown in (0.05, 0.25)
        ]
        cells = [
            name,
            f"{calm.alarmed} of {calm.suites}",
            f"{alone.alarmed} of {alone.suites}",
            roughly(calm.inconclusive / calm.suites / calm.points),
            *(roughly(each.found / each.planted) for each in found),
        ]
        yield f"| {' | '.join(cells)} |"


def cases() -> dict[str, Draw]:
    """How processes deviate: quiet and noisy machines, and such as are not normal."""
    found = {f"normally, s = {100 * spread:g} %": normal(spread) for spread in (0.004, 0.008, 0.009, 0.01, 0.012, 0.03)}
    return found | {
        "0.6 %, and every twentieth is 10 % slower": disturbed,
        "Student's t of 3 degrees, 0.4 %": heavy_tailed,
        "two ways of running, 2.5 % apart": bimodal,
        "0.5 %, and three of ten points 1.2 %": uneven,
    }


def disturbed(generator: np.random.Generator, shape: tuple[int, ...]) -> NDArray[np.float64]:
    """Now and then something else runs."""
    slow: NDArray[np.float64] = generator.normal(0, 0.006, shape) + 0.1 * (generator.random(shape) < 0.05)
    return slow


def heavy_tailed(generator: np.random.Generator, shape: tuple[int, ...]) -> NDArray[np.float64]:
    """Far deviations are not rare."""
    return 0.004 * generator.standard_t(3, shape)


def bimodal(generator: np.random.Generator, shape: tuple[int, ...]) -> NDArray[np.float64]:
    """Memory lies well in one process and badly in the next."""
    return generator.normal(0, 0.004, shape) + 0.025 * (generator.random(shape) < 0.5)


def uneven(generator: np.random.Generator, shape: tuple[int, ...]) -> NDArray[np.float64]:
    """Some points are noisier than others."""
    spread = np.where(np.arange(shape[1]) < 0.3 * shape[1], 0.012, 0.005)
    return generator.normal(0, 1, shape) * spread[:, None]


def measured() -> Iterator[str]:
    """A table of the self-tests that are kept."""
    files = sorted(KEPT.glob("*.json"))
    if not files:
        return
    yield "Measured, a machine against itself, seven pairs of every point (`fgbench regress --a-a`):"
    yield ""
    yield "| machine | points | pairs | s | called slower | inconclusive | simulated suites with a false alarm |"
    yield "| --- | ---: | ---: | ---: | ---: | ---: | ---: |"
    for path in files:
        kept = json.loads(path.read_text(encoding="utf-8"))
        rows = [row for row in kept["rows"] if row["before_samples"]]
        points = [PairedPoint(name=r["point"], base=r["before_samples"], head=r["after_samples"]) for r in rows]
        spread = pooled_spread(points)
        assert spread is not None
        simulated_alarms = simulate(as_seen(points), suites=1000)
        cells = [
            kept["machine"],
            str(len(points)),
            str(sum(len(point.base) for point in points)),
            roughly(spread.value),
            str(sum(row["verdict"] == SLOWER for row in rows)),
            str(sum(row["verdict"] == "inconclusive" for row in rows)),
            f"{simulated_alarms.alarmed} of {simulated_alarms.suites}",
        ]
        yield f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    main()
