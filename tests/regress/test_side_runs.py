"""Rows of a side's run: which statuses are results."""

from __future__ import annotations

import pytest

from fgbench.regress.side_runs import SideRun, reading, status
from fgbench.results.records import Status

ROW = {"model": "vit", "batch_size": 1, "latency_s": 0.5}


@pytest.mark.parametrize(
    ("said", "whole"),
    [
        *[(end, True) for end in ("ok", "unconverged", "contended", "oom", "oom_inferred")],
        *[(end, False) for end in ("timeout", "crashed", "error", "tired")],
    ],
)
def test_a_run_is_whole_where_every_point_has_a_result(said, whole):
    assert SideRun(rows={"a": ROW, "b": {**ROW, "status": said}}).whole is whole


@pytest.mark.parametrize(("seconds", "end"), [(0.5, Status.OK), (None, Status.ERROR)])
def test_a_row_without_a_status_is_well_where_it_has_a_time(seconds, end):
    assert status({**ROW, "latency_s": seconds}) is end


def test_a_status_of_another_version_is_told_as_it_is():
    run = SideRun(rows={"a": {**ROW, "status": "tired", "reason": "it is late"}})
    assert reading(run, "a").failure == "tired: it is late"
    disturbed = SideRun(rows={"a": {**ROW, "status": "contended", "reason": "others"}})
    assert (reading(disturbed, "a").disturbed, reading(disturbed, "a").failure) == (True, "contended: others")
    assert reading(SideRun(rows={"a": {**ROW, "status": "unconverged"}}), "a").seconds == 0.5
