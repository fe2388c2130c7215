"""Start a sweep, kill it with SIGKILL at a random moment, start it again – many times, as a program of its own.

The process that loads torch is forked from this one, which has it loaded: what is killed and measured is real, and a
start takes a tenth of a second instead of seven. Prints what it saw as JSON.
"""

from __future__ import annotations

import importlib
import json
import os
import random
import signal
import socket
import sys
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from helpers.sweeping import request

from fgbench.results.store import Store
from fgbench.sweep.context import open_sweep
from fgbench.sweep.sweep import KIND, Sweep
from fgbench.workers.forking import main as fork_workers
from fgbench.workers.pool import SWEEP, WorkerPool

POINT = b"p"
FEWEST = 3  # points that are stored in the end
AWAITED = (0, 0, 1, 0, 1, 0, 1, 0)  # points that are kept before a process is killed, in turn

told = dict(os.environ)
importlib.import_module("fgbench.sweep.worker")  # loads torch, once – and torch sets variables of its own
os.environ.clear()
os.environ.update(told)


class ForkedProcess:
    """As much of ``subprocess.Popen`` as a pool wants of its process."""

    def __init__(self, pid: int) -> None:
        self.pid = pid

    def poll(self) -> int | None:
        return os.waitpid(self.pid, os.WNOHANG)[0] or None

    def terminate(self) -> None:
        os.kill(self.pid, signal.SIGTERM)

    def wait(self, timeout: float) -> None:
        os.waitpid(self.pid, 0)


class ForkedPool(WorkerPool):
    """A pool whose process has nothing left to import."""

    def _start_process(self, control: socket.socket, log) -> ForkedProcess:
        parent = os.getpid()
        pid = os.fork()
        if pid == 0:
            self._control.close()
            os.setsid()
            fork_workers(control.detach(), parent, SWEEP, "")
            os._exit(0)
        return ForkedProcess(pid)


def sweep(store: Path, batches: list[int], told: int) -> None:
    """The process that is killed; it writes a byte when it begins to measure, and one for every point that is kept."""

    def tell(event) -> None:
        os.write(told, b"." if event.row is None else POINT)

    with Store(store) as kept, ForkedPool() as pool:
        asked = request(models=["vit", "glsim"], image_sizes=[32, 64], batch_sizes=batches)
        context = open_sweep(asked, pool, lambda _: None)
        Sweep(context=context, store=kept, pool=pool, tell=tell).run()


def stored(path: Path) -> Counter[str]:
    """Rows in the store by what they are of."""
    if not path.exists():
        return Counter()
    with Store(path) as store:
        return Counter(f"{row['model']} {row['image_size']} {row['batch_size']}" for row in store.rows(KIND))


def main(store: Path, kills: int, batches: list[int]) -> dict[str, int]:
    generator, seen = random.Random(5), set[str]()
    report = {"kills": 0, "while_measuring": 0, "lost": 0, "twice": 0, "finished": 0}
    point_s = 0.3  # about what a point takes, as this machine is now
    points = 4 * len(batches)  # two models, two sizes
    while report["kills"] < kills or len(seen) < FEWEST:
        if len(seen) > points // 2:  # a fast machine begins anew, before nothing is left to be measured
            for file in store.parent.glob(f"{store.name}*"):
                file.unlink()
            seen = set()
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(reading)
            sweep(store, batches, writing)
            os._exit(0)
        os.close(writing)
        if report["kills"] % 5:  # most while they measure, some while they start
            report["while_measuring"] += bool(os.read(reading, 1))
            for _ in range(AWAITED[report["kills"] % len(AWAITED)]):
                began = time.monotonic()
                while os.read(reading, 1) not in (POINT, b""):
                    pass
                point_s = time.monotonic() - began
            time.sleep(generator.uniform(0, point_s))
        else:
            time.sleep(generator.uniform(0, point_s))
        os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        report["kills"] += 1
        report["finished"] += os.waitstatus_to_exitcode(status) == 0
        os.close(reading)
        kept = stored(store)
        report["lost"] += len(seen - set(kept))
        report["twice"] += sum(count > 1 for count in kept.values())
        seen = set(kept)
    return {**report, "stored": len(seen)}


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]), int(sys.argv[2]), [int(word) for word in sys.argv[3:]])))
