"""Two revisions of another project, installed and measured as in a job of its CI."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from helpers.repositories import Repository

import fgbench
from fgbench.regress.request import PairsRequest
from fgbench.regress.side_runs import DISTURBED, TIMED, latency_s, run_side
from fgbench.regress.sides.revisions import revision_side, working_tree_side

ROOTS = [str(Path(fgbench.__file__).parents[1] / place) for place in ("", "selectors", "reports")]


@pytest.mark.slow
def test_a_selector_that_takes_longer_than_in_the_base_revision_is_seen(tmp_path, monkeypatch):
    repository = Repository(tmp_path / "theirs")
    repository.project("1")
    repository.commit()
    repository.project("2", work="import time; time.sleep(0.3)")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([*ROOTS, *filter(None, sys.path)]))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    request = PairsRequest(
        models=["glsim"],
        backbones=["test_vit"],
        selectors=["tiny"],
        image_sizes=[64],
        batch_sizes=[1],
        device="cpu",
        threads=1,
        cap_s=0.2,
        timeout_s=600.0,
    )
    (group,) = request.groups
    with revision_side("HEAD", repository.root) as base, working_tree_side(repository.root) as head:
        runs = [run_side(side, request.words(group, [1]), 600.0) for side in (base, head)]
    assert [run.failure for run in runs] == [None, None]
    name = "glsim tiny fast test_vit 64 batch 1"
    assert [list(run.rows) for run in runs] == [[name]] * 2
    before, after = (run.rows[name] for run in runs)
    assert {before["status"], after["status"]} <= {*TIMED, DISTURBED}, "tests share their machine"
    assert latency_s(after) >= 0.3 > latency_s(before)
    assert before["environment"]["code"] == after["environment"]["code"], "fgbench is the same on both sides"
    assert before["environment"]["foreign_code"] != after["environment"]["foreign_code"]
