"""The store, as several processes share it: the main one reads and writes, all of them know what it read."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Any

from accelerate import PartialState
from accelerate.utils import broadcast_object_list

from fgbench.results.store import Store

# Kinds of rows: runs, their learning curves, learning rates that were tried, classes of a run, judged selectors.
RUNS, EPOCHS, SEARCHED, CLASSES, QUALITY = (
    "accuracy",
    "accuracy_epoch",
    "accuracy_search",
    "accuracy_classes",
    "selection_quality",
)


class SharedStore:
    """What was trained and tested so far. Every process calls every method, in the same order.

    ``store`` is None in all processes but the main one.
    """

    def __init__(self, store: Store | None, environment: Mapping[str, Any], *, again: bool = False) -> None:
        self._store, self._environment, self._again = store, environment, again

    def get(self, kind: str, key: str) -> dict[str, Any] | None:
        """A row of an earlier run, or None; None too where everything is asked for again."""
        if self._again:
            return None
        found: dict[str, Any] | None = _from_main(self._store.get(kind, key) if self._store else None)
        return found

    def get_alone(self, kind: str, key: str) -> dict[str, Any] | None:
        """The same for the main process by itself; the others do not call it."""
        return None if self._again or self._store is None else self._store.get(kind, key)

    def add(self, kind: str, key: str, row: Mapping[str, Any]) -> dict[str, Any]:
        """Keep a row beside what it was measured on, and return it so."""
        environment = {**self._environment, "time": datetime.now(timezone.utc).isoformat(timespec="seconds")}
        if self._store is not None:
            self._store.add(kind, key, row, environment, again=self._again)
        return {**row, "environment": environment}

    def claim(self, key: str) -> bool:
        """Whether this run may be trained now: not while another process of this store is at it."""
        mine: bool = _from_main(self._store.claim(RUNS, key) if self._store else None)
        return mine

    def renew(self, key: str) -> None:
        """Say that this run is still under way; the main process does."""
        if self._store is not None:
            self._store.renew(RUNS, key)

    def release(self, key: str) -> None:
        """Give a run back."""
        if self._store is not None:
            self._store.release(RUNS, key)


def _from_main(value: Any) -> Any:
    if PartialState().num_processes == 1:
        return value
    return broadcast_object_list([value], from_process=0)[0]
