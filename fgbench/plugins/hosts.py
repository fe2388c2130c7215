"""The processes that fork workers for foreign code: by what their workers do, and what they have loaded."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager

from fgbench.workers.supervisor import WorkerPool

HostFor = Callable[[str, Sequence[str]], WorkerPool]


class _Open:
    """The processes of the outermost context; None outside of all."""

    host_for: HostFor | None = None


@contextmanager
def hosts() -> Iterator[HostFor]:
    """Inside, processes are started when they are asked for, and shared; they end with the outermost context."""
    if _Open.host_for is not None:
        yield _Open.host_for
        return
    started: dict[tuple[str, tuple[str, ...]], WorkerPool] = {}
    with ExitStack() as stack:

        def host_for(serving: str, loading: Sequence[str]) -> WorkerPool:
            key = serving, tuple(loading)
            if key not in started:
                started[key] = stack.enter_context(WorkerPool(*key))
            return started[key]

        _Open.host_for = host_for
        try:
            yield host_for
        finally:
            _Open.host_for = None
