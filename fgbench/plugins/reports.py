"""Reports by name: made and drawn in this process, those of plug-ins in a worker each. No torch.

A plug-in that breaks, hangs or ends its process is named, and all other reports are made.
"""

from __future__ import annotations

import itertools
import json
import pickle
import tempfile
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

from fgbench.errors import BrokenPluginError, OnProblem
from fgbench.plugins import outcomes
from fgbench.plugins.kinds import reports
from fgbench.plugins.trial import failure_in_words, limit_s
from fgbench.workers.forking import serve_one
from fgbench.workers.messages import Message, Messages
from fgbench.workers.pool import WorkerFailed, WorkerPool, shared_pools
from fgbench_reports import report as contract
from fgbench_reports.data import Data
from fgbench_reports.folder import Made, Rendered, rendered
from fgbench_selectors.entries import Entry

# Order of the built-in reports in a folder of reports; those of plug-ins come last.
ORDER = (
    *("accuracy_vs_cost", "differences", "studies", "equal-cost", "keep-rate", "tradeoff", "memory", "price"),
    *("cost", "flops", "selections", "roofline", "batch", "energy", "throughput", "parts", "engines", "ratios"),
    *("selector_quality", "curves"),
    *("literature", "table1", "table2", "table3", "table4", "table5", "table6", "table7", "table8", "table9"),
    *("table10", "table11", "table12", "table13", "table14", "table15"),
)

MOST_ITEMS = 1000  # tables and figures of one report
PRELOADED = ("pandas", "matplotlib.figure", "fgbench_reports.page.page")  # modules that workers for reports start with


def in_reading_order(names: Iterable[str]) -> list[str]:
    """Names of reports in the order of a folder of reports."""
    return sorted(names, key=lambda name: (ORDER.index(name) if name in ORDER else len(ORDER), name))


def make_reports(names: Sequence[str] | None, data: Data, on_problem: OnProblem, *, drawn: bool = False) -> list[Made]:
    """Make reports of saved rows.

    In the context :func:`fgbench.plugins.tried_first` reports of plug-ins are made in processes of their own.

    Args:
        names: Names of reports; all by default.
        data: The saved rows.
        on_problem: Gets the error of a plug-in that breaks; its report is left out.
        drawn: Whether reports of plug-ins are drawn too, in their process.

    Returns:
        Titles, tables and figures of the reports, in the order of the names.

    Raises:
        UnknownNameError: If a name is not registered.

    """
    made = []
    with ReportWorkers(data, drawn=drawn) as workers:
        wanted = in_reading_order(reports.names()) if names is None else names
        for name in dict.fromkeys(reports.entry(name).name for name in wanted):
            entry = reports.entry(name)
            try:
                in_process = entry.is_own or outcomes() is None or not (entry.value or entry.file)
                made.append(_make(name, data) if in_process else workers.make(entry))
            except BrokenPluginError as error:
                on_problem(error)
    return made


def _make(name: str, data: Data) -> Made:
    report_class = reports.load(name)
    with reports.blame(name):
        items = list(itertools.islice(report_class().items(data), MOST_ITEMS + 1))
        if len(items) > MOST_ITEMS:
            raise ValueError(f"it has more than {MOST_ITEMS} tables and figures")
        if why := contract.items_breach(items):
            raise TypeError(why)
        description = (report_class.__doc__ or "").strip().partition("\n")[0].rstrip(".")
        title = report_class.title or description or name
        return Made(name=name, title=title, summary="" if title == description else description, items=items)


def render_reports(made: Sequence[Made], on_problem: OnProblem) -> list[Rendered]:
    """Draw figures and write tables, unless a worker has done it.

    Args:
        made: Results of :func:`make_reports`.
        on_problem: Gets the error of a plug-in that breaks; its report is left out.

    """
    results = []
    for report in made:
        try:
            with reports.blame(report.name):
                results.append(report.rendered or rendered(report))
        except BrokenPluginError as error:
            on_problem(error)
    return results


class ReportWorkers:
    """Workers that make reports of plug-ins from the same data; the first one starts with the first report.

    Args:
        data: The saved rows.
        drawn: Whether workers draw figures too, as files.

    """

    def __init__(self, data: Data, *, drawn: bool) -> None:
        self._data, self._drawn = data, drawn
        self._stack = ExitStack()
        self._pool: WorkerPool | None = None
        self._file = Path()

    def __enter__(self) -> ReportWorkers:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def make(self, entry: Entry) -> Made:
        """Make one report in a worker.

        Raises:
            BrokenPluginError: With the reason, also where the worker ended without an answer.

        """
        from fgbench_reports.plain import from_plain

        if self._pool is None:
            folder = self._stack.enter_context(tempfile.TemporaryDirectory(prefix="fgbench-report-"))
            self._file = Path(folder) / "data"
            self._file.write_bytes(pickle.dumps(self._data))
            self._pool = self._stack.enter_context(shared_pools())(__name__, PRELOADED)
        limit = limit_s()
        file = None if entry.file is None else str(entry.file)
        try:
            with self._pool.fork() as worker:
                request: Message = {
                    "name": entry.name,
                    "file": file,
                    "data": str(self._file),
                    "drawn": self._drawn,
                }
                answer = worker.ask("make", limit, **request)
            if "why" not in answer:
                return replace(from_plain(answer["made"]), name=entry.name)
            why = str(answer["why"])
        except WorkerFailed as failure:
            why = failure_in_words(failure, f"it is not made within {limit:g} s")
        except (AttributeError, KeyError, TypeError, ValueError):
            why = "it wrote over what was made"
        raise BrokenPluginError(entry.name, entry.origin, why)


def serve(messages: Messages) -> None:
    """Answer one request for a report, and end. This runs in a worker."""
    serve_one(messages, {"make": make_in_worker})


def make_in_worker(*, name: str, file: str | None, data: str, drawn: bool) -> Message:
    """Make one report of a plug-in in this process, which is a worker.

    Args:
        name: Name of the report.
        file: The plug-in file that defines it; None for an entry point.
        data: Path of the pickled rows.
        drawn: Whether figures are drawn too.

    Returns:
        ``{"made": …}`` with the report as plain data, or ``{"why": …}`` with the reason why there is none.

    """
    from fgbench.plugins.files import add_plugin_files
    from fgbench_reports.plain import to_plain
    from fgbench_reports.plots.style import import_seaborn_alone

    problems: list[Any] = []
    saved: Data = pickle.loads(Path(data).read_bytes())  # written by this program
    if file is not None:
        add_plugin_files([file], problems.append)
    if drawn:
        import_seaborn_alone()
    made = [] if problems else make_reports([name], saved, problems.append)
    results = render_reports(made, problems.append) if drawn else [None]
    if problems:
        return {"why": problems[0].why}
    plain = to_plain(replace(made[0], rendered=results[0]))
    json.dumps(plain, ensure_ascii=False).encode()  # raises for half a surrogate pair, which no file can hold
    return {"made": plain}
