"""Print what the benchmarks compared: a line per figure of a pytest-benchmark JSON file."""

from __future__ import annotations

import json
import sys
from pathlib import Path

for bench in json.loads(Path(sys.argv[1]).read_text())["benchmarks"]:
    figures = {"median_s": bench["stats"]["median"], **bench["extra_info"]}
    print(bench["name"], " ".join(f"{name}={value:.4g}" for name, value in figures.items()))
