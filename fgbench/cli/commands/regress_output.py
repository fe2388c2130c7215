"""Where the outcome of ``fgbench regress`` goes: the terminal, and files that other tools read."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from fgbench.cli.errors import complain
from fgbench.errors import FgbenchError
from fgbench.results.output import STDOUT, check_output, emit, emit_as
from fgbench.results.reading import read_bytes

if TYPE_CHECKING:
    from fgbench_reports.regression.findings import Outcome

SUMMARY = "GITHUB_STEP_SUMMARY"  # a file that every step of a job adds to
SUMMARY_BYTES = 2**20  # that GitHub shows; what is above is not shown at all


@dataclass(frozen=True, slots=True, kw_only=True)
class Outputs:
    """What is written, and where."""

    markdown: Path | None
    junit: Path | None
    benchmark_json: Path | None
    smaller_is_better: Path | None
    bigger_is_better: Path | None
    annotations: bool
    strict: bool
    style: str
    output: Path | None
    baseline: Path | None = None  # that annotations point to
    others: Sequence[str] = ()  # files that are read

    def check(self) -> None:
        """Refuse what cannot be written before anything is counted or measured."""
        files = [self.markdown, self.junit, self.benchmark_json, self.smaller_is_better, self.bigger_is_better]
        named = [path for path in (*files, self.output) if path is not None]
        targets = [*map(_target, named), *([None] if self.output is None else [])]
        read = {_target(Path(name)) for name in self.others}
        for path in named:
            check_output(path)
            if targets.count(_target(path)) > 1:
                raise FgbenchError("two outputs would be written to", str(path), "give each a file of its own")
            if self.baseline is not None and _target(path) == _target(self.baseline):
                raise FgbenchError("this file is the baseline:", str(path), "--update writes it")
            if _target(path) in read:
                raise FgbenchError("this file is read, and would be written over:", str(path), "name another one")
        if self.annotations and self.style != "table" and (self.output is None or _target(self.output) is None):
            raise FgbenchError(
                "--annotations and --format both go to standard output:", self.style, "give --output FILE"
            )

    def write(self, outcome: Outcome) -> list[FgbenchError]:
        """Write everything that was asked for, and say what could not be: one full disk is no loss of the verdict.

        Standard output comes last, where its reader may have gone.
        """
        from fgbench_reports.regression.annotations import to_annotations
        from fgbench_reports.regression.benchmark_action import to_bigger_is_better, to_smaller_is_better
        from fgbench_reports.regression.benchmark_json import to_benchmark_json
        from fgbench_reports.regression.junit import to_junit

        file = None if self.baseline is None else str(self.baseline)
        files: list[tuple[Path | None, Callable[[Path], None]]] = [
            (self.markdown, lambda path: _write_summary(outcome, path)),
            (self.junit, lambda path: emit(to_junit(outcome, strict=self.strict), path)),
            (self.benchmark_json, lambda path: emit(to_benchmark_json(outcome), path)),
            (self.smaller_is_better, lambda path: _write_chart(to_smaller_is_better(outcome), path)),
            (self.bigger_is_better, lambda path: _write_chart(to_bigger_is_better(outcome), path)),
        ]
        writing: list[Callable[[], None]] = [partial(write, path) for path, write in files if path is not None]
        writing += [partial(emit_as, "annotations", to_annotations(outcome, file=file))] if self.annotations else []
        problems = []
        writing.append(partial(self._show, outcome))
        for write_one in writing:
            try:
                write_one()
            except FgbenchError as error:
                problems.append(error)
        return problems

    def _show(self, outcome: Outcome) -> None:
        from fgbench_reports.regression.terminal import NAMES, regression_frame, regression_notes, regression_tables
        from fgbench_reports.tables import render

        if self.style == "json":
            text = render.to_json([finding.as_dict() for finding in outcome.findings])
        elif self.style == "csv":
            text = render.to_csv([finding.as_dict() for finding in outcome.findings])
        elif self.style == "markdown":
            text = render.to_markdown(regression_frame(outcome), NAMES, regression_notes(outcome))
        elif self.style == "latex":
            text = render.to_latex(regression_frame(outcome), NAMES, regression_notes(outcome))
        else:
            tables, notes = regression_tables(outcome), regression_notes(outcome)
            text = render.to_terminal(tables, notes, to_file=self.output is not None)
        emit_as(self.style, text, self.output)


def _target(path: Path) -> str | None:
    """The file itself, whatever links lead to it; None is standard output."""
    return None if str(path) in STDOUT else os.path.realpath(path)


def _write_chart(text: str, path: Path) -> None:
    emit(text, path)
    if text.strip() == "[]":
        complain(f"{path} is an empty list, which github-action-benchmark refuses: nothing was timed")


def _write_summary(outcome: Outcome, path: Path) -> None:
    """A summary of its own, or behind what other steps of the job have written into theirs."""
    from fgbench_reports.regression.summary import SMALLEST_BYTES, to_markdown

    shared = os.environ.get(SUMMARY)
    if not shared or not os.path.isfile(path) or _target(path) != _target(Path(shared)):  # noqa: PTH113  # never raises
        emit(to_markdown(outcome), path)
        return
    try:
        there = read_bytes(path).decode("utf-8", errors="replace")
    except OSError as error:
        raise FgbenchError("cannot read the summary of earlier steps", str(path), error.strerror or "") from error
    left = SUMMARY_BYTES - len(there.encode()) - 1
    if left < SMALLEST_BYTES:
        complain(f"{path} is full, and GitHub would show none of it with more: it was left as it is")
        return
    emit(
        f"{there}{'' if there.endswith(chr(10)) or not there else chr(10)}{to_markdown(outcome, limit_bytes=left)}",
        path,
    )
