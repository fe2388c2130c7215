"""Load from others, by the time that our threads were ready to run and did not."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import psutil

TOLERATED = 0.05  # of the time; a quiet machine stays under one percent


class Interference:
    """Watches this process's threads between :meth:`start` and :meth:`share`, through Linux's scheduler statistics.

    Args:
        threads: That compute.
        proc: Where the system tells of its processes.
        now: The time in seconds.

    """

    def __init__(self, threads: int, proc: Path = Path("/proc"), now: Callable[[], float] = time.monotonic) -> None:
        self.threads, self.proc, self.now = threads, proc, now
        self.start()

    def start(self) -> None:
        """Begin to watch."""
        self._since, self._waited, self._stolen = self.now(), self._waited_s(), self._stolen_s()

    def share(self) -> float | None:
        """The share of our threads' time that others took since the start; None where the system does not tell.

        Waiting for a core is read per thread, and time that a hypervisor gave to other machines from the system's own
        account; on a machine with fewer cores than our threads, they take from each other.
        """
        waited, stolen = self._waited_s(), self._stolen_s()
        elapsed = self.now() - self._since
        if waited is None or self._waited is None or elapsed <= 0:
            return None
        lost = max(0.0, waited - self._waited) / self.threads
        if stolen is not None and self._stolen is not None:
            lost += max(0.0, stolen - self._stolen) / (psutil.cpu_count() or 1)
        return min(1.0, lost / elapsed)

    def _waited_s(self) -> float | None:
        """Seconds that the threads of this process have waited for a core."""
        total = 0
        try:
            for task in (self.proc / "self" / "task").iterdir():
                try:
                    total += int((task / "schedstat").read_text(encoding="ascii").split()[1])
                except FileNotFoundError:  # a thread that has just ended – or a kernel without the file
                    if not (self.proc / "self" / "schedstat").exists():
                        return None
        except (OSError, ValueError, IndexError):
            return None
        return total / 1e9

    def _stolen_s(self) -> float | None:
        """Seconds that a hypervisor took from all cores together."""
        try:
            return float(psutil.cpu_times().steal)
        except (OSError, ValueError, IndexError, AttributeError):  # AttributeError: another system than Linux
            return None
