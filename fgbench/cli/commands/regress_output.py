"""The outputs of ``fgbench regress``: the terminal, and files that other tools read."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from fgbench.cli.errors import complain
from fgbench.cli.options import OutputOptions
from fgbench.errors import FgbenchError
from fgbench.options import OUTPUT_SECTION, Option, one, switch
from fgbench.results.output import STDOUT, check_output, emit, emit_as
from fgbench.results.reading import read_bytes

if TYPE_CHECKING:
    from fgbench_reports.regression.findings import Outcome

FILES = "Files for other tools"
SUMMARY = "GITHUB_STEP_SUMMARY"  # a file that every step of a job adds to
SUMMARY_BYTES = 2**20  # that GitHub shows; what is above is not shown at all


def _file(flag: str, says: str) -> Option:
    return one(flag, says, "FILE", read=Path)


@dataclass(frozen=True, slots=True, kw_only=True)
class OutcomeOptions:
    """Files of an outcome, and how it is judged."""

    markdown: Annotated[
        Path | None, _file("--markdown", "a summary, added to $GITHUB_STEP_SUMMARY where it is that"), FILES
    ] = None
    junit: Annotated[Path | None, _file("--junit", "JUnit XML"), FILES] = None
    benchmark_json: Annotated[
        Path | None, _file("--benchmark-json", "the head's times, for pytest-benchmark"), FILES
    ] = None
    smaller_is_better: Annotated[
        Path | None, _file("--smaller-is-better", "for github-action-benchmark: times, counts"), FILES
    ] = None
    bigger_is_better: Annotated[
        Path | None, _file("--bigger-is-better", "for github-action-benchmark: img/s"), FILES
    ] = None
    annotations: Annotated[bool, switch("--annotations", "GitHub's annotations, on standard output"), FILES] = False
    strict: Annotated[bool, switch("--strict", "what is inconclusive is an error too: exit code 3"), OUTPUT_SECTION] = (
        False
    )

    @property
    def judges(self) -> bool:
        """Whether something was asked for that holds verdicts."""
        return bool(self.junit or self.annotations or self.strict)

    def check_with(self, output: OutputOptions, baseline: Path | None, read: Sequence[str]) -> None:
        """Refuse files that cannot be written, before anything is counted or measured.

        Args:
            output: The format and file of the findings.
            baseline: The baseline, which --update alone writes.
            read: Files that are read.

        Raises:
            FgbenchError: With the file.

        """
        files = [self.markdown, self.junit, self.benchmark_json, self.smaller_is_better, self.bigger_is_better]
        named = [path for path in (*files, output.output) if path is not None]
        targets = [*map(_target, named), *([None] if output.output is None else [])]
        sources = {_target(Path(name)) for name in read}
        for path in named:
            check_output(path)
            if targets.count(_target(path)) > 1:
                raise FgbenchError("two outputs would be written to", str(path), "give each a file of its own")
            if baseline is not None and _target(path) == _target(baseline):
                raise FgbenchError("this file is the baseline:", str(path), "--update writes it")
            if _target(path) in sources:
                raise FgbenchError("this file is read, and would be written over:", str(path), "name another one")
        if self.annotations and output.style != "table" and (output.output is None or _target(output.output) is None):
            raise FgbenchError(
                "--annotations and --format both go to standard output:", output.style, "give --output FILE"
            )

    def write(self, outcome: Outcome, output: OutputOptions, baseline: Path | None) -> list[FgbenchError]:
        """Write all files, and the findings last: the reader of standard output may have gone.

        Args:
            outcome: The findings.
            output: Their format and file.
            baseline: The file that annotations point to.

        Returns:
            What could not be written: the verdict stands all the same.

        """
        from fgbench_reports.regression.annotations import to_annotations
        from fgbench_reports.regression.benchmark_action import to_bigger_is_better, to_smaller_is_better
        from fgbench_reports.regression.benchmark_json import to_benchmark_json
        from fgbench_reports.regression.junit import to_junit

        file = None if baseline is None else str(baseline)
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
        writing.append(partial(_show, outcome, output))
        for write_one in writing:
            try:
                write_one()
            except FgbenchError as error:
                problems.append(error)
        return problems


def _show(outcome: Outcome, output: OutputOptions) -> None:
    from fgbench_reports.regression.terminal import regression_tables
    from fgbench_reports.tables.render import render

    text = render(regression_tables(outcome), output.style, to_file=output.to_file)
    emit_as(output.style, text, output.output)


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
