"""How often intervals of differences hold the truth, and how often equal models get a verdict: simulated tables.

``python tests/benchmarks/coverage.py [TABLES]`` prints both tables of docs/statistics.md (twenty minutes for 1000).
"""

from __future__ import annotations

import sys
from itertools import product
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))  # the tests' helpers, as pytest has them

from helpers.compared_rows import answers_of, drawn, tables_of

from fgbench_reports.statistics import BETTER, WORSE, differences, judged

SEEDS, ACCURACIES, DEVIATIONS = (3, 5, 10), (0.5, 0.8, 0.95), (0.0, 0.01, 0.02, 0.03)
POINT = 0.01  # the true difference
MODELS = 6  # of a table without differences
RESAMPLES = 100


def coverage(seeds: int, accuracy: float, deviation: float, tables: int, kind: str) -> float:
    """The share of intervals in percent that hold the true difference of one point."""
    draw = np.random.default_rng([seeds, round(100 * accuracy), round(1000 * deviation)])
    pair = [accuracy - POINT, accuracy]
    marks = drawn(draw, pair, tables=tables, seeds=seeds, seed_deviation=deviation)
    held = 0
    for one, two in marks:
        numbers = [seed + (100 if kind == "unpaired" else 0) for seed in range(seeds)]
        found = differences(answers_of(one), answers_of(two, numbers), resamples=RESAMPLES)
        assert found.low_points is not None
        assert found.high_points is not None
        held += found.low_points <= 100 * POINT <= found.high_points
    return 100 * held / tables


def false_verdicts(seeds: int, accuracy: float, deviation: float, tables: int) -> float:
    """The share of tables in percent in which any of five equal models is called better or worse than the first."""
    draw = np.random.default_rng([seeds, round(100 * accuracy), round(1000 * deviation), 1])
    wrong = 0
    marks = drawn(draw, [accuracy] * MODELS, tables=tables, seeds=seeds, seed_deviation=deviation)
    for baseline, *others in tables_of(marks):
        found = [differences(baseline, other, resamples=RESAMPLES) for other in others]
        wrong += any(one.verdict in (BETTER, WORSE) for one in judged(found))
    return 100 * wrong / tables


def main(tables: int) -> None:
    """Print the tables, a line per number of seeds and true accuracy."""
    heads = " | ".join(f"{100 * deviation:g}" for deviation in DEVIATIONS)
    rule = "|".join(["---:"] * len(DEVIATIONS))
    for kind in ("paired", "unpaired"):
        print(f"\n| {kind}: seeds | accuracy % | {heads} |\n|---:|---:|{rule}|")
        for seeds, accuracy in product(SEEDS, ACCURACIES):
            shares = [coverage(seeds, accuracy, deviation, tables, kind) for deviation in DEVIATIONS]
            print(f"| {seeds} | {100 * accuracy:g} | {' | '.join(f'{share:.1f}' for share in shares)} |", flush=True)
    print(f"\n| false verdicts: seeds | accuracy % | {heads} |\n|---:|---:|{rule}|")
    for seeds, accuracy in product(SEEDS, ACCURACIES):
        shares = [false_verdicts(seeds, accuracy, deviation, max(tables // 2, 1)) for deviation in DEVIATIONS]
        print(f"| {seeds} | {100 * accuracy:g} | {' | '.join(f'{share:.1f}' for share in shares)} |", flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1000)
