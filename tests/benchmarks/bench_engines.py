"""fgbench's latency of an engine against the engine's own tool, or a loop without fgbench. Real models on the CPU."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from statistics import median

import pytest
from helpers.sweeping import sweep

from fgbench.deploy.onnx_export import export_onnx
from fgbench.deploy.pictures import drawn_pictures
from fgbench.measure.points import ModelSpec
from fgbench.measure.subjects.model import build
from fgbench.workers.pool import WorkerPool

THREADS, ROUNDS, SIZE, WITHIN = 2, 5, 224, 0.03
MODEL = {"models": ["vit"], "backbones": None, "image_sizes": [SIZE], "threads": THREADS, "cap_s": None}


@pytest.fixture(scope="module")
def pool():
    with WorkerPool() as pool:
        pool.start()
        yield pool


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    spec = ModelSpec(model="vit", backbone="", selector=None, impl=None, image_size=SIZE, num_classes=200)
    path = tmp_path_factory.mktemp("exported") / "vit.onnx"
    export_onnx(build(spec).eval(), drawn_pictures(2, SIZE, SIZE), path)
    return path


def ours(pool, store: Path, engine: str, batch_size: int) -> float:
    (row,) = sweep(pool, store, **MODEL, batch_sizes=[batch_size], engines=[engine], again=True).rows
    return row.latency_s


def compare(benchmark, own_tool, measured) -> None:
    """Within 3 %, as the median of triples that follow each other: the machine changes more than that."""
    ratios: list[float] = []

    def triple() -> None:
        before = own_tool()
        latency_s = measured()
        ratios.append(latency_s / ((before + own_tool()) / 2))

    benchmark.pedantic(triple, rounds=ROUNDS, iterations=1)
    benchmark.extra_info |= {"smallest": min(ratios), "largest": max(ratios), "within": WITHIN}
    benchmark.extra_info["fgbench_over_own_tool"] = median(ratios)
    assert median(ratios) == pytest.approx(1, abs=WITHIN)


@pytest.mark.parametrize("batch_size", [1, 8])
def test_onnxruntime_is_as_fast_as_in_a_bare_loop(benchmark, pool, exported, tmp_path, batch_size):
    words = [sys.executable, str(Path(__file__).with_name("bare_engine.py")), str(exported)]
    words += map(str, (SIZE, batch_size, THREADS))
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as bare:
        assert bare.stdout.readline() == "ready\n"

        def bare_s() -> float:
            bare.stdin.write("\n")
            bare.stdin.flush()
            return float(bare.stdout.readline())

        compare(benchmark, bare_s, lambda: ours(pool, tmp_path / "s.db", "onnxruntime", batch_size))
        bare.stdin.close()


@pytest.mark.parametrize("batch_size", [1, 8])
def test_openvino_is_as_fast_as_in_its_benchmark_app(benchmark, pool, exported, tmp_path, batch_size):
    words = [str(Path(sys.executable).with_name("benchmark_app")), "-m", str(exported), "-d", "CPU", "-api", "sync"]
    words += ["-hint", "none", "-nstreams", "1", "-nthreads", str(THREADS), "-infer_precision", "f32", "-t", "4"]
    words += ["-shape", f"images[{batch_size},3,{SIZE},{SIZE}]"]

    def tool_s() -> float:
        said = subprocess.run(words, capture_output=True, text=True, check=True, timeout=300).stdout
        return float(re.search(r"Median:\s+([\d.]+) ms", said)[1]) / 1000

    compare(benchmark, tool_s, lambda: ours(pool, tmp_path / "s.db", "openvino", batch_size))
