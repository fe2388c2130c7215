"""``--reduction`` and ``--keep-rate`` of the commands, and names that say all."""

from __future__ import annotations

import json
import textwrap

import pytest
from typer.testing import CliRunner

from fgbench.cli.program import app
from fgbench.measure.points import ModelSpec, PointGroup, RunMode, point_key
from fgbench.measure.subjects.model import resolve
from fgbench.results.store import Store

EVERY_OTHER = '''
import torch

from fgbench.models.reductions.reduction import Reduction
from fgbench.models.token_ops import take


class EveryOther(Reduction):
    """In a block, drop every other patch."""

    scores_tokens = False
    two_impls = False

    def in_block(self, index, state, tokens, view):
        if self.stage_at(index) is None:
            return tokens
        patches = torch.arange(0, tokens.shape[1] - state.sources.num_prefix, 2, device=tokens.device)
        return take(tokens, self.drop(state, patches.expand(len(tokens), -1)))
'''
TINY = ["--backbones", "vit_tiny_patch16_224", "--sizes", "224", "--impl", "fast"]


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("FGBENCH_STORE", raising=False)


def run(*words: str):
    return CliRunner().invoke(app, list(words), catch_exceptions=True)


def rows_of(result) -> list[dict]:
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_flops_counts_every_reduction_at_every_rate_on_the_plain_vit(tmp_path):
    store = tmp_path / "rows.db"
    words = ["--reduction", "evit", "topk", "--keep-rate", "0.5", "0.9", *TINY]
    rows = rows_of(run("flops", *words, "--format", "json", "--store", str(store)))
    names = [row["model"] for row in rows if row["model"]]
    assert names == ["vit+evit@0.5", "vit+evit@0.9", "vit+topk@0.5", "vit+topk@0.9"]
    assert sorted(row["percent_of_backbone"] for row in rows if row["model"])[0] < 55
    with Store(store) as opened:
        kept = {row["model"] for row in opened.rows("flops")}
    assert set(names) <= kept


def test_the_fields_of_rows_are_what_they_were():
    (plain,) = [row for row in rows_of(run("flops", "--models", "vit", *TINY, "--format", "json")) if row["model"]]
    words = ("flops", "--models", "vit+evit@0.7", *TINY, "--format", "json")
    (reduced,) = [row for row in rows_of(run(*words)) if row["model"]]
    assert list(plain) == list(reduced)
    assert plain["impl"] is None
    assert reduced["impl"] == "fast"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["flops", "--keep-rate", "0.5"], "add --reduction evit"),
        (["flops", "--reduction", "evit", "--keep-rate", "1.5"], "between 0 and 1"),
        (["flops", "--reduction", "evit", "--keep-rate", "0"], "above"),
        (["flops", "--reduction", "evti"], "evit"),
        (["flops", "--reduction", "evit", "--models", "resnet101", "--sizes", "224"], "no tokens"),
    ],
)
def test_wrong_options_are_refused_in_one_line(words, message):
    result = run(*words)
    assert result.exit_code == 2
    assert message in result.output


def test_reductions_are_listed():
    result = run("list", "reductions", "--format", "json")
    listed = {row["name"]: row for row in rows_of(result)}
    assert {"evit", "topk", "tome", "dynamicvit", "ats", "evovit"} <= set(listed)
    assert listed["evovit"]["blocks"] == "5 9"
    assert listed["tome"]["takes a selector"] == "–"


def test_a_reduction_of_ones_own_is_a_file(tmp_path):
    path = tmp_path / "every_other.py"
    path.write_text(textwrap.dedent(EVERY_OTHER), encoding="utf-8")
    words = ("flops", "--models", "vit+everyother", *TINY, "--plugin", str(path), "--format", "json")
    (row,) = [row for row in rows_of(run(*words)) if row["model"]]
    assert row["model"] == "vit+everyother"
    assert row["percent_of_backbone"] < 60


def test_a_name_is_kept_in_one_spelling_and_changes_the_key():
    spec = {"backbone": "test_vit", "selector": None, "impl": None, "image_size": 64, "num_classes": 5}
    keys = {}
    for name in ("vit", "vit+evit", "vit+evit@0.70", "vit+evit@0.5", "vit+evit@0.7+at=2-4"):
        found, _ = resolve(ModelSpec(model=name, **spec))
        keys[name] = (found.model, point_key(PointGroup(case=found, mode=RunMode()), 1, {}))
    assert keys["vit+evit"] == keys["vit+evit@0.70"]
    assert keys["vit+evit"][0] == "vit+evit@0.7"
    assert len({key for _, key in keys.values()}) == 4
