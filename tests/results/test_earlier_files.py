"""Files that 61b3027 wrote, the last commit before rows had records: a store, exports, kept files, weights.

``expected.json`` holds what that commit read of each of them.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict
from pathlib import Path

import pytest
import torch
from helpers.saved_rows import read

from fgbench.models.checkpoints.load import load_checkpoint
from fgbench.plugins.kinds import models
from fgbench.results.records import RECORDS
from fgbench.training.state import load_state
from fgbench_reports.data import KINDS

EARLIER = Path(__file__).parent / "earlier"
EXPECTED = json.loads((EARLIER / "expected.json").read_text(encoding="utf-8"))
ROWS = [name for name in EXPECTED if not name.endswith(".safetensors")]
TAIL = {"latency_p50_s", "latency_p95_s", "latency_p99_s"}
LATER = {"study", "predictions"}  # kinds of rows that there were none of
ADDED = {
    "run",
    "top1_ci95_low_percent",
    "top1_ci95_high_percent",
    "kind",
    "schema_version",
    "stage",
    "engine",
    "part",
    "agreement",
    "added_memory_bytes",
    *TAIL,
}  # fields that rows have since then


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A copy, so that reading cannot change the files."""
    monkeypatch.delenv("FGBENCH_STORE", raising=False)
    shutil.copytree(EARLIER, tmp_path / "earlier")
    return tmp_path / "earlier"


@pytest.fixture
def tiny(monkeypatch):
    """The model that was trained."""
    models.add_file(EARLIER / "tiny.py")
    return models.load("tiny")()


@pytest.mark.parametrize("name", ROWS)
def test_every_row_is_what_it_was(name, folder):
    data = read(folder / name)
    for kind in KINDS:
        wanted = EXPECTED[name].get(kind, [])
        found = data.of_kind(kind)
        assert [{field: row[field] for field in then} for row, then in zip(found, wanted, strict=True)] == wanted
        for row, then in zip(found, wanted, strict=True):
            assert set(row) - set(then) <= ADDED
            assert isinstance(row, RECORDS[kind])
            assert row["kind"] == kind


def test_the_files_are_of_every_kind_and_small():
    assert {kind for name in ROWS for kind in EXPECTED[name]} == set(KINDS) - LATER
    assert sum(path.stat().st_size for path in EARLIER.iterdir() if path.is_file()) < 300_000


def test_a_store_named_by_option_reads_as_the_file_does(folder):
    assert read(store=folder / "store.db").throughput == read(folder / "store.db").throughput


def test_a_checkpoint_gives_the_same_logits(folder, tiny):
    load_checkpoint(tiny, folder / "checkpoint.safetensors")
    assert logits(tiny) == pytest.approx(EXPECTED["checkpoint.safetensors"]["logits"], rel=1e-5)


def test_training_goes_on_where_it_stood(folder, tiny):
    wanted = EXPECTED["state.safetensors"]
    optimizer = torch.optim.SGD(tiny.parameters(), lr=0.5, momentum=0.9)
    progress = load_state(folder / "state.safetensors", "61b3027", tiny, optimizer, None)
    assert json.loads(json.dumps(asdict(progress))) == wanted["progress"]
    assert optimizer.param_groups[0]["lr"] == wanted["lr"]
    momentum = [float(held["momentum_buffer"].sum()) for held in optimizer.state.values()]
    assert momentum == pytest.approx(wanted["momentum"], rel=1e-5)
    assert logits(tiny) == pytest.approx(wanted["logits"], rel=1e-5)


def logits(model) -> list[float]:
    image = torch.linspace(-1, 1, 3 * 64 * 64).reshape(1, 3, 64, 64)
    with torch.no_grad():
        return model.eval()(image)[0].tolist()
