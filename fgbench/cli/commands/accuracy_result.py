"""Output of ``fgbench accuracy``: rows of runs, of their means and of selectors."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fgbench.results.output import emit_as

if TYPE_CHECKING:
    from fgbench.cli.training_progress import TrainingProgress
    from fgbench.training.runs import Runs


@dataclass(frozen=True, slots=True, kw_only=True)
class Show:
    """Options of the output."""

    style: str
    output: Path | None
    details: bool  # classes and confusions
    quality: bool  # rows of selectors
    judged: list[str] | None


def check_names(selectors: list[str] | None) -> None:
    """Refuse names that are not registered, before a model is trained."""
    from fgbench.explain.records import OWN
    from fgbench.plugins.registry import usable_selectors

    usable_selectors([name for name in selectors or () if name != OWN], lambda broken: None)


def judge_all(runs: Runs, selectors: list[str] | None, progress: TrainingProgress, rows: list[dict[str, Any]]) -> None:
    """Evaluate selectors on every trained model, and add a row per model and selector to ``rows``."""
    from fgbench.training.evaluate_selectors import evaluate_selectors

    for done in runs.finished:
        tell = functools.partial(progress.judged, f"{done.config.label}: selectors")
        rows += evaluate_selectors(runs.context, done, selectors, tell)


def show_result(runs: Runs, judged: Sequence[dict[str, Any]], show: Show) -> None:
    """Write the rows of runs, their means over seeds, and the details that were asked for."""
    from fgbench.training.rows import summaries
    from fgbench_reports.accuracy import accuracy_frame, accuracy_notes, accuracy_tables, class_tables
    from fgbench_reports.quality import quality_frame, quality_notes, quality_tables
    from fgbench_reports.tables import render

    rows: Sequence[dict[str, Any]] = [*runs.rows, *summaries(runs.rows)]
    style = show.style
    if style in ("json", "csv"):
        if show.details:
            per_run = [finished.classes for finished in runs.finished]
            rows = [row | found for row, found in zip(runs.rows, per_run, strict=True)] + summaries(runs.rows)
        text = render.to_json([*rows, *judged]) if style == "json" else render.to_csv([*rows, *judged])
    elif style in ("markdown", "latex"):
        write = render.to_markdown if style == "markdown" else render.to_latex
        noted = [(accuracy_frame(rows), accuracy_notes(rows))]
        noted += [(quality_frame(judged), quality_notes(judged))] if judged else []
        text = "\n".join(write(frame, notes=notes) for frame, notes in noted)
    else:
        tables, notes = list(accuracy_tables(rows)), accuracy_notes(rows)
        if show.details:
            tables += [table for done in runs.finished for table in class_tables(done.row, done.classes)]
        if judged:
            tables, notes = [*tables, *quality_tables(judged)], [*notes, *quality_notes(judged)]
        text = render.to_terminal(tables, notes, to_file=show.output is not None)
    emit_as(style, text, show.output)
