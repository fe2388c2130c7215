"""What ``fgbench accuracy`` shows of its runs, and where."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from fgbench.results.output import emit_as

if TYPE_CHECKING:
    from fgbench.cli.training_progress import TrainingProgress
    from fgbench.results.records import QualityRow
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


def judge_all(runs: Runs, selectors: list[str] | None, progress: TrainingProgress, rows: list[QualityRow]) -> None:
    """Judge selectors on every trained model, and add a row per model and selector."""
    from fgbench.training.evaluate_selectors import judge

    for done in runs.finished:
        tell = functools.partial(progress.judged, f"{done.config.label}: selectors")
        rows += judge(runs.session, done, selectors, tell)


def show_result(runs: Runs, judged: Sequence[QualityRow], show: Show) -> None:
    """Rows, their means, and what was asked for beside them."""
    from fgbench.training.rows import summaries
    from fgbench_reports.accuracy import accuracy_frame, accuracy_notes, accuracy_tables, class_tables
    from fgbench_reports.quality import quality_frame, quality_notes, quality_tables
    from fgbench_reports.tables import render

    rows = [*runs.rows, *summaries(runs.rows)]
    style = show.style
    if style in ("json", "csv"):
        details = [finished.classes if show.details else {} for finished in runs.finished]
        lines = [row.as_dict() for row in [*rows, *judged]]
        for place, more in enumerate(details):
            last = {name: lines[place].pop(name) for name in ("kind", "schema_version")}
            lines[place] = lines[place] | more | last
        text = render.to_json(lines) if style == "json" else render.to_csv(lines)
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
