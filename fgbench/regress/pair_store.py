"""Finished pairs in a store: a job takes the pairs from there that a killed job with the same sides has measured."""

from __future__ import annotations

import hashlib
import json
import os
import socket
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fgbench.errors import FgbenchError
from fgbench.regress.side_runs import SideRun
from fgbench.regress.sides.sides import Side
from fgbench.results.environment import processor
from fgbench.results.store import Store

KIND = "regress"


class PairStore:
    """The pairs of two sides on this machine; without a path nothing is kept.

    Raises :class:`FgbenchError` where the path cannot be a store. That it fails later does not end the measuring: it
    is :attr:`failure`.
    """

    def __init__(self, path: Path | None, base: Side, head: Side) -> None:
        self.failure: FgbenchError | None = None
        self.taken = 0  # pairs
        self._store = None if path is None else Store(path)
        self._sides = {"base": _described(base), "head": _described(head)}
        # Times of another machine are not this one's; the code tells revisions, versions and plug-ins apart.
        place = [socket.gethostname(), processor(), os.environ.get("CUDA_VISIBLE_DEVICES")]
        self._identity = [base.code, head.code, base.python, head.python, *place]

    def __enter__(self) -> PairStore:
        return self

    def __exit__(self, *_: object) -> None:
        if self._store is not None:
            self._store.close()

    def get(self, words: Sequence[str], pair: int, *, again: bool) -> dict[str, SideRun] | None:
        """The runs of a pair by side, or None."""
        row = None if self._store is None else self._store.get(KIND, self._key(words, pair, again=again))
        if row is None:
            return None
        try:
            runs = {name: SideRun(**row["runs"][name]) for name in self._sides}
        except (KeyError, TypeError):  # a row of another program: the pair is measured once more
            return None
        self.taken += 1
        return runs

    def keep(self, words: Sequence[str], pair: int, runs: Mapping[str, SideRun], *, again: bool) -> None:
        """Keep a pair at once, where both runs went as they should."""
        if self._store is None or not all(run.whole for run in runs.values()):
            return
        row = {"command": list(words), "pair": pair, "again": again, "runs": {n: _as_row(r) for n, r in runs.items()}}
        try:
            self._store.add(KIND, self._key(words, pair, again=again), row, self._sides, again=True)
        except FgbenchError as error:
            self.failure = type(error)(f"finished pairs are not kept from here on: {error}")
            self._store.close()
            self._store = None

    def _key(self, words: Sequence[str], pair: int, *, again: bool) -> str:
        identity = [*self._identity, list(words), pair, again]
        return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()


def _described(side: Side) -> dict[str, Any]:
    return {"label": side.label, "revision": side.revision, "fgbench": side.version, "code": side.code}


def _as_row(run: SideRun) -> dict[str, Any]:
    return {"rows": {name: dict(row) for name, row in run.rows.items()}, "failure": run.failure, "refused": run.refused}
