"""The ratios of the paper's Section 5.3: best batches of one environment, memory of GPUs alone."""

from __future__ import annotations

import pytest
from helpers.paper_rows import GPU, timed
from helpers.paper_tables import lines, missing, tables

from fgbench_reports.data import Data


def test_ratios_are_taken_at_the_best_batch_of_each_and_memory_on_a_gpu_alone():
    (table,) = tables("ratios", Data(throughput=timed()))
    first = lines(table)[0]
    assert (first["paper ×"], first["published code ×"], first["fast ×"]) == ("2.70", "3.00", "6.00")
    assert (first["published code Δ"], first["fast Δ"]) == ("+0.30", "+3.30")
    (memory, *_) = lines(table, quantity="memory saving", versus="CAL at 224")
    assert memory["fast ×"] == "3.00"
    cpu = Data(throughput=timed({}, "cpu"))
    assert all(
        line["measured on"] == "not measured" for line in lines(tables("ratios", cpu)[0], quantity="memory saving")
    )
    assert [item.what.split(" of ")[0] for item in missing("ratios", cpu)] == ["Section 5.3: measured memory"]
    assert missing("ratios", Data(throughput=timed())) == []


@pytest.mark.parametrize("field", ["device_name", "torch", "driver"])
def test_ratios_never_cross_environments(field):
    ours = [each for each in timed() if each["model"] == "glsim"]
    theirs = [each for each in timed({**GPU, field: "another"}) if each["model"] != "glsim"]
    (table,) = tables("ratios", Data(throughput=[*ours, *theirs]))
    assert {line["versus"] for line in lines(table) if line["measured on"] != "not measured"} == {"GLSim at 448"}
    both = [*timed(), *timed({**GPU, field: "another"}, faster=2.0)]
    (table,) = tables("ratios", Data(throughput=both))
    assert len(lines(table)) == 24
    assert len({line["measured on"] for line in lines(table)}) == 2
    pairs = [[line["fast ×"] for line in lines(table)][first : first + 2] for first in range(0, 24, 2)]
    assert all(one == other != "–" for one, other in pairs)


def test_ratios_do_not_mix_dtypes_or_other_backbones():
    half = [{**each, "dtype": "float16"} for each in timed() if each["model"] == "glsim"]
    others = [each for each in timed() if each["model"] != "glsim"]
    small = [{**each, "backbone": "vit_tiny_patch16_224"} for each in timed() if each["model"] == "glsim"]
    for mine in (half, small):
        (table,) = tables("ratios", Data(throughput=[*mine, *others]))
        assert not [line for line in lines(table, versus="ViT B-16 at 448") if line.get("fast ×", "–") != "–"]
