"""Counting as the command does it: a grid is counted, and its rows are kept in a store."""

from __future__ import annotations

import gc
import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fgbench.errors import FgbenchError, OnProblem
from fgbench.flops.counted_cache import CountedCache, library_version
from fgbench.flops.grid import CountGrid
from fgbench.flops.models import model_rows
from fgbench.flops.rows import flops_rows
from fgbench.plugins.files import add_plugin_files
from fgbench.plugins.kinds import models, selectors
from fgbench.results.environment import code_digest, software
from fgbench.results.records import FlopsRow
from fgbench.results.reduced_name import base_model
from fgbench.results.store import Store
from fgbench_selectors.entries import Registry

# Fields that tell a row from others. "part" is the earlier name of "stage": the keys in stores stay the same.
IDENTITY = ("convention", "backbone", "model", "selector", "impl", "image_size", "part")
RARELY = (500_000, 20, 100)  # garbage collector: new objects before a collection, and collections of younger objects
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


def count_key(row: FlopsRow, grid: CountGrid) -> str:
    """The key of a counted row in a store: a digest of its names, its options, and the origin of plug-ins."""
    identity = {name: row[name] for name in IDENTITY} | _geometry(grid)
    identity["origins"] = [_origin(selectors, row.selector), _origin(models, row.model and base_model(row.model))]
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()


def count_environment(grid: CountGrid) -> dict[str, Any]:
    """The versions that rows were counted with, and the options of the grid that rows do not hold."""
    return {**software(), "torch": library_version("torch"), "code": code_digest(), **_geometry(grid)}


def _geometry(grid: CountGrid) -> dict[str, Any]:
    return {"num_classes": grid.num_classes, "patch_stride": grid.patch_stride}


def _origin(registry: Registry, name: str | None) -> str | None:
    """The file or the distribution of a plug-in; None for fgbench's own."""
    entry = None if name is None else registry.entries().get(name)
    return None if entry is None or entry.is_own else str(entry.file or entry.origin)


@contextmanager
def collected_rarely() -> Iterator[None]:
    """A context in which Python rarely collects garbage. Importing torch and timm takes a quarter less time there."""
    before = gc.get_threshold()
    gc.set_threshold(*RARELY)
    try:
        yield
    finally:
        gc.set_threshold(*before)
