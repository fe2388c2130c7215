"""Files of pytest-benchmark, made by the real one, old against new."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import numpy as np
import pytest

from fgbench_reports.regression.benchmark_files import (
    BadBenchmarksError,
    BenchmarkFile,
    Timed,
    compare_benchmarks,
    read_benchmarks,
)
from fgbench_reports.regression.findings import FASTER, INCONCLUSIVE, NEW, SAME, SLOWER, VANISHED

CPU = {"cpu": {"brand_raw": "Xeon", "count": 2}, "python_version": "3.11.2"}


def written(times: dict[str, float], machine=CPU, iqr=0.01, rounds=50) -> str:
    stats = [{"median": seconds, "iqr": iqr * seconds, "rounds": rounds} for seconds in times.values()]
    benchmarks = [{"fullname": name, "stats": each} for name, each in zip(times, stats, strict=True)]
    return json.dumps({"machine_info": machine, "benchmarks": benchmarks})


def file(**times: float) -> BenchmarkFile:
    return read_benchmarks(written(times))


def verdicts(old, new) -> dict[str, str]:
    return {finding.point: finding.verdict for finding in compare_benchmarks(old, new)[0]}


def test_the_real_program_writes_what_is_read(tmp_path):
    (tmp_path / "test_it.py").write_text("def test_sum(benchmark):\n    benchmark(sum, range(1000))\n")
    words = ["-q", "-p", "no:cacheprovider", "--benchmark-json=it.json", "--benchmark-max-time=0.05", "test_it.py"]
    alone = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}  # xdist's, if any
    command = [sys.executable, "-m", "pytest", *words]
    subprocess.run(command, cwd=tmp_path, env=alone, check=True, capture_output=True, timeout=600)
    found = read_benchmarks((tmp_path / "it.json").read_text())
    assert list(found.benchmarks) == ["test_it.py::test_sum"]
    assert 1e-6 < found.benchmarks["test_it.py::test_sum"].median < 1e-2
    assert 0 <= found.benchmarks["test_it.py::test_sum"].error < 1
    assert found.python == sys.version.split()[0]
    assert found.machine


@pytest.mark.parametrize(
    ("ratio", "expected"), [(1.0, SAME), (1.029, SAME), (1.06, INCONCLUSIVE), (1.2, SLOWER), (0.8, FASTER)]
)
def test_one_pair_of_files_holds_only_much_against_the_new_one(ratio, expected):
    assert verdicts([file(it=0.01)], [file(it=0.01 * ratio)]) == {"it": expected}


def test_one_pair_of_noisy_files_clears_nothing_and_still_finds_twice_the_time():
    old = read_benchmarks(written({"calm": 1.0, "slow": 1.0}, iqr=0.5))
    new = read_benchmarks(written({"calm": 1.0, "slow": 2.0}, iqr=0.5))
    found = {finding.point: finding for finding in compare_benchmarks([old], [new])[0]}
    assert found["slow"].verdict == SLOWER
    assert found["calm"].verdict == INCONCLUSIVE
    assert "too noisy" in found["calm"].reason


def test_other_benchmarks_tell_how_far_two_runs_lie_apart():
    rng = np.random.default_rng(0)
    old = {str(at): 1.0 for at in range(40)}
    apart = compare_benchmarks([file(**old)], [file(**{name: float(np.exp(rng.normal(0, 0.07))) for name in old})])
    assert apart[1].value == pytest.approx(0.07 / np.sqrt(2), rel=0.4)
    assert SLOWER not in {finding.verdict for finding in apart[0]}
    together = compare_benchmarks([file(**old)], [file(**{**old, "3": 1.3})])
    assert [finding.point for finding in together[0] if finding.verdict == SLOWER] == ["3"]


def test_seven_pairs_of_files_are_judged_by_the_whole_rule():
    rng = np.random.default_rng(1)

    def files(slowdown: float) -> list[BenchmarkFile]:
        times = np.exp(rng.normal(0, 0.005, (7, 20)))
        times[:, 0] *= 1 + slowdown
        return [file(**{f"b{at}": float(value) for at, value in enumerate(run)}) for run in times]

    found, spread = compare_benchmarks(files(0), files(0.05))
    assert {finding.point for finding in found if finding.verdict == SLOWER} == {"b0"}
    assert {finding.verdict for finding in found} == {SLOWER, SAME}
    assert spread.value == pytest.approx(0.005, rel=0.2)


def test_benchmarks_that_are_gone_fail_and_new_ones_are_listed():
    assert verdicts([file(a=1.0, b=1.0)], [file(b=1.0, c=1.0)]) == {"a": VANISHED, "b": SAME, "c": NEW}


def test_a_benchmark_that_single_files_lack_is_judged_by_the_others():
    old, new = [file(a=1.0, b=1.0), file(a=1.0)], [file(a=1.0), file(a=1.0, b=1.0)]
    assert verdicts(old, new) == {"a": SAME, "b": INCONCLUSIVE}


def test_files_of_two_machines_are_not_compared():
    other = read_benchmarks(written({"a": 9.0}, machine={**CPU, "cpu": {"brand_raw": "Ryzen", "count": 8}}))
    found, _ = compare_benchmarks([file(a=1.0)], [other])
    assert found[0].verdict == INCONCLUSIVE
    assert found[0].reason == (
        "the files come from different machines: Xeon, 2 cores; Ryzen, 8 cores; measure both on one"
    )
    assert verdicts([file(a=1.0)], [read_benchmarks(written({"a": 9.0}, machine={}))]) == {"a": SLOWER}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "it is not JSON"),
        ("[" * 100_000, "it is not JSON"),
        ("[]", "not pytest-benchmark's"),
        ('{"benchmarks": {}}', "not pytest-benchmark's"),
        ('{"benchmarks": [1]}', 'benchmarks[0] has no "stats"'),
        ('{"benchmarks": [{"stats": {"median": 1}}]}', "benchmarks[0] has no name"),
        ('{"benchmarks": [{"name": "a", "stats": {}}]}', "benchmarks[0].stats.median is None"),
        ('{"benchmarks": [{"name": "a", "stats": {"median": NaN}}]}', "benchmarks[0].stats.median is nan"),
        ('{"benchmarks": [{"name": "a", "stats": {"median": 0}}]}', "benchmarks[0].stats.median is 0"),
        ('{"benchmarks": [{"name": "a", "stats": {"median": true}}]}', "benchmarks[0].stats.median is True"),
        ('{"benchmarks": [{"name": "a", "stats": {"median": 1e-320}}]}', "median is 1e-320, and must be seconds"),
        ('{"benchmarks": [{"name": "a", "stats": {"median": 1e300}}]}', "median is 1e+300"),
        (f'{{"benchmarks": [{{"name": "a", "stats": {{"median": {10**400}}}}}]}}', "median is 1000"),
        ('{"benchmarks": [' + "1" * 5000 + "]}", "it is not JSON"),
        (written({"a": 1.0}).replace("}]}", '}, {"name": "a", "stats": {"median": 1}}]}'), "'a' stands twice"),
    ],
)
def test_what_is_no_file_of_benchmarks_is_refused_on_one_line(text, says):
    with pytest.raises(BadBenchmarksError) as error:
        read_benchmarks(text)
    assert says in str(error.value)


def test_statistics_that_are_missing_are_no_error():
    found = read_benchmarks('{"benchmarks": [{"name": "a", "stats": {"median": 1}}]}')
    assert found == BenchmarkFile(benchmarks={"a": Timed(median=1.0, error=0.0)}, machine=None, python=None)
