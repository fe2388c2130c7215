"""The exact part of a comparison: counted figures, and allocated memory, against a baseline."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from fgbench.errors import CannotMeasureError, FgbenchError, LeftOutNotice, OnProblem, UnknownNameError
from fgbench.flops.counted_cache import CountedCache
from fgbench.flops.counting import collected_rarely
from fgbench.flops.grid import CountGrid
from fgbench.measure.points import TORCH
from fgbench.plugins.files import add_plugin_files
from fgbench.plugins.kinds import models
from fgbench.plugins.registry import selectors
from fgbench.plugins.timm_names import backbone_names, is_timm_model
from fgbench.regress.baseline import BadBaselineError, Baseline, read_baseline, write_baseline
from fgbench.regress.counting import Counted, count_all, counted_with
from fgbench.regress.request import RegressRequest
from fgbench.results.output import check_output, emit, prints_on_stderr
from fgbench.results.reading import read_text
from fgbench.results.rows import FLAGS
from fgbench_reports.regression.exact import (
    FIGURES,
    IDENTITY,
    MEMORY_FIGURE,
    MEMORY_IDENTITY,
    MemoryBaseline,
    Row,
    compare_counts,
    compare_memory,
    point_name,
    taken_over,
)
from fgbench_reports.regression.findings import FAILING, Finding, Outcome
from fgbench_reports.tables.numbers import how_many

SPECIAL_MODES = tuple(name for name in FLAGS if name != "threads")  # that a baseline does not tell apart


def compare_with_baseline(
    request: RegressRequest,
    saved_rows: Callable[[], Sequence[Row]] = tuple,
    *,
    plugins: Sequence[str] = (),
    on_problem: OnProblem = lambda _: None,
    progress: Callable[[str], None] = lambda _: None,
) -> Outcome:
    """Count, and compare with a baseline; with ``update`` write it too.

    Args:
        request: The baseline, and the part of it that is counted.
        saved_rows: Reads rows of throughput, whose allocated memory is compared as well.
        plugins: Plug-in files.
        on_problem: Gets what does not end the comparison, and is not told by a finding.
        progress: Gets what is counted now, in words.

    Returns:
        A finding per figure, which says with ``update`` what changes.

    Raises:
        FgbenchError: For a baseline that cannot be read or compared, and where nothing can be counted.

    """
    assert request.baseline is not None
    known = _read(request.baseline, update=request.update)
    if known is not None and not request.update:
        _refuse_other_units(known, request)
    grid = request.grid(None if known is None else known.grid)
    memory = known.memory if known else ()
    measured = saved_memory(request.rows, saved_rows(), grid.num_classes, on_problem) if request.rows else []
    comparable = known is not None and known.convention == grid.conventions[0]
    before = _asked_for(known.points, request) if known is not None and comparable else []
    if known is not None and not before and not request.update:
        raise FgbenchError("nothing of what was asked for is in", str(request.baseline), "--update takes it in")
    counted = _count(grid, before, request, plugins, progress)
    points = [{name: getattr(row, name) for name in (*IDENTITY, *FIGURES)} for row in counted.rows]
    lost = {point_name(row): why for row in before if (why := _why_lost(row, counted.lost, grid))}
    problems = [problem for problem in counted.problems if request.update or str(problem) not in lost.values()]
    if not points:
        raise problems[0] if problems else _nothing_counted(before)
    now = Baseline(grid=grid, counted_with=counted_with(), points=points, memory=_merged_memory(memory, measured))
    if request.update:
        if problems:
            raise FgbenchError(f"{request.baseline} was left as it was: {problems[0]}")
        emit(write_baseline(now), request.baseline)
    for problem in problems:
        on_problem(problem)
    counts = compare_counts(before, points, lost)
    findings = [*counts, *compare_memory(memory, measured)]
    return Outcome(
        findings=taken_over(findings) if request.update else findings,
        notes=_notes(known, now, counts),
        before=str(request.baseline),
        after="what is counted now",
        facts=dict(now.counted_with),
        updated=request.update,
    )


def _read(path: Path, *, update: bool) -> Baseline | None:
    """The baseline; None where an update writes the first one."""
    if update:
        check_output(path)
        if not os.path.lexists(path):
            return None
    try:
        return read_baseline(read_text(path))
    except FileNotFoundError as error:
        raise FgbenchError("there is no baseline:", str(path), "--update writes one") from error
    except OSError as error:
        raise FgbenchError("cannot read the baseline", str(path), error.strerror or str(error)) from error
    except UnicodeDecodeError as error:
        raise FgbenchError("this is no baseline:", str(path), "it is not a text in UTF-8") from error
    except BadBaselineError as error:
        again = "remove it, and --update writes a new one" if update else "it was not compared"
        raise FgbenchError("this is no baseline:", str(path), f"{error}; {again}") from error


def _refuse_other_units(known: Baseline, request: RegressRequest) -> None:
    """Figures of two conventions, or of two heads, cannot be compared; nor can one file hold both."""
    for what, here, there in (
        ("convention", request.convention, known.convention),
        ("number of classes", request.num_classes, known.grid.num_classes),
    ):
        if here is not None and here != there:
            raise FgbenchError(
                f"{request.baseline} was counted with another {what} than",
                here,
                f"it has {there!r}; leave the option out, or write another baseline",
            )


def _asked_for(points: Sequence[Row], request: RegressRequest) -> list[Row]:
    """The points of a baseline that the options leave: selectors do not narrow models, nor models selectors."""
    if request.update:
        return list(points)
    wanted = {"image_size": request.sizes, "impl": request.impls}
    found = [row for row in points if all(v is None or row[name] in (*v, None) for name, v in wanted.items())]
    return [row for row in found if _names_asked_for(row, request)]


def _names_asked_for(row: Row, request: RegressRequest) -> bool:
    if row["model"] is not None:
        return request.models is None or row["model"] in request.models
    beside = request.backbones is None or row["backbone"] in request.backbones
    return beside and (request.selectors is None or row["selector"] in (*request.selectors, None))


def _count(
    grid: CountGrid,
    before: Sequence[Row],
    request: RegressRequest,
    plugins: Sequence[str],
    progress: Callable[[str], None],
) -> Counted:
    """Count the grid; a name that was typed must be registered, or in the baseline."""
    broken: list[FgbenchError] = []
    with prints_on_stderr(), collected_rarely():
        add_plugin_files(plugins, broken.append)
        for names, field, is_known, every in (
            (request.selectors, "selector", lambda name: name in selectors.names(), selectors.names),
            (request.models, "model", models.knows, models.names),
            (request.backbones, "backbone", is_timm_model, backbone_names),
        ):
            in_baseline = {row[field] for row in before}
            for name in names or ():
                if not is_known(name) and name not in in_baseline:
                    raise broken[0] if broken else UnknownNameError(field, name, every())
        cache = CountedCache(keeps=True, reads=not request.again)
        counted = count_all(grid, lambda name: progress(f"counting {name}"), cache)
    counted.problems[:0] = broken
    return counted


def _nothing_counted(before: Sequence[Row]) -> FgbenchError:
    """The error where neither a selector nor a model of a baseline is there."""
    unknown = [
        name for name in dict.fromkeys(row["selector"] for row in before) if name and name not in selectors.names()
    ]
    unknown += [name for name in dict.fromkeys(row["model"] for row in before) if name and not models.knows(name)]
    what = "nothing was counted: no selector and no model is there"
    if not unknown:
        return CannotMeasureError(what)
    return CannotMeasureError(
        f"{what}; the baseline has", ", ".join(unknown), "--plugin FILE or a package provides them"
    )


def _why_lost(row: Row, lost: dict[str, str], grid: CountGrid) -> str | None:
    for field in ("model", "selector") if row["model"] is not None else ("selector", "backbone"):
        if (why := lost.get(row[field] or "")) is not None:
            return why
    return None if _is_in(grid, row) else "it is not among what is to be counted"


def _is_in(grid: CountGrid, row: Row) -> bool:
    """Whether a point is one of a grid, going by the names in it."""
    field, names = ("model", grid.models) if row["model"] is not None else ("selector", grid.selectors)
    beside = row["model"] is not None or row["backbone"] in grid.selector_backbones
    named = names is None or row[field] in (*names, None)
    return beside and named and row["image_size"] in grid.sizes and row["impl"] in (*grid.impls, None)


def _notes(known: Baseline | None, now: Baseline, findings: Sequence[Finding]) -> list[str]:
    """Sentences beside the findings: the convention, and versions that may explain what differs."""
    notes = [f"Counted for one image in convention {now.convention}."]
    if known is None:
        return [*notes, "There was no baseline; this is the first."]
    differ = [
        f"{name} {known.counted_with[name]} → {version}"
        for name, version in now.counted_with.items()
        if known.counted_with.get(name) not in (None, version)
    ]
    if differ and any(finding.verdict in FAILING for finding in findings):
        notes.append(f"The baseline was counted with other versions, which may be why: {', '.join(differ)}.")
    return notes


def saved_memory(
    files: Sequence[str], throughput: Sequence[Row], num_classes: int, on_problem: OnProblem
) -> list[MemoryBaseline]:
    """Allocated memory in rows of throughput, by GPU and version of torch.

    Args:
        files: Where the rows are from, for errors.
        throughput: The rows.
        num_classes: Of the baseline; rows of other heads are left out.
        on_problem: Gets a notice about rows that are left out.

    Returns:
        The largest memory of every point.

    Raises:
        FgbenchError: Where the rows have none.

    """
    measured = [row for row in throughput if row[MEMORY_FIGURE] is not None]
    if not measured:
        raise FgbenchError(
            "no row has allocated memory:", ", ".join(files), "only 'fgbench throughput' on a GPU measures it"
        )
    plain = [row for row in measured if _is_plain(row, num_classes)]
    if not plain:
        raise FgbenchError(
            f"no row has allocated memory of a plain mode and of {num_classes} classes:", ", ".join(files)
        )
    if left := len(measured) - len(plain):
        modes = "of special modes, or of another number of classes"
        on_problem(LeftOutNotice(f"left out: {how_many(left, 'row')} {modes}"))
    found: dict[tuple[str, str], dict[tuple[Any, ...], Row]] = {}
    for row in plain:
        place = (str(row["environment"].get("device_name")), str(row["environment"].get("torch")))
        key = tuple(row[name] for name in MEMORY_IDENTITY)
        points = found.setdefault(place, {})
        if key not in points or points[key][MEMORY_FIGURE] < row[MEMORY_FIGURE]:
            points[key] = {name: row[name] for name in (*MEMORY_IDENTITY, MEMORY_FIGURE)}
    return [
        MemoryBaseline(gpu=gpu, torch=torch, points=list(points.values())) for (gpu, torch), points in found.items()
    ]


def _is_plain(row: Row, num_classes: int) -> bool:
    environment = row["environment"]
    is_special = row.get("engine") not in (None, TORCH) or row.get("part") is not None
    is_special |= any(environment.get(name) for name in SPECIAL_MODES)
    return not is_special and environment.get("num_classes") in (None, num_classes)


def _merged_memory(known: Sequence[MemoryBaseline], measured: Sequence[MemoryBaseline]) -> list[MemoryBaseline]:
    """What a baseline knows after an update: a GPU that was measured again stands with its new figures alone."""
    again = {section.gpu for section in measured}
    return [*(section for section in known if section.gpu not in again), *measured]
