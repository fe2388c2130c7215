"""Print the bytes that one selection adds to this process at its peak. Linux: reads and resets VmHWM."""

from __future__ import annotations

import sys
from pathlib import Path

import torch

from fgbench_selectors import QK, Features, get
from fgbench_selectors.backends.fused import attend


def resident(field: str) -> int:
    """``VmRSS`` (now) or ``VmHWM`` (peak) in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(field))


name, impl = sys.argv[1:3]
blocks, heads, tokens, head_dim, threads = map(int, sys.argv[3:])
torch.set_num_threads(threads)


def features(size: int) -> Features:
    """Queries and keys of every block; PSM does not read the last one, so it gets one more."""
    drawn = [[torch.randn(1, heads, size, head_dim) for _ in range(2)] for _ in range(blocks)]
    recorded = [QK(q, k, lse=attend(q, k, k, head_dim**-0.5)[1]) for q, k in drawn]
    return Features(attention=[*recorded, None] if name == "psm" else recorded)


selector = get(name, impl=impl)
selector(features(17))  # what the libraries take for themselves is not the selection's
measured = features(tokens)
before = resident("VmRSS")
Path("/proc/self/clear_refs").write_text("5")  # the peak begins here
selector(measured)
print(resident("VmHWM") - before)
