"""What the driver of a sweep on a cluster does for a group: 20,000 of them on 64 places that measure in no time."""

from __future__ import annotations

import resource

import pytest
from helpers.fake_places import FakePlaces, measured, sweep_of

from fgbench.cluster.dispatch import dispatch
from fgbench.results.store import Store

GROUPS, PLACES = 20_000, 64
MOST_MS, MOST_BYTES = 10.0, 8_000  # a group; its row is kept, for the table in the end


@pytest.mark.benchmark(group="cluster")
def test_the_driver_takes_milliseconds_a_group(benchmark, tmp_path):
    with Store(tmp_path / "rows.db") as store:
        sweep = sweep_of(GROUPS, store)
        places = FakePlaces([f"n{number}" for number in range(PLACES)], answer=measured(sweep))
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        benchmark.pedantic(dispatch, (places, {"cpu": sweep}), {"together": store.together}, rounds=1)
        grown = 1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
        assert sweep.measured == GROUPS
    assert 1000 * benchmark.stats.stats.mean / GROUPS <= MOST_MS
    assert grown / GROUPS <= MOST_BYTES
