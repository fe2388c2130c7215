"""``fgbench regress`` with bad baselines and options: one line, and never a pass."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from helpers.regress_command import run

BAD = {
    "missing": None,
    "not JSON": "{",
    "not text": b"\xff\xfe\x00",
    "another schema": '{"kind": "fgbench-baseline", "schema_version": 99}',
    "another convention": '{"kind": "fgbench-baseline", "schema_version": 1, "convention": "paper"}',
    "another file": '{"benchmarks": []}',
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_baseline_is_one_line_and_never_a_pass(name):
    content = BAD[name]
    if content is not None:
        Path("bad.json").write_bytes(content if isinstance(content, bytes) else content.encode())
    result = run("--baseline", "bad.json", "--junit", "j.xml", "--markdown", "m.md")
    assert (result.exit_code, result.stdout) == (2, "")
    assert len(result.stderr.splitlines()) == 1
    assert "bad.json" in result.stderr
    assert not Path("j.xml").exists()
    assert not Path("m.md").exists()
    if content is not None:
        assert run("--baseline", "bad.json", "--update").exit_code == 2
        assert Path("bad.json").read_bytes() == (content if isinstance(content, bytes) else content.encode())


def test_a_figure_that_was_edited_into_no_number_is_one_line(baseline):
    baseline.write_text(baseline.read_text().replace('"macs": ', '"macs": NaN, "x": ', 1))
    result = run("--baseline", baseline)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "it holds NaN, which is no figure" in result.stderr


def test_another_convention_than_the_baselines_is_refused(baseline):
    result = run("--baseline", baseline, "--convention", "fvcore")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "was counted with another convention than 'fvcore'; it has 'full'" in result.stderr
    assert run("--baseline", baseline, "--convention", "fvcore", "--update").exit_code == 0
    assert json.loads(baseline.read_text())["convention"] == "fvcore"


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ((), "nothing to compare with"),
        (("--update",), "--update writes a baseline"),
        (("--baseline", "b.json", "--update", "--selectors", "pms"), "did you mean psm"),
        (("--baseline", "b.json", "--update", "--models", "glism"), "did you mean glsim?"),
        (("--baseline", "b.json", "--update", "--sizes", "-3"), "-3"),
        (("--baseline", "b.json", "--update", "--impl", "slow"), "slow"),
        (("--baseline", "no/where.json", "--update"), "no/where.json"),
        (
            (
                "--baseline",
                ".",
            ),
            "cannot read the baseline '.'",
        ),
        (("--pytest-benchmark", "old.json"), "takes an old and a new file"),
        (("--pytest-benchmark", "old.json", "new.json"), "cannot read 'old.json'"),
        (("--baseline", "b.json", "--junit", "no/where.xml"), "no/where.xml"),
        (("--baseline", "b.json", "--junit", "x", "--markdown", "x"), "two outputs would be written to 'x'"),
        (("--baseline", "b.json", "--junit", "b.json"), "this file is the baseline"),
        (("--baseline", "b.json", "--annotations", "--format", "json"), "both go to standard output"),
        (("--baseline", "b.json", "--annotations", "--format", "json", "--output", "-"), "both go to standard output"),
        (("--baseline", "b.json", "--rows", "rows.json"), "b.json"),
        (("--baseline", "b.json", "--update", "--base", "main"), "--update writes the baseline and judges nothing"),
        (("--baseline", "b.json", "--update", "--pytest-benchmark", "o", "n"), "judges nothing"),
        (("--baseline", "b.json", "--update", "--junit", "j.xml"), "judges nothing"),
        (("--baseline", "b.json", "--update", "--backbones", "vit_gone"), "unknown backbone 'vit_gone'"),
        (("--baseline", "b.json", "--batch-sizes", "4"), "--batch-sizes does nothing here; it needs what is measured"),
        (("--pytest-benchmark", "o", "n", "--again"), "--again does nothing here"),
        (("--a-a", "--rows", "r.json"), "--rows does nothing here; it needs --baseline FILE"),
        (("--pytest-benchmark", "o", "n", "--sizes", "64"), "--sizes does nothing here"),
        (("--pytest-benchmark", "o", "n", "--benchmark-json", "n"), "this file is read, and would be written over"),
        (("--baseline", "b.json", "--markdown", "-"), "two outputs would be written to '-'"),
        (("--baseline", "b.json", "--junit", "../no/../x", "--markdown", "../x"), "two outputs would be written to"),
    ],
)
def test_bad_input_is_one_line(words, says):
    result = run(*words)
    assert (result.exit_code, result.stdout) == (2, ""), result.stderr
    assert says in result.stderr
    assert len(result.stderr.splitlines()) == 1
