"""Error rates of the rule, simulated with seeds: fewer than one false alarm in 200 suites of 200 points."""

from __future__ import annotations

import numpy as np
import pytest

from fgbench_reports.regression.rule import PairedPoint
from fgbench_reports.regression.simulation import as_seen, normal, simulate, upper_rate


@pytest.mark.parametrize("spread", [0.008, 0.01])
def test_fewer_than_one_suite_in_200_cries_wolf(spread):
    found = simulate(normal(spread), suites=700, seed=8)
    assert found.points == 200
    assert found.most_alarm_rate < 0.005, "the upper end of the 95 % interval"
    if spread == 0.008:
        assert found.inconclusive == 0


@pytest.mark.parametrize(("points", "suites"), [(200, 100), (1, 2000)])
@pytest.mark.parametrize("spread", [0.001, 0.008, 0.03])
def test_three_pairs_cry_no_wolf_where_no_more_follow(spread, points, suites):
    assert simulate(normal(spread), suites=suites, points=points, seed=7, pairs=3).alarmed == 0


def test_three_pairs_cry_no_wolf_where_something_else_runs_now_and_then():
    def disturbed(generator, shape):
        return generator.normal(0, 0.006, shape) + 0.1 * (generator.random(shape) < 0.05)

    assert simulate(disturbed, suites=60, seed=2, pairs=3).alarmed == 0
    assert simulate(disturbed, suites=300, points=20, seed=2, pairs=3).alarmed == 0


def test_three_quiet_pairs_find_a_slowdown_of_5_percent():
    found = simulate(normal(0.004), suites=100, points=20, planted=1, slowdown=0.05, seed=3, pairs=3)
    assert found.found / found.planted >= 0.98
    assert simulate(normal(0.001), suites=200, points=1, planted=1, slowdown=0.05, seed=3, pairs=3).found >= 190


def test_a_noisy_machine_cries_no_wolf_either():
    for spread in (0.02, 0.08):
        found = simulate(normal(spread), suites=60, seed=1)
        assert found.alarmed == 0
        assert found.inconclusive >= 0.999 * found.suites * found.points


def test_processes_that_are_slow_now_and_then_cry_no_wolf():
    def disturbed(generator, shape):
        return generator.normal(0, 0.005, shape) + 0.2 * (generator.random(shape) < 0.05)

    assert simulate(disturbed, suites=100, seed=2).alarmed == 0


def test_a_slowdown_of_5_percent_is_found_nine_times_of_ten():
    found = simulate(normal(0.008), suites=400, points=20, planted=1, slowdown=0.05, seed=3)
    assert found.planted == 400
    assert found.found / found.planted >= 0.95
    assert found.alarmed == 0


def test_what_no_process_noise_can_hide_is_found_always():
    assert simulate(normal(0.008), suites=100, points=20, planted=3, slowdown=0.15, seed=4).found == 300
    assert simulate(normal(0.03), suites=50, points=20, planted=1, slowdown=1.0, seed=5).found == 50


def test_the_simulation_would_notice_a_rule_that_cries_wolf(monkeypatch):
    """Three pairs against 2 %, without four more: what a careless rule does."""
    from fgbench_reports.regression import simulation

    monkeypatch.setattr(simulation, "ALL_PAIRS", 3)
    monkeypatch.setattr("fgbench_reports.regression.rule.ALL_PAIRS", 3)
    assert simulate(normal(0.008), suites=30, seed=6).alarm_rate > 0.1


def test_a_simulation_as_seen_draws_from_what_was_measured():
    rng = np.random.default_rng(0)
    quiet = [
        PairedPoint(
            name=str(at), base=list(np.exp(rng.normal(0, 0.003, 7))), head=list(np.exp(rng.normal(1, 0.003, 7)))
        )
        for at in range(20)
    ]
    drawn = as_seen(quiet)(np.random.default_rng(1), (2, 300, 7))
    assert drawn.shape == (2, 300, 7)
    assert drawn.std() == pytest.approx(0.003, rel=0.1)
    assert abs(drawn.mean()) < 0.0005
    with pytest.raises(ValueError, match="no point was measured in 3 pairs"):
        as_seen([PairedPoint(name="one", base=[1.0], head=[1.0])])


def test_the_upper_end_of_a_rate_is_that_of_clopper_and_pearson():
    assert upper_rate(0, 600) == pytest.approx(1 - 0.05 ** (1 / 600))
    assert upper_rate(5, 5) == 1.0
    assert upper_rate(1, 1000) == pytest.approx(0.00473, rel=1e-2)
