"""Hand units of work to places, and outlive whatever happens to them. It knows neither Ray nor what the work is.

One thread does all of it, so that the store is written by one hand, and the order in which news comes is the order in
which it is kept.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, Protocol

from fgbench.errors import CannotMeasureError
from fgbench.workers.messages import Message
from fgbench.workers.pool import WorkerFailed, failure_of

TRIES = 3  # of one unit: the first one, and two more on other places
FAILURES = 2  # of one place, one after the other, for which it is to blame: then it is given up
LOOK_S = 1.0  # between looks at units that another process has claimed
RENEW_S = 20.0  # between renewals of claims


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Unit:
    """Work for one place at a time: a group of points, or a training run."""

    do: str  # the request of the host
    fields: Mapping[str, Any]
    label: str
    about: Any = None  # for the source


class Source(Protocol):
    """Units of work, and what becomes of them."""

    def next(self) -> Unit | None:
        """The next unit that can begin now; None where there is none."""

    @property
    def left(self) -> int:
        """How many units can still be given out, those that wait for others among them."""

    def told(self, unit: Unit, place: str, now: Message) -> None:
        """A unit under way says something: a finished row, a step."""

    def done(self, unit: Unit, place: str, answer: Message) -> None:
        """A unit is finished."""

    def failed(self, unit: Unit, failure: WorkerFailed) -> bool:
        """A unit has failed. True where its place is to blame."""

    def lost(self, unit: Unit, why: str) -> None:
        """A unit is lost with its place; it may be given out again."""

    def renew(self, units: Iterable[Unit]) -> None:
        """Hold on to units under way."""


class Places(Protocol):
    """Where units can be done, each one at a time."""

    def idle(self) -> Sequence[str]:
        """Places that can begin a unit now."""

    def kind(self, place: str) -> str:
        """The kind of a place: units of one source run on places of one kind."""

    def start(self, place: str, do: str, fields: Mapping[str, Any]) -> None:
        """Begin a unit."""

    def news(self, timeout_s: float) -> Iterable[tuple[str, Message]]:
        """Wait until a place says something: ``now``, ``done``, ``failed``, or ``lost``, after which it is gone."""

    def give_up(self, place: str) -> None:
        """Begin nothing more on a place."""

    def alive(self) -> set[str]:
        """Kinds of places that are there, or may still come."""


def dispatch(
    places: Places,
    sources: Mapping[str, Source],
    tell: Callable[[int, int], None] = lambda *_: None,
    together: Callable[[], AbstractContextManager[None]] = nullcontext,
) -> None:
    """Have every unit of every source done on the places of its kind.

    Args:
        places: The places.
        sources: By kind.
        tell: Receives how many units are under way, and how many are left, whenever that changes.
        together: What news of one moment are kept in: a transaction of the store.

    Raises:
        CannotMeasureError: Units are left, and no place of their kind is.

    """
    under_way: dict[str, tuple[Source, Unit]] = {}
    failures = Failures(places)
    renewed = time.monotonic()
    news: list[tuple[str, Message]] = []
    while True:
        with together():
            for place, message in news:
                if place in under_way and _hear(*under_way[place], place, message, failures):
                    del under_way[place]
            if time.monotonic() - renewed > RENEW_S:
                renewed = time.monotonic()
                for source in sources.values():
                    source.renew([unit for mine, unit in under_way.values() if mine is source])
            begun = _begin(places, sources, under_way)
        left = {kind: source.left for kind, source in sources.items() if source.left}
        if begun:
            tell(len(under_way), sum(left.values()))
        if not under_way:
            if not left:
                return
            if gone := [kind for kind in left if kind not in places.alive()]:
                count = sum(left[kind] for kind in gone)
                what = "it" if count == 1 else f"the {count} that are open"
                raise CannotMeasureError(
                    f"no node is left that could do {what}{failures.last}",
                    do="what is finished is kept; start again when nodes are there, and it goes on",
                )
        news = list(places.news(LOOK_S))


def _begin(places: Places, sources: Mapping[str, Source], under_way: dict[str, tuple[Source, Unit]]) -> int:
    """Begin a unit on every idle place; how many began."""
    begun = 0
    for place in places.idle():
        source = sources.get(places.kind(place))
        unit = None if source is None else source.next()
        if source is not None and unit is not None:
            under_way[place] = source, unit
            places.start(place, unit.do, unit.fields)
            begun += 1
    return begun


class Failures:
    """Failures of places, one after the other."""

    def __init__(self, places: Places) -> None:
        self._places = places
        self._count: Counter[str] = Counter()
        self.last = ""  # in words, for who hears that no place is left

    def blame(self, place: str, why: str) -> None:
        """Note a failure, and give the place up after some."""
        self._count[place] += 1
        self.last = f"; the last one, {place}: {why}"
        if self._count[place] >= FAILURES:
            self._places.give_up(place)

    def clear(self, place: str) -> None:
        """A unit is done there."""
        self._count.pop(place, None)


def _hear(source: Source, unit: Unit, place: str, message: Message, failures: Failures) -> bool:
    """Pass on what a place says; True where its unit has ended."""
    if isinstance(message.get("now"), dict):
        source.told(unit, place, message["now"])
        return False
    if "lost" in message:
        source.lost(unit, str(message["lost"]))
        failures.last = f"; {message['lost']}"
    elif isinstance(message.get("done"), dict):
        source.done(unit, place, message["done"])
        failures.clear(place)
    else:
        failure = failure_of(message)
        if source.failed(unit, failure):
            failures.blame(place, failure.reason)
    return True
