"""Times an exported file in ONNX Runtime by a loop of its own: a median per line of standard input."""

from __future__ import annotations

import statistics
import sys
import time

import numpy as np
import onnxruntime

path, size, batch, threads = sys.argv[1], *map(int, sys.argv[2:5])
timed_s = float(sys.argv[5])
options = onnxruntime.SessionOptions()
options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
images = np.random.default_rng(0).normal(size=(batch, 3, size, size)).astype(np.float32)
for _ in range(3):
    session.run(["logits"], {"images": images})
print("ready", flush=True)
for _ in sys.stdin:
    times: list[float] = []
    while sum(times) < timed_s:
        start = time.perf_counter()
        session.run(["logits"], {"images": images})
        times.append(time.perf_counter() - start)
    print(statistics.median(times), flush=True)
