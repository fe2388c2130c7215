"""The exact part of ``fgbench regress``: counted figures, and allocated memory, against a baseline."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fgbench.cli.commands.regress_memory import merged_memory, saved_memory
from fgbench.cli.status_line import status_line
from fgbench.errors import CannotMeasureError, FgbenchError, UnknownNameError
from fgbench.flops.counting import collected_rarely
from fgbench.results.output import check_output, emit, prints_on_stderr
from fgbench.results.reading import read_text
from fgbench_reports.regression.baseline import (
    FIGURES,
    IDENTITY,
    BadBaselineError,
    Baseline,
    Grid,
    Row,
    point_name,
    read_baseline,
    write_baseline,
)
from fgbench_reports.regression.exact import compare_counts, compare_memory, taken_over
from fgbench_reports.regression.findings import FAILING, Finding, Outcome

if TYPE_CHECKING:
    from fgbench.regress.counting import Counted
    from fgbench.results.records import FlopsRow

SIZES = (224, 448, 768, 1024)


@dataclass(frozen=True, slots=True, kw_only=True)
class CountedRequest:
    """What is held against a baseline; None is what the baseline says, or the default of a new one."""

    baseline: Path
    update: bool = False
    selectors: Sequence[str] | None = None
    models: Sequence[str] | None = None
    backbones: Sequence[str] | None = None
    sizes: Sequence[int] | None = None
    impls: Sequence[str] | None = None
    convention: str | None = None
    num_classes: int | None = None
    rows: Sequence[str] = ()  # files of saved throughput
    plugins: Sequence[str] = ()
    again: bool = False  # count what the cache has


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """What was found, and what broke on the way without being part of it."""

    outcome: Outcome
    problems: Sequence[FgbenchError] = ()


def compare_with_baseline(request: CountedRequest) -> Compared:
    """Count, and compare with the baseline; with ``update`` write it too, and the outcome says what changes."""
    known = _read(request)
    if known is not None and not request.update:
        _refuse_other_units(known, request)
    convention = request.convention or (known.convention if known else "full")
    grid = _grid(known, request)
    measured = saved_memory(request.rows, grid.num_classes) if request.rows else []
    before = [] if known is None or known.convention != convention else _asked_for(known.points, request)
    if known is not None and not before and not request.update:
        raise FgbenchError("nothing of what was asked for is in", str(request.baseline), "--update takes it in")
    counted, versions = _count(grid, convention, before, request)
    there = [_as_point(row) for row in counted.rows]
    lost = {point_name(row): why for row in before if (why := _why_lost(row, counted.lost, grid))}
    problems = [problem for problem in counted.problems if request.update or not _is_told(problem, lost)]
    if not there:
        raise problems[0] if problems else CannotMeasureError("nothing was counted: no selector and no model is there")
    findings = compare_counts(before, there, lost)
    memory = compare_memory(known.memory if known else [], measured)
    now = Baseline(
        convention=convention,
        grid=grid,
        counted_with=versions,
        points=there,
        memory=merged_memory(known.memory if known else [], measured),
    )
    if request.update:
        if problems:
            raise FgbenchError(f"{request.baseline} was left as it was: {problems[0]}")
        emit(write_baseline(now), request.baseline)
    found = [*findings, *memory]
    outcome = Outcome(
        findings=taken_over(found) if request.update else found,
        notes=_notes(known, now, findings),
        before=str(request.baseline),
        after="what is counted now",
        facts=versions,
        updated=request.update,
    )
    return Compared(outcome=outcome, problems=problems)


def _read(request: CountedRequest) -> Baseline | None:
    path = request.baseline
    if request.update:
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
        again = "remove it, and --update writes a new one" if request.update else "it was not compared"
        raise FgbenchError("this is no baseline:", str(path), f"{error}; {again}") from error


def _refuse_other_units(known: Baseline, request: CountedRequest) -> None:
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


def _grid(known: Baseline | None, request: CountedRequest) -> Grid:
    from fgbench.flops.grid import PAPER_BACKBONES

    old = known.grid if known else Grid(backbones=list(PAPER_BACKBONES), sizes=list(SIZES))
    return replace(
        old,
        selectors=list(request.selectors) if request.selectors is not None else old.selectors,
        models=list(request.models) if request.models is not None else old.models,
        backbones=list(request.backbones or old.backbones),
        sizes=list(request.sizes or old.sizes),
        impls=list(request.impls or old.impls),
        num_classes=request.num_classes or old.num_classes,
    )


def _asked_for(points: Sequence[Row], request: CountedRequest) -> list[Row]:
    """The points of a baseline that the options leave: selectors do not narrow models, nor models selectors."""
    if request.update:
        return list(points)
    wanted = {"image_size": request.sizes, "impl": request.impls}
    found = [row for row in points if all(v is None or row[name] in (*v, None) for name, v in wanted.items())]
    return [row for row in found if _names_asked_for(row, request)]


def _names_asked_for(row: Row, request: CountedRequest) -> bool:
    if row["model"] is not None:
        return request.models is None or row["model"] in request.models
    beside = request.backbones is None or row["backbone"] in request.backbones
    return beside and (request.selectors is None or row["selector"] in (*request.selectors, None))


def _count(
    grid: Grid, convention: str, before: Sequence[Row], request: CountedRequest
) -> tuple[Counted, dict[str, str]]:
    from fgbench.flops.counted_cache import CountedCache
    from fgbench.plugins.files import add_plugin_files
    from fgbench.plugins.kinds import models
    from fgbench.plugins.registry import selectors
    from fgbench.plugins.timm_names import backbone_names, is_timm_model
    from fgbench.regress.counting import CountRequest, count_all, counted_with

    broken: list[FgbenchError] = []
    asked = CountRequest(
        sizes=grid.sizes,
        backbones=grid.backbones,
        selectors=grid.selectors,
        models=grid.models,
        impls=grid.impls,
        num_classes=grid.num_classes,
        convention=convention,
    )
    with prints_on_stderr(), status_line("counting") as tell, collected_rarely():
        add_plugin_files(request.plugins, broken.append)
        for names, field, there, every in (
            (request.selectors, "selector", lambda name: name in selectors.names(), selectors.names),
            (request.models, "model", lambda name: name in models.names(), models.names),
            (request.backbones, "backbone", is_timm_model, backbone_names),
        ):
            known = {row[field] for row in before}
            for name in names or ():
                if not there(name) and name not in known:
                    raise broken[0] if broken else UnknownNameError(field, name, every())
        cache = CountedCache(keeps=True, reads=not request.again)
        counted = count_all(asked, lambda what: tell(f"counting {what}"), cache)
    counted.problems[:0] = broken
    return counted, counted_with()


def _as_point(row: FlopsRow) -> dict[str, Any]:
    return {name: getattr(row, name) for name in (*IDENTITY, *FIGURES)}


def _why_lost(row: Row, lost: dict[str, str], grid: Grid) -> str | None:
    for field in ("model", "selector") if row["model"] is not None else ("selector", "backbone"):
        if (why := lost.get(row[field] or "")) is not None:
            return why
    return None if _is_in(grid, row) else "it is not among what is to be counted"


def _is_in(grid: Grid, row: Row) -> bool:
    """Whether a point is one of a grid, going by the names in it."""
    field, names = ("model", grid.models) if row["model"] is not None else ("selector", grid.selectors)
    beside = row["model"] is not None or row["backbone"] in grid.backbones
    named = names is None or row[field] in (*names, None)
    return beside and named and row["image_size"] in grid.sizes and row["impl"] in (*grid.impls, None)


def _is_told(problem: FgbenchError, lost: dict[str, str]) -> bool:
    return str(problem) in lost.values()


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
