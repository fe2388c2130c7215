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
    comparison_notes,
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
    timed = found.benchmarks["test_it.py::test_sum"]
    assert (timed.options["disable_gc"], timed.options["timer"]) == ("off", "perf_counter")
    assert {"processor", "operating system", "Python", "host"} <= set(found.facts)
    assert found.version


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


def told(old, new) -> dict[str, tuple[str, str]]:
    return {finding.point: (finding.verdict, finding.reason) for finding in compare_benchmarks(old, new)[0]}


def run(times: dict, options: dict | None = None, info: dict | None = None, **more) -> BenchmarkFile:
    """A file as pytest-benchmark writes it, with what is said of its machine and of each benchmark."""
    benchmarks = [
        {"fullname": name, "stats": {"median": seconds}, "options": options or {}} for name, seconds in times.items()
    ]
    return read_benchmarks(json.dumps({"benchmarks": benchmarks, "machine_info": info or {}, **more}))


def noisy_runs(spread: float, slowdown: float, pairs: int, *, points: int = 1, seed: int = 0):
    """Old and new files whose runs differ by so much, and whose first benchmark is slower."""
    times = 0.01 * np.exp(np.random.default_rng(seed).normal(0, spread, (2, pairs, points)))
    times[1, :, 0] *= 1 + slowdown
    return [[run({f"b{at}": value for at, value in enumerate(each)}) for each in side] for side in times.tolist()]


@pytest.mark.parametrize("pairs", [3, 4, 5, 6])
@pytest.mark.parametrize("points", [1, 30])
def test_three_quiet_pairs_see_five_percent(pairs, points):
    found = told(*noisy_runs(0.001, 0.05, pairs, points=points))
    assert found.pop("b0")[0] == SLOWER
    assert {verdict for verdict, _ in found.values()} <= {SAME}
    assert told(*noisy_runs(0.001, -0.05, pairs, points=points))["b0"][0] == FASTER
    assert told(*noisy_runs(0.001, 0.0, pairs, points=points))["b0"][0] == SAME


def test_three_pairs_that_do_not_tell_say_how_many_would():
    verdict, reason = told(*noisy_runs(0.001, 0.025, 3))["b0"]
    assert (verdict, reason) == (INCONCLUSIVE, "3 pairs tell no change below 3 % from noise; 7 tell one above 2 %")


def test_what_runs_of_one_side_differ_by_is_no_change():
    calm = {f"c{at}": 1.0 for at in range(20)}
    old = [run({**calm, "a": 1.0, "b": seconds}) for seconds in (1.0, 1.1, 1.0)]
    new = [run({**calm, "a": 1.05, "b": 1.0}) for _ in range(3)]
    verdict, reason = told(old, new)["a"]
    assert verdict == INCONCLUSIVE
    assert reason == "3 pairs tell no change below 10 % from noise; 7 tell one above 2 %"


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ({"disable_gc": False}, {"disable_gc": True}, "disable_gc off and on"),
        ({"timer": "perf_counter"}, {"timer": "process_time"}, "timer perf_counter and process_time"),
        ({"warmup": False}, {"warmup": 100_000}, "warmup off and 100000"),
    ],
)
def test_benchmarks_of_other_settings_are_not_compared(old, new, says):
    verdict, reason = told([run({"a": 1.0}, old)], [run({"a": 9.0}, new)])["a"]
    assert (verdict, reason) == (INCONCLUSIVE, f"measured with other settings: {says}; measure both with the same")
    assert told([run({"a": 1.0}, old)], [run({"a": 9.0}, old)])["a"][0] == SLOWER
    assert told([run({"a": 1.0}, old)], [run({"a": 9.0})])["a"][0] == SLOWER, "what is not told is no difference"


