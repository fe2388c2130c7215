"""``fgbench regress --rows``, as it is typed: allocated memory against a baseline."""

from __future__ import annotations

import json
from pathlib import Path

from helpers.regress_command import failing, run
from helpers.throughput_rows import GPU, row

from fgbench_reports.tables import render


def memory_rows(gibibytes: float, torch: str = "2.9.0", **fields) -> str:
    classes = {"num_classes": fields.pop("num_classes")} if "num_classes" in fields else {}
    rows = [
        row(
            peak_memory_allocated_bytes=int(gibibytes * 2**30), environment={**GPU, "torch": torch, **classes}, **fields
        )
    ]
    name = f"{gibibytes}-{torch}-{len(fields)}-{len(classes)}.json"
    Path(name).write_text(render.to_json(rows))
    return name


def test_allocated_memory_is_compared_on_one_gpu_and_version_of_torch(baseline):
    assert run("--baseline", baseline, "--rows", memory_rows(4), "--update").exit_code == 0
    assert run("--baseline", baseline, "--rows", memory_rows(4.001)).exit_code == 0
    assert failing("--baseline", baseline, "--rows", memory_rows(4.1)) == {
        ("glsim gls fast vit_base_patch16_224 224 batch 1 float32", "peak_memory_allocated_bytes", "larger")
    }
    elsewhere = run("--baseline", baseline, "--rows", memory_rows(9, "2.10.0"))
    assert elsewhere.exit_code == 0
    assert "this is NVIDIA H200 with torch 2.10.0" in " ".join(elsewhere.stdout.split())
    assert elsewhere.stdout.splitlines()[-1].startswith("inconclusive")
    assert run("--baseline", baseline, "--rows", memory_rows(9, "2.10.0"), "--strict").exit_code == 3
    assert run("--baseline", baseline, "--rows", memory_rows(9, "2.10.0"), "--update").exit_code == 0
    sections = json.loads(baseline.read_text())["memory"]
    assert [section["torch"] for section in sections] == ["2.10.0"], "one GPU has one version"
    assert run("--baseline", baseline, "--update").exit_code == 0
    assert json.loads(baseline.read_text())["memory"] == sections


def test_memory_that_another_engine_takes_is_not_torchs(baseline):
    torchs = json.loads(Path(memory_rows(4)).read_text())
    others = json.loads(Path(memory_rows(9, engine="mine")).read_text())
    Path("mixed.json").write_text(render.to_json([*torchs, *others]))
    result = run("--baseline", baseline, "--rows", "mixed.json", "--update")
    assert "left out: 1 row of special modes" in result.stderr
    (section,) = json.loads(baseline.read_text())["memory"]
    assert [point["peak_memory_allocated_bytes"] for point in section["points"]] == [4 * 2**30]


def test_rows_without_allocated_memory_are_refused(baseline):
    result = run("--baseline", baseline, "--rows", memory_rows(4, status="oom", img_s=None))
    assert result.exit_code == 0, result.stderr
    result = run("--baseline", baseline, "--num-classes", "200", "--rows", memory_rows(4, num_classes=7))
    assert (result.exit_code, result.stdout) == (2, "")
    assert "no row has allocated memory of a plain mode and of 200 classes" in result.stderr
    Path("cpu.json").write_text(render.to_json([row(device="cpu", peak_memory_allocated_bytes=None)]))
    result = run("--baseline", baseline, "--rows", "cpu.json")
    assert result.exit_code == 2
    assert "no row has allocated memory" in result.stderr
