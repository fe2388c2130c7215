"""Memory of this process: its peak, what is left for it, and a limit that turns too much into an error."""

from __future__ import annotations

import contextlib
import resource
from pathlib import Path

import psutil

# Of version 2 and version 1: the limit, what is used, and how much of that is cache which the kernel gives back.
CONTROL_GROUPS = (
    ("memory.max", "memory.current", "memory.stat", "inactive_file"),
    (
        "memory/memory.limit_in_bytes",
        "memory/memory.usage_in_bytes",
        "memory/memory.stat",
        "total_inactive_file",
    ),
)


def peak_resident_bytes(proc: Path = Path("/proc")) -> int | None:
    """The peak resident set of this process since :func:`forget_peak`; None where the system does not tell.

    ``ru_maxrss`` is no substitute: it begins with what the parent held.
    """
    peak_kb = _entry(proc / "self" / "status", "VmHWM:")
    return None if peak_kb is None else peak_kb * 1024


def forget_peak(proc: Path = Path("/proc")) -> bool:
    """Let the peak begin again at what is resident now. False where the system does not let it."""
    try:
        (proc / "self" / "clear_refs").write_text("5", encoding="ascii")
    except OSError:
        return False
    return True


def available_bytes(cgroup: Path = Path("/sys/fs/cgroup")) -> int | None:
    """Memory that could still be taken without swapping, a control group's limit included; None where unknown."""
    available: list[int] = []
    with contextlib.suppress(OSError, psutil.Error):
        available.append(int(psutil.virtual_memory().available))
    for limit, used, statistics, cache in CONTROL_GROUPS:
        with contextlib.suppress(OSError, ValueError):  # "max" is no number, and no limit
            most, now = (int((cgroup / name).read_text(encoding="ascii")) for name in (limit, used))
            available.append(max(0, most - now + (_entry(cgroup / statistics, cache) or 0)))
    return min(available, default=None)


def settle_allocator() -> None:
    """Bring glibc's allocator to the state that it has in a long-running process.

    It learns from what is freed how much memory to keep for the next time. Until it has freed a large block it gives
    activations back to the system after every pass and takes the page faults again: a ViT-B/16 is 10 % slower then,
    or not, depending on what happened to be freed while it was built. 32 MiB is the most that it learns from.
    """
    block = bytearray(31 * 2**20)
    del block


def limit_memory(extra_bytes: int) -> None:
    """Refuse this process allocations beyond what it has now and so much more.

    An allocation that fails is an exception here; memory that runs out altogether is a process killed at random.

    Args:
        extra_bytes: Bytes that it may still take.

    """
    data_kb = _entry(Path("/proc/self/status"), "VmData:")  # what RLIMIT_DATA limits, without the stack
    if data_kb is None:
        return
    most = data_kb * 1024 + extra_bytes
    with contextlib.suppress(OSError, ValueError):
        _, hard = resource.getrlimit(resource.RLIMIT_DATA)
        resource.setrlimit(resource.RLIMIT_DATA, (most if hard == resource.RLIM_INFINITY else min(most, hard), hard))


def _entry(path: Path, name: str) -> int | None:
    """A figure from a file of names and figures; None where it is not there."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        for line in path.read_text(encoding="utf-8").splitlines():
            words = line.split()
            if words[:1] == [name]:
                return int(words[1])
    return None
