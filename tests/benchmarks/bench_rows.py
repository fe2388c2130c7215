"""Time of ten thousand rows and of drawn images, relative to the necessary work, measured alternately."""

from __future__ import annotations

import io
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable

import pandas as pd
from helpers.throughput_rows import GPU, row
from PIL import Image

from fgbench.cli.saved import read_data
from fgbench.datasets.synthetic.dataset import synthetic
from fgbench.results.store import Store
from fgbench_reports.choose.configurations import configurations
from fgbench_reports.data import Data
from fgbench_reports.tables import render

ROWS = [
    {**row(f"m{number % 40}", batch=1 + number, img_s=1.0 + number), "blocks": [0.01 * block for block in range(30)]}
    for number in range(10_000)
]


def in_turns(benchmark, run: Callable[[], object], beside: Callable[[], object], most: float, rounds: int = 5) -> None:
    """``run`` takes at most so many times as long as what runs beside it: the median over rounds."""

    def seconds(call: Callable[[], object]) -> float:
        start = time.process_time()
        call()
        return time.process_time() - start

    seconds(run), seconds(beside)
    ratios: list[float] = []
    benchmark.pedantic(lambda: ratios.append(seconds(run) / seconds(beside)), rounds=rounds)
    ratio = statistics.median(ratios)
    benchmark.extra_info.update(times_what_runs_beside=ratio, target=most)
    assert ratio <= most


def test_rows_are_read_beside_json_alone(benchmark, tmp_path):
    """From a store and a file that hold the same rows."""
    text = render.to_json(ROWS)
    path = tmp_path / "rows.json"
    path.write_text(text)
    with Store(tmp_path / "s.db") as store:
        kept = ({name: value for name, value in each.items() if name != "environment"} for each in ROWS)
        store.keep("throughput", {str(number): each for number, each in enumerate(kept)}, GPU)
    in_turns(benchmark, lambda: read_data(tmp_path / "s.db", [path], print), lambda: json.loads(text), most=30)


def test_rows_become_configurations_beside_a_data_frame(benchmark):
    data = Data(throughput=ROWS)
    in_turns(benchmark, lambda: configurations(data, best_only=False), lambda: pd.DataFrame(ROWS), most=10)


def test_an_image_is_drawn_beside_a_photograph_that_is_decoded(benchmark):
    """Of the same size, as a JPEG."""
    split = synthetic().train
    encoded = io.BytesIO()
    split.open(0).save(encoded, "JPEG", quality=95)
    places = iter(range(1, len(split)))

    def decode() -> None:
        Image.open(io.BytesIO(encoded.getvalue())).convert("RGB").load()

    in_turns(
        benchmark, lambda: [split.open(next(places)) for _ in range(20)], lambda: [decode() for _ in range(20)], most=25
    )


def test_a_report_beside_the_imports_of_what_draws_it(benchmark, tmp_path):
    (tmp_path / "rows.json").write_text(render.to_json(ROWS))

    def process(code: str) -> None:
        subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True, capture_output=True)

    report = "from fgbench.cli import app; app(['report', '--rows', 'rows.json', '--output', 'out'])"
    ratios = []

    def both() -> None:
        start = time.perf_counter()
        process(report)
        middle = time.perf_counter()
        process("import pandas, matplotlib.figure")
        ratios.append((middle - start) / (time.perf_counter() - middle))

    benchmark.pedantic(both, rounds=3)
    benchmark.extra_info.update(times_the_imports_seconds=statistics.median(ratios), target=10)
    assert statistics.median(ratios) <= 10
