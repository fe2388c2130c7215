"""Run a Python module or file as a command line would, and print its peak resident bytes on the last line of stderr.

``ru_maxrss`` will not do: it begins at what the parent held when it forked, and the parent of a benchmark is large.
"""

from __future__ import annotations

import atexit
import os
import runpy
import sys
from pathlib import Path


def show_peak() -> None:
    lines = Path("/proc/self/status").read_text().splitlines()
    kilobytes = next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))
    os.write(2, f"\n{kilobytes * 1024}\n".encode())


atexit.register(show_peak)
kind, target = sys.argv[1:3]
sys.argv = [target, *sys.argv[3:]]
if kind == "-m":
    runpy.run_module(target, run_name="__main__", alter_sys=True)
elif kind == "-c":
    exec(target)
else:
    runpy.run_path(target, run_name="__main__")
