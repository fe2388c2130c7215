"""Time of commands that need no torch, alternating with ``import timm, fvcore.nn`` in a separate process.

An answer takes at most a second, or 0.15 of that import where it takes longer: a machine that needs ten seconds for the
import is as much slower at everything else.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROUNDS = 5
IMPORTS = [sys.executable, "-W", "ignore", "-c", "import timm, fvcore.nn"]
BASELINE = Path(__file__).parents[2] / "reports" / "baseline.json"
ANSWERS = {
    "help": (["--help"], 0),
    "flops-help": (["flops", "--help"], 0),
    "throughput-unknown-model": (["throughput", "--model", "glism"], 2),
    "accuracy-unknown-model": (["accuracy", "--model", "glism"], 2),
    "flops-unknown-model": (["flops", "--models", "glism"], 2),
    "flops-unknown-backbone": (["flops", "--backbones", "vit_bse_patch16_224"], 2),
    "list-models": (["list", "models"], 0),
    "list-backbones": (["list", "backbones"], 0),
    "flops-paper": (["flops", "--convention", "paper"], 0),
    "second-flops": (["flops", "--sizes", "224", "448", "768", "1024"], 0),
    "second-regress": (["regress", "--baseline", str(BASELINE)], 0),
}


def seconds(command: list[str], code: int, folder: Path) -> float:
    start = time.perf_counter()
    done = subprocess.run(command, cwd=folder, capture_output=True, check=False)
    taken = time.perf_counter() - start
    assert done.returncode == code, done.stderr
    return taken


@pytest.mark.parametrize("answer", ANSWERS)
def test_an_answer(answer, benchmark, tmp_path, monkeypatch):
    monkeypatch.setenv("FGBENCH_CACHE", str(tmp_path / "cache"))
    words, code = ANSWERS[answer]
    command = [sys.executable, "-m", "fgbench", *words]
    seconds(command, code, tmp_path), seconds(IMPORTS, 0, tmp_path)  # the file cache, and the first time
    taken, imports = [], []
    benchmark.pedantic(
        lambda: taken.append(seconds(command, code, tmp_path)),
        setup=lambda: imports.append(seconds(IMPORTS, 0, tmp_path)),
        rounds=ROUNDS,
    )
    answered, imported = statistics.median(taken), statistics.median(imports)
    most = max(1.0, 0.15 * imported)
    benchmark.extra_info.update(answer_s=answered, import_s=imported, target_s=most)
    assert answered <= most
