"""Names of the kernels and back ends that ran, to be stored beside a result."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

BackendNames = dict[str, list[str]]  # operation → names of the kernels or back ends that computed it, each once

_recordings: list[BackendNames] = []


def note(operation: str, name: str) -> None:
    """Add the name of a kernel or back end to every open recording.

    Args:
        operation: ``attention``, ``logsumexp``, ``left`` or ``left_of_maps``.
        name: The kernel or back end that computes it.

    """
    for recording in _recordings:
        names = recording.setdefault(operation, [])
        if name not in names:
            names.append(name)


@contextmanager
def record_backends() -> Iterator[BackendNames]:
    """Record the kernels and back ends that run inside.

    with record_backends() as names:
        model(images)
    names  # {"attention": ["flash"], "left": ["triton"]}

    Returns:
        A context with names by operation; it grows while code runs inside.

    """
    recording: BackendNames = {}
    _recordings.append(recording)
    try:
        yield recording
    finally:
        _recordings[:] = [other for other in _recordings if other is not recording]  # not ==: equal ones stay open
