"""``fgbench merge``: the rows of several stores in one."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from fgbench.cli.errors import complain
from fgbench.cli.options import StoreOptions
from fgbench.errors import FgbenchError
from fgbench.options import argument


@dataclass(frozen=True, slots=True, kw_only=True)
class MergeRequest:
    """Which stores are merged into that of ``--store``."""

    sources: Annotated[
        Sequence[str], argument("OTHER…", "stores whose rows are taken over; they stay as they are", several=True)
    ] = ()

    def check_against(self, store: Path) -> None:
        """Refuse what is no store, and the store itself. Raises :class:`FgbenchError`."""
        from fgbench.results.files import is_store

        if not self.sources:
            raise FgbenchError("no store was named", do="fgbench merge OTHER… --store ALL")
        for source in map(Path, self.sources):
            if store.exists() and source.exists() and source.samefile(store):
                raise FgbenchError("a store is not merged with itself:", str(source), "name the others")
            if source.is_file() and not is_store(source):
                do = "files of rows are read side by side: 'fgbench report --rows a.json b.json'"
                raise FgbenchError("merge takes stores, and this is none:", str(source), do)


def merge(request: MergeRequest, store: StoreOptions) -> None:
    """Take the rows of other stores over into the store of --store, which is made where there is none.

    A point is known by its key. Where several stores have it, all its rows are kept, and the newest counts; a row that
    is there already is not taken twice. Each store is taken over as a whole, or not at all.
    """
    from fgbench.results.files import WAIT_S
    from fgbench.results.store import PATIENCE_S, Store
    from fgbench_reports.tables.numbers import how_many

    request.check_against(store.store)
    with ExitStack() as stack:
        others = [stack.enter_context(Store(Path(source), wait_s=WAIT_S, read_only=True)) for source in request.sources]
        merged = stack.enter_context(Store(store.store, patience_s=PATIENCE_S, tell=complain))
        for source, other in zip(request.sources, others, strict=True):
            taken, known = merged.merge(other)
            there = f"{known} {'was' if known == 1 else 'were'} there already"
            complain(f"{source}: {how_many(taken, 'row')} taken over into {store.store}, {there}")
