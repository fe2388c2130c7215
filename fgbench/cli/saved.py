"""What was measured before: the rows of a store and of files, as reports take them. No torch."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Hashable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from fgbench.errors import LeftOutNotice, OnProblem
from fgbench.options import DEFAULT_STORE, STORE_VARIABLE
from fgbench.plugins.code import BUILT
from fgbench.results.decoding import AnyRecord
from fgbench.results.files import rows_of, rows_of_store
from fgbench.results.records import (
    RECORDS,
    AccuracyRow,
    BackendRow,
    FlopsRow,
    PredictionsRow,
    QualityRow,
    Record,
    SelectionRow,
    StudyRow,
    ThroughputRow,
)
from fgbench.results.reduced_name import FILE
from fgbench.results.rows import distinct, mark_best
from fgbench_reports.choose.configurations import each_seed_once
from fgbench_reports.data import Data
from fgbench_reports.sweep_rows import by_environment
from fgbench_reports.tables.numbers import how_many
from fgbench_reports.training_groups import each_judged_once

ByCode = TypeVar("ByCode", ThroughputRow, AccuracyRow)  # rows that say which foreign code gave them


def default_store() -> Path:
    """The default store: ``FGBENCH_STORE``, or ``fgbench.db`` in this folder."""
    return Path(os.environ.get(STORE_VARIABLE) or DEFAULT_STORE)


def read_data(store: Path | None, files: Sequence[Path], on_problem: OnProblem) -> Data:
    """Read the rows of a store and of files, each once.

    Args:
        store: The store; None for the default one, which is left out where files are given and where it does not
            exist. The one that ``FGBENCH_STORE`` names need not exist either.
        files: JSON or CSV files as ``--format`` writes them, files of rows by section, or stores.
        on_problem: Receives a notice for what is left out.

    Returns:
        The rows by kind. ``best`` marks one batch per mode, model and size among all of them.

    Raises:
        FgbenchError: One line with the file, the row, the field and its value.

    """
    saved_rows, sources = read_rows(store, files, on_problem)
    trained, timed = _of(AccuracyRow, saved_rows), _of(ThroughputRow, saved_rows)
    paths = _files_of([*trained, *timed])
    accuracy = _of_newest_code(_told_apart(trained, paths), on_problem)
    throughput = _of_newest_code(_told_apart(timed, paths), on_problem)
    judged = _of(QualityRow, saved_rows)
    runs = [row for row in accuracy if not row.seeds]
    if accuracy and not runs:
        on_problem(
            LeftOutNotice("rows of accuracy are means over seeds alone, and were left out; export the runs as well")
        )
    each_run, each_judged = each_seed_once(runs, "impl"), each_judged_once(judged)
    for kind, again in (
        ("accuracy", len(runs) - len(each_run)),
        ("selection_quality", len(judged) - len(each_judged)),
    ):
        if again:
            repeats = f"{again} row of {kind} repeats a seed" if again == 1 else f"{again} rows of {kind} repeat seeds"
            on_problem(LeftOutNotice(f"left out: {repeats} of the same training; the last row of each seed counts"))
    return Data(
        flops=_of(FlopsRow, saved_rows),
        throughput=_marked(_of_longest(throughput)),
        accuracy=each_run,
        selection_quality=each_judged,
        selection=_of(SelectionRow, saved_rows),
        backend=_of(BackendRow, saved_rows),
        study=_of(StudyRow, saved_rows),
        predictions=_of(PredictionsRow, saved_rows),
        sources=tuple(dict.fromkeys(sources)),
    )


def read_rows(store: Path | None, files: Sequence[Path], on_problem: OnProblem) -> tuple[list[Record], list[str]]:
    """The rows of a store and of files as they are, and the names of both; the arguments are those of read_data."""
    rows: list[Record] = []
    sources: list[str] = []
    named = store is not None and str(store) != os.environ.get(STORE_VARIABLE)
    path = default_store() if store is None else store
    if named or (not files and os.path.lexists(path)):
        rows += rows_of_store(path)
        sources.append(str(path))
    for file in files:
        rows += rows_of(file, on_problem)
        sources.append(str(file))
    return rows, sources


def of_kind(kind: str, rows: Sequence[Record]) -> list[Record]:
    """The rows of one kind, each once; throughput with its best batches marked."""
    chosen = _of(RECORDS[kind], rows)
    return list(_marked(chosen)) if kind == ThroughputRow.kind else chosen  # type: ignore[arg-type]


def _of(record: type[AnyRecord], rows: Sequence[Record]) -> list[AnyRecord]:
    """The rows of one kind, each once."""
    return distinct(record, (row for row in rows if isinstance(row, record)))


def _of_newest_code(rows: Sequence[ByCode], on_problem: OnProblem) -> list[ByCode]:
    """The rows without those of models, selectors and engines of plug-ins that were measured in a newer state.

    What a function builds may differ with the image size, the classes and the weights that are asked for: there only
    rows of the same request are older than others.
    """
    kept = _newest(_newest(rows, _series, _code_of), _request, _built_of)
    left, earlier = set(map(id, kept)), dict[str, int]()
    for row in rows:
        if id(row) not in left:
            model = str(_series(row)[0])
            earlier[model] = earlier.get(model, 0) + 1
    for model, count in earlier.items():
        what = f"left out: {how_many(count, 'row')} of {model} that other code of this name gave, the newest is shown"
        on_problem(LeftOutNotice(f"{what}; 'fgbench export' has all rows"))
    return kept


def _newest(
    rows: Sequence[ByCode], group_of: Callable[[ByCode], Hashable], state_of: Callable[[ByCode], Hashable]
) -> list[ByCode]:
    """The rows whose state is that of the newest row in their group."""
    newest: dict[Hashable, tuple[str, Hashable]] = {}
    for row in rows:
        measured_at, group = str((row.environment or {}).get("time") or ""), group_of(row)
        if measured_at >= newest.get(group, ("", None))[0]:
            newest[group] = measured_at, state_of(row)
    return [row for row in rows if state_of(row) == newest[group_of(row)][1]]


def _told_apart(rows: Sequence[ByCode], paths: Mapping[str, Collection[str]]) -> list[ByCode]:
    """Rows of functions in several files of one name, with as much of the path in the name as tells them apart.

    Args:
        rows: The rows.
        paths: The files of the functions, by the name of the model.

    """
    return [_named(row, paths.get(row.model, ())) for row in rows]


def _named(row: ByCode, paths: Collection[str]) -> ByCode:
    file = (row.environment or {}).get(FILE)
    if not isinstance(file, str) or len(paths) < 2:
        return row
    name = f"{_shortest(file, paths)}:{row.model.rpartition(':')[2]}"
    return replace(row, model=name, backbone=name if row.backbone == row.model else row.backbone)


def _shortest(path: str, paths: Collection[str]) -> str:
    """The end of a path that no other one has."""
    parts = Path(path).parts
    for count in range(1, len(parts)):
        end = parts[-count:]
        if not any(other != path and Path(other).parts[-count:] == end for other in paths):
            return "/".join(end)
    return path


def _files_of(rows: Iterable[ThroughputRow | AccuracyRow]) -> dict[str, set[str]]:
    """The files of functions, by the name of the model."""
    paths: dict[str, set[str]] = {}
    for row in rows:
        if isinstance(file := (row.environment or {}).get(FILE), str):
            paths.setdefault(row.model, set()).add(file)
    return paths


def _of_longest(rows: Sequence[ThroughputRow]) -> list[ThroughputRow]:
    """The rows without those of points that were timed for longer later: the longer one was asked to replace them."""
    longest: dict[tuple[Any, ...], float] = {}
    points = {id(row): (key, *_point(row)) for key, group in by_environment(rows).items() for row in group}
    for row in rows:
        if row.latency_s is not None:
            longest[points[id(row)]] = max(_max_time_s(row), longest.get(points[id(row)], 0.0))
    return [row for row in rows if _max_time_s(row) >= longest.get(points[id(row)], 0.0)]


def _point(row: ThroughputRow) -> tuple[Any, ...]:
    pictures = row.environment.get("pictures")
    digest = pictures.get("digest") if isinstance(pictures, dict) else None
    return (*_series(row), row.image_size, row.batch_size, row.repeat, row.part, digest)


def _max_time_s(row: ThroughputRow) -> float:
    time_s = row.environment.get("max_time_s")
    return float(time_s) if isinstance(time_s, (int, float)) else 0.0


def _series(row: Record) -> tuple[str | None, ...]:
    return tuple(getattr(row, name, None) for name in ("model", "selector", "impl", "backbone", "engine"))


def _code_of(row: ThroughputRow | AccuracyRow) -> tuple[str, str]:
    """Digests of the code of a plug-in's model or selector, and of its engine."""
    environment = row.environment or {}
    engine = environment.get("engine")
    code = engine.get("code") if isinstance(engine, dict) else None
    return str(environment.get("foreign_code")).partition(BUILT)[0], str(code)


def _built_of(row: ThroughputRow | AccuracyRow) -> str:
    """A digest of what a function has built; empty for all other models."""
    return str((row.environment or {}).get("foreign_code") or "").partition(BUILT)[2]


def _request(row: ThroughputRow | AccuracyRow) -> tuple[str, ...]:
    """What a function was asked to build, and for what."""
    names = ("image_size", "num_classes", "dataset", "begun_from")
    environment = row.environment or {}
    return (*map(str, _series(row)), *(str(getattr(row, name, environment.get(name))) for name in names))


def _marked(rows: Sequence[ThroughputRow]) -> list[ThroughputRow]:
    """Rows in their order, the best batches marked in each environment: a sweep has one device and one version."""
    marked: dict[int, ThroughputRow] = {}
    for group in by_environment(rows).values():
        marked |= {id(row): new for row, new in zip(group, mark_best(group), strict=True)}
    return [marked[id(row)] for row in rows]
