"""What is made once for several points: which models' files are kept, and what a failed export is."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import pytest

from fgbench.measure.points import ModelSpec, PointGroup, RunMode
from fgbench.results.records import Status
from fgbench.sweep import preparations
from fgbench.sweep.preparations import KEPT, CannotExportError, Preparations
from fgbench.workers.pool import WorkerFailed

CASE = ModelSpec(model="vit", backbone="test_vit", selector=None, impl=None, image_size=64, num_classes=5)
GROUP = PointGroup(case=CASE, mode=RunMode(engine="onnxruntime"))


@pytest.fixture
def made(monkeypatch):
    """Preparations whose exports end as the list says: facts, or a failure."""
    asked: list = []

    def ask(pool, do, limit_s, plugins, tick, arguments):
        asked.append(arguments["case"]["model"])
        outcome = pool[0]
        if isinstance(outcome, Exception):
            raise outcome
        return {"facts": outcome}

    monkeypatch.setattr(preparations, "_ask", ask)
    opened = Preparations()
    opened.asked = asked
    yield opened
    opened.close()


def export(made, group=GROUP, outcome=None) -> str:
    return made.folder([outcome or {"file_bytes": 7}], group, None, 1.0, [], lambda: None)


def of(number: int) -> PointGroup:
    return PointGroup(case=replace(CASE, model=f"model {number}"), mode=GROUP.mode)


@pytest.mark.parametrize(("free", "kept"), [(0, KEPT), (2**60, 7)])
def test_as_many_models_are_kept_as_the_disk_has_room_for(made, monkeypatch, free, kept):
    monkeypatch.setattr(preparations.shutil, "disk_usage", lambda path: SimpleNamespace(free=free))
    for number in range(7):
        export(made, of(number))
    assert len(list(made._folder.path.glob("*/"))) == kept


def test_those_that_were_not_used_for_long_go_first(made, monkeypatch):
    monkeypatch.setattr(preparations.shutil, "disk_usage", lambda path: SimpleNamespace(free=0))
    for number in (0, 1, 2, 3, 0, 4, 0, 5):
        export(made, of(number))
    assert made.asked == [f"model {number}" for number in (0, 1, 2, 3, 4, 5)]
    export(made, of(1))
    assert made.asked[-1] == "model 1"


def test_a_model_that_cannot_be_exported_is_asked_once_and_refused_every_time(made):
    failure = WorkerFailed(Status.ERROR, "no such operator", refused=True)
    for _ in range(2):
        with pytest.raises(CannotExportError, match="no such operator"):
            export(made, outcome=failure)
    assert made.asked == ["vit"]


@pytest.mark.parametrize(("status", "told"), [(Status.OOM, Status.ERROR), (Status.TIMEOUT, Status.TIMEOUT)])
def test_memory_that_an_export_lacks_says_nothing_of_batches(made, status, told):
    with pytest.raises(WorkerFailed, match="its export failed: too much") as caught:
        export(made, outcome=WorkerFailed(status, "too much"))
    assert caught.value.status is told