def test_settings_are_compared_benchmark_by_benchmark():
    def file(calm: float, options: dict) -> BenchmarkFile:
        both = [{"fullname": "a", "stats": {"median": 1.0}, "options": options},
                {"fullname": "b", "stats": {"median": calm}, "options": {"timer": "time.perf_counter"}}]  # fmt: skip
        return read_benchmarks(json.dumps({"benchmarks": both}))

    found = told([file(1.0, {"timer": "perf_counter"})], [file(2.0, {"timer": "monotonic"})])
    assert {name: verdict for name, (verdict, _) in found.items()} == {"a": INCONCLUSIVE, "b": SLOWER}
    notes = comparison_notes([run({"a": 1.0}, {"min_rounds": 5})], [run({"a": 1.0}, {"min_rounds": 50})])
    assert notes == ["Medians are compared, and not all are equally exact: min_rounds 5 and 50."]


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ({"cpu": {"brand": "Xeon"}}, {"cpu": {"brand": "Ryzen"}}, "different machines: Xeon; Ryzen"),
        ({"cpu": {"brand": "Xeon"}}, {"cpu": {"brand_raw": "Ryzen"}}, "different machines: Xeon; Ryzen"),
        ({"cpu": {"brand_raw": "X", "count": 2}}, {"cpu": {"brand_raw": "X", "count": 8}}, "X, 2 cores; X, 8 cores"),
        ({"processor": "Intel64 Family 6"}, {"processor": "AMD64 Family 25"}, "Intel64 Family 6; AMD64 Family 25"),
        ({"machine": "x86_64"}, {"machine": "aarch64"}, "different architecture: x86_64; aarch64"),
        ({"system": "Linux"}, {"system": "Windows"}, "different operating system: Linux; Windows"),
        ({"python_version": "3.11.2"}, {"python_version": "3.12.0"}, "different Python: 3.11; 3.12"),
        (
            {"python_implementation": "CPython"},
            {"python_implementation": "PyPy"},
            "different Python implementation: CPython; PyPy",
        ),
    ],
)
def test_files_of_other_places_are_not_compared(old, new, says):
    verdict, reason = told([run({"a": 1.0}, info=old)], [run({"a": 9.0}, info=new)])["a"]
    assert verdict == INCONCLUSIVE
    assert says in reason
    assert reason.endswith("; measure both on one")
    assert told([run({"a": 1.0}, info=old)], [run({"a": 9.0}, info=old)])["a"][0] == SLOWER


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ({"cpu": {"brand": "Xeon"}}, {"cpu": {"brand_raw": "Xeon", "count": 2}}),
        ({"python_version": "3.11.2"}, {"python_version": "3.11.9"}),
        ({"cpu": {"brand_raw": "Xeon"}, "processor": "x86_64"}, {"cpu": {"brand_raw": "Xeon"}, "processor": "Xeon"}),
        ({"node": "a", "cpu": None}, {"node": "b", "cpu": ["x"], "system": 7.5, "machine": {}}),
    ],
)
def test_what_does_not_change_times_is_compared(old, new):
    assert told([run({"a": 1.0}, info=old)], [run({"a": 9.0}, info=new)])["a"][0] == SLOWER


def test_hosts_kernels_and_versions_that_differ_are_told():
    old = run({"a": 1.0}, info={"node": "one", "release": "6.1"}, version="3.4.1")
    new = run({"a": 1.0}, info={"node": "two", "release": "6.2"}, version="5.1.0")
    assert comparison_notes([old], [new]) == [
        "The files name different hosts: one, two.",
        "The files name different kernels: 6.1, 6.2.",
        "The files were written by pytest-benchmark 3.4.1, 5.1.0.",
    ]


def test_what_only_some_files_tell_is_compared_with_a_word():
    old = run({"a": 1.0}, {"timer": "perf_counter"}, info={"cpu": {"brand_raw": "Xeon"}, "system": "Linux"})
    new = run({"a": 9.0}, info={"system": "Linux"})
    assert told([old], [new])["a"][0] == SLOWER
    assert comparison_notes([old], [new]) == [
        "Not all files tell their processor: they are compared as if it were the same.",
        "Not all benchmarks tell their timer: they are compared as if it were the same.",
    ]


def test_benchmarks_of_one_name_and_other_parameters_are_not_compared():
    def file(seconds: float, parameters: object) -> BenchmarkFile:
        one = {"fullname": "t.py::a[size0]", "params": parameters, "stats": {"median": seconds}}
        return read_benchmarks(json.dumps({"benchmarks": [one]}))

    verdict, reason = told([file(1.0, {"size": [224, 1]})], [file(9.0, {"size": [1024, 1]})])["t.py::a[size0]"]
    assert verdict == INCONCLUSIVE
    assert "parameter size [224, 1] and [1024, 1]" in reason
    for same in ({"size": [224, 1]}, None, {"size": "<Sizes at 0x7f01>"}):
        again = {"size": "<Sizes at 0x7f99>"} if isinstance(same, dict) and "0x" in str(same) else same
        assert told([file(1.0, same)], [file(9.0, again)])["t.py::a[size0]"][0] == SLOWER


