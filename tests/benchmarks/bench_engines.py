"""fgbench's latency of an engine against the engine's own tool, or a loop without fgbench. Real models on the CPU."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from statistics import median

import pytest

from fgbench.measure.engine_registry import describe_engine, open_engine
from fgbench.measure.engines.onnx_engine import FILE
from fgbench.measure.point import LoadedSubject
from fgbench.measure.points import ModelSpec, RunMode
from fgbench.measure.subjects.model import ModelSubject

THREADS, ROUNDS, SIZE, WITHIN = 2, 7, 224, 0.03
TIMED_S = 4.0  # by each of the two
SPEC = ModelSpec(model="vit", backbone="", selector=None, impl=None, image_size=SIZE, num_classes=200)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("exported")


def measured(name: str, batch_size: int, folder: Path) -> Callable[[], float]:
    """What fgbench measures: seconds of a batch, as often as it is called."""
    described = describe_engine(name, "cpu", [RunMode(threads=THREADS)])
    engine, subject = open_engine(RunMode(**described["modes"][0]["mode"])), ModelSubject(SPEC)
    engine.folder = folder
    engine.export(subject, folder)
    loaded = LoadedSubject(subject, engine, TIMED_S, count=False)
    return lambda: loaded.measure(batch_size)["latency_s"]


def compare(benchmark, own_tool: Callable[[], float], ours: Callable[[], float]) -> None:
    """Within 3 %, as the median of triples that follow each other: the machine changes more than that."""
    ratios: list[float] = []

    def triple() -> None:
        before = own_tool()
        latency_s = ours()
        ratios.append(latency_s / ((before + own_tool()) / 2))

    benchmark.pedantic(triple, rounds=ROUNDS, iterations=1)
    benchmark.extra_info |= {"smallest": min(ratios), "largest": max(ratios), "within": WITHIN}
    benchmark.extra_info["fgbench_over_own_tool"] = median(ratios)
    assert median(ratios) == pytest.approx(1, abs=WITHIN)


@pytest.mark.parametrize("batch_size", [1, 8])
def test_onnxruntime_is_as_fast_as_in_a_bare_loop(benchmark, folder, batch_size):
    ours = measured("onnxruntime", batch_size, folder)
    words = [sys.executable, str(Path(__file__).with_name("bare_engine.py")), str(folder / FILE)]
    words += map(str, (SIZE, batch_size, THREADS, TIMED_S))
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as bare:
        assert bare.stdout.readline() == "ready\n"

        def bare_s() -> float:
            bare.stdin.write("\n")
            bare.stdin.flush()
            return float(bare.stdout.readline())

        compare(benchmark, bare_s, ours)
        bare.stdin.close()


@pytest.mark.parametrize("batch_size", [1, 8])
def test_openvino_is_as_fast_as_in_its_benchmark_app(benchmark, folder, batch_size):
    ours = measured("openvino", batch_size, folder)
    words = [
        str(Path(sys.executable).with_name("benchmark_app")),
        "-m",
        str(folder / FILE),
        "-d",
        "CPU",
        "-api",
        "sync",
    ]
    words += ["-hint", "none", "-nstreams", "1", "-nthreads", str(THREADS), "-infer_precision", "f32"]
    words += ["-t", f"{TIMED_S:g}", "-shape", f"images[{batch_size},3,{SIZE},{SIZE}]"]

    def tool_s() -> float:
        said = subprocess.run(words, capture_output=True, text=True, check=True, timeout=300).stdout
        return float(re.search(r"Median:\s+([\d.]+) ms", said)[1]) / 1000

    compare(benchmark, tool_s, ours)
