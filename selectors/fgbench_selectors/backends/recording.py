"""Which kernels and back ends were chosen, for whoever wants to name them beside a result."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

Chosen = dict[str, list[str]]  # what was asked for → the names that answered, each once

_listening: list[Chosen] = []


def note(what: str, name: str) -> None:
    """Tell those who record that ``name`` answers ``what``."""
    for chosen in _listening:
        names = chosen.setdefault(what, [])
        if name not in names:
            names.append(name)


@contextmanager
def record_backends() -> Iterator[Chosen]:
    """Names of the kernels and back ends that run inside, by what they answer.

    with record_backends() as chosen:
        model(images)
    chosen  # {"attention": ["flash"], "left": ["triton"]}
    """
    chosen: Chosen = {}
    _listening.append(chosen)
    try:
        yield chosen
    finally:
        _listening[:] = [one for one in _listening if one is not chosen]  # equal ones belong to others
