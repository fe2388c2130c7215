"""What ``fgbench accuracy`` shows of its runs, and where."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fgbench.results.output import emit_as

if TYPE_CHECKING:
    from fgbench.cli.training_progress import TrainingProgress
    from fgbench.training.runs import Runs


@dataclass(frozen=True, slots=True, kw_only=True)
class Show:
    """What is shown of the runs, and where."""

    style: str
    output: Path | None
    details: bool  # classes and confusions
    quality: bool  # what selectors find
    judged: list[str] | None


def check_names(selectors: list[str] | None) -> None:
    """Refuse names that nobody registered before models are trained for them."""
    from fgbench.explain.records import OWN
    from fgbench.plugins.registry import usable_selectors

    usable_selectors([name for name in selectors or () if name != OWN], lambda broken: None)


def judge_all(runs: Runs, selectors: list[str] | None, progress: TrainingProgress, rows: list[dict[str, Any]]) -> None:
    """Judge selectors on every trained model, and add a row per model and selector."""
    from fgbench.training.evaluate_selectors import judge

    for done in runs.finished:
        tell = functools.partial(progress.judged, f"{done.config.label}: selectors")
        rows += judge(runs.session, done, selectors, tell)


def show_result(runs: Runs, judged: Sequence[dict[str, Any]], show: Show) -> None:
    """Rows, their means, and what was asked for beside them."""
    from fgbench.training.rows import summaries
    from fgbench_reports.measured.accuracy import accuracy_tables, class_tables
    from fgbench_reports.measured.selector_quality import quality_tables
    from fgbench_reports.tables.render import render

    rows: Sequence[dict[str, Any]] = [*runs.rows, *summaries(runs.rows)]
    tables = accuracy_tables(rows)
    if show.details:
        per_run = [finished.classes for finished in runs.finished]
        saved = [row | classes for row, classes in zip(runs.rows, per_run, strict=True)] + summaries(runs.rows)
        of_classes = [table for done in runs.finished for table in class_tables(done.row, done.classes)]
        tables = replace(tables, rows=saved, narrow=[*tables.narrow, *of_classes])
    if judged:
        tables += quality_tables(judged)
    emit_as(show.style, render(tables, show.style, to_file=show.output is not None), show.output)