def test_files_that_were_not_given_in_turn_are_not_compared():
    def of(revision: str, seconds: float) -> BenchmarkFile:
        return run({"a": seconds}, commit_info={"id": revision})

    files = [of("1a2b", 1.0), of("1a2b", 1.0), of("1a2b", 1.0), of("3c4d", 9.0), of("3c4d", 9.0), of("3c4d", 9.0)]
    verdict, reason = told(files[::2], files[1::2])["a"]
    assert verdict == INCONCLUSIVE
    assert reason == "old and new files are of the same revision 1a2b, 3c4d; give them in turn: old new old new"
    assert told(files[:3], files[3:])["a"][0] == SLOWER
    assert told(files[:1], files[1:2])["a"][0] == SAME, "a revision against itself"


@pytest.mark.parametrize("median", ["0", "0.0", "NaN", "-1", "null", "true", '"1"', "1e300", "[1]"])
@pytest.mark.parametrize("side", ["old", "new"])
def test_a_benchmark_without_a_time_is_set_aside_and_the_rest_is_compared(median, side):
    broken = read_benchmarks(written({"a": 1.0, "b": 1.0}).replace('"median": 1.0', f'"median": {median}', 1))
    whole = file(a=1.0, b=1.5)
    found = told(*(([broken], [whole]) if side == "old" else ([whole], [broken])))
    verdict, reason = found["a"]
    assert verdict == INCONCLUSIVE
    assert reason.startswith(f"it is set aside: in the {side} file its median is ")
    assert found["b"][0] == (SLOWER if side == "old" else FASTER)
    (note,) = comparison_notes(*(([broken], [whole]) if side == "old" else ([whole], [broken])))
    assert note.startswith("1 benchmark set aside, the others are compared: a (")


def test_a_name_that_stands_twice_is_set_aside():
    twice = read_benchmarks(written({"a": 1.0, "b": 1.0}).replace("}]}", '}, {"name": "a", "stats": {"median": 1}}]}'))
    found = told([twice], [file(a=1.0, b=1.0)])
    assert found["a"] == (INCONCLUSIVE, "it is set aside: in the old file it stands twice")
    assert found["b"][0] == SAME


def test_a_changed_root_folder_is_matched_by_the_end_of_the_name():
    old = {
        "tests/bench_a.py::test_x": 1.0,
        "tests/bench_a.py::test_y[a/b::c]": 1.0,
        "tests/sub/bench_a.py::test_x": 1.0,
    }
    new = {f"repo/{name}": 1.5 * seconds for name, seconds in old.items()}
    found = told([run(old)], [run(new)])
    assert {name: verdict for name, (verdict, _) in found.items()} == dict.fromkeys(old, SLOWER)
    (note,) = comparison_notes([run(old)], [run(new)])
    assert note == (
        "3 benchmarks were matched by the end of the name: repo/tests/bench_a.py::test_x is tests/bench_a.py::test_x, "
        "repo/tests/bench_a.py::test_y[a/b::c] is tests/bench_a.py::test_y[a/b::c], "
        "repo/tests/sub/bench_a.py::test_x is tests/sub/bench_a.py::test_x."
    )
    assert told([run(new)], [run(old)]).keys() == new.keys()


def test_names_whose_end_is_not_clear_are_inconclusive_and_not_gone():
    found = told(
        [run({"a/t.py::x": 1.0, "same.py::y": 1.0})], [run({"b/t.py::x": 1.0, "c/t.py::x": 1.0, "same.py::y": 1.0})]
    )
    verdict, reason = found["a/t.py::x"]
    assert verdict == INCONCLUSIVE
    assert reason.endswith("which one it is cannot be told: b/t.py::x, c/t.py::x")
    assert (found["b/t.py::x"][0], found["same.py::y"][0]) == (NEW, SAME)


def test_every_file_of_several_pairs_may_lie_elsewhere():
    old = [run({f"{root}/t.py::x": seconds}) for root, seconds in (("a", 1.0), ("b", 1.001), ("c", 1.0))]
    new = [run({f"{root}/t.py::x": seconds}) for root, seconds in (("d", 1.051), ("a", 1.05), ("e/f", 1.05))]
    assert {name: verdict for name, (verdict, _) in told(old, new).items()} == {"a/t.py::x": SLOWER}


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
