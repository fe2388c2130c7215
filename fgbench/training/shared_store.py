"""The store for several processes: the main process reads and writes it, and the others receive what it reads."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Any

from accelerate import PartialState
from accelerate.utils import broadcast_object_list

from fgbench.results.store import Store

# Kinds of rows: runs, their epochs, searched learning rates, classes and predictions of a run, judged selectors.
RUNS, EPOCHS, SEARCHED, CLASSES, PREDICTIONS, QUALITY = (
    "accuracy",
    "accuracy_epoch",
    "accuracy_search",
    "accuracy_classes",
    "predictions",
    "selection_quality",
)


class NotingStore:
    """A store that can be read alone, and notes what was looked for: another process may have it.

    Args:
        store: The store.

    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self.asked: list[tuple[str, str]] = []  # kinds and keys

    def get(self, kind: str, key: str) -> dict[str, Any] | None:
        """As :meth:`fgbench.results.store.Store.get`."""
        self.asked.append((kind, key))
        return self._store.get(kind, key)


class SharedStore:
    """Rows of runs in the store. Every process calls every method, in the same order, unless a method says otherwise.

    Args:
        store: The store; None in all processes but the main one.
        environment: Software and hardware, kept beside every row.
        again: Whether rows of earlier runs are ignored.
    """

    def __init__(self, store: Store | None, environment: Mapping[str, Any], *, again: bool = False) -> None:
        self._store, self._environment, self._again = store, environment, again

    def get(self, kind: str, key: str) -> dict[str, Any] | None:
        """A row of an earlier run; None where there is none, or where it is to be ignored."""
        if self._again:
            return None
        row: dict[str, Any] | None = _from_main(self._store.get(kind, key) if self._store else None)
        return row

    def get_alone(self, kind: str, key: str) -> dict[str, Any] | None:
        """As :meth:`get`, but called by the main process alone."""
        return None if self._again or self._store is None else self._store.get(kind, key)

    def add(self, kind: str, key: str, row: Mapping[str, Any], **facts: str) -> dict[str, Any]:
        """Add a row, and return it with its environment, the time and further facts."""
        now = datetime.now(timezone.utc).isoformat(timespec="seconds")
        environment = {**self._environment, "time": now, **facts}
        if self._store is not None:
            self._store.add(kind, key, row, environment, again=self._again)
        return {**row, "environment": environment}

    def claim(self, key: str) -> bool:
        """Claim a run; False where another process that uses this store has claimed it."""
        is_claimed: bool = _from_main(self._store.claim(RUNS, key) if self._store else None)
        return is_claimed

    def renew(self, key: str) -> None:
        """Renew the claim of a run that is under way."""
        if self._store is not None:
            self._store.renew(RUNS, key)

    def release(self, key: str) -> None:
        """Give up the claim of a run."""
        if self._store is not None:
            self._store.release(RUNS, key)


def _from_main(value: Any) -> Any:
    """The value of the main process, on every process."""
    if PartialState().num_processes == 1:
        return value
    return broadcast_object_list([value], from_process=0)[0]
