"""Counting as the command does it: a grid is counted, and its rows are kept in a store."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from fgbench.errors import FgbenchError, OnProblem
from fgbench.flops.counted_cache import CountedCache
from fgbench.flops.garbage import collected_rarely
from fgbench.flops.grid import CountGrid
from fgbench.flops.keys import count_environment, count_key
from fgbench.flops.models import model_rows
from fgbench.flops.rows import flops_rows
from fgbench.plugins.files import add_plugin_files
from fgbench.results.records import FlopsRow
from fgbench.results.store import Store

LOCKED_STORE_S = 3.0  # how long to wait for a store that another process keeps locked


@dataclass(frozen=True, slots=True, kw_only=True)
class CountedRows:
    """The rows of a grid."""

    rows: Sequence[FlopsRow]
    interrupted: bool  # by Ctrl-C: these are the rows that were finished before
    kept: bool  # in the store


def count_grid(
    grid: CountGrid,
    *,
    plugins: Sequence[str] = (),
    store: Path | None = None,
    again: bool = False,
    on_problem: OnProblem = lambda _: None,
    progress: Callable[[str], None] = lambda _: None,
) -> CountedRows:
    """Count a grid, and keep its rows in a store.

    Args:
        grid: Whole models where it names some, and selectors beside backbones otherwise.
        plugins: Plug-in files.
        store: The file of the store; None: the rows are not kept.
        again: Whether to count what the cache has.
        on_problem: Gets what does not end the work: plug-ins that break, and a store that cannot be written.
        progress: Gets the backbone or model that is counted now.

    Returns:
        The rows, those of models' stages included.

    Raises:
        FgbenchError: For a grid that cannot be counted.

    """
    add_plugin_files(plugins, on_problem)
    rows: list[FlopsRow] = []
    interrupted = False
    cache = CountedCache(keeps=True, reads=not again)
    count = model_rows if grid.models else flops_rows
    with collected_rarely():
        try:
            for row in count(grid, on_problem, progress, on_problem, cache):
                rows.append(row)  # an interrupt leaves those before
        except KeyboardInterrupt:
            interrupted = True
    kept = bool(rows) and store is not None and _keep(rows, grid, store, on_problem)
    return CountedRows(rows=rows, interrupted=interrupted, kept=kept)


def _keep(rows: Sequence[FlopsRow], grid: CountGrid, store: Path, on_problem: OnProblem) -> bool:
    """Keep rows in a store; False where that cannot be done."""
    try:
        with Store(store, wait_s=LOCKED_STORE_S) as opened:
            keyed = {count_key(row, grid): row.as_dict(parts=True) for row in rows}
            opened.keep("flops", keyed, count_environment(grid))
    except FgbenchError as error:
        on_problem(type(error)(f"the rows were not kept: {error}"))
        return False
    return True
