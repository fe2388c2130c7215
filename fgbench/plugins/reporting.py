"""Reports of others are made and drawn in workers, one each: whatever they do, the other reports are made."""

from __future__ import annotations

import json
import pickle
import tempfile
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fgbench.errors import BrokenPluginError
from fgbench.plugins.trial import LOADED_FOR_REPORTS, failure_in_words, limit_s
from fgbench.workers.forking import serve_one
from fgbench.workers.messages import Message, Messages
from fgbench.workers.pool import WorkerFailed, WorkerPool, shared_pools

if TYPE_CHECKING:
    from fgbench_reports.data import Data
    from fgbench_reports.folder import Made
    from fgbench_selectors.entries import Entry


class Desk:
    """Where reports of others are made of the same data; workers are started with the first one.

    ``drawn``: with their figures, as files.
    """

    def __init__(self, data: Data, *, drawn: bool) -> None:
        self._data, self._drawn = data, drawn
        self._stack = ExitStack()
        self._forks: WorkerPool | None = None
        self._file = Path()

    def __enter__(self) -> Desk:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def make(self, entry: Entry) -> Made:
        """What a report makes of the data. Raises :class:`BrokenPluginError`, with how its worker ended, too."""
        from fgbench_reports.plain import from_plain

        if self._forks is None:
            folder = self._stack.enter_context(tempfile.TemporaryDirectory(prefix="fgbench-report-"))
            self._file = Path(folder) / "data"
            self._file.write_bytes(pickle.dumps(self._data))
            self._forks = self._stack.enter_context(shared_pools())(__name__, LOADED_FOR_REPORTS)
        limit = limit_s()
        file = None if entry.file is None else str(entry.file)
        try:
            with self._forks.fork() as worker:
                asked: Message = {
                    "name": entry.name,
                    "file": file,
                    "data": str(self._file),
                    "drawn": self._drawn,
                }
                answer = worker.ask("make", limit, **asked)
            if "why" not in answer:
                return replace(from_plain(answer["made"]), name=entry.name)
            why = str(answer["why"])
        except WorkerFailed as failure:
            why = failure_in_words(failure, f"it is not made within {limit:g} s")
        except (AttributeError, KeyError, TypeError, ValueError):
            why = "it wrote over what was made"
        raise BrokenPluginError(entry.name, entry.origin, why)


def serve(messages: Messages) -> None:
    """Answer one request for a report, and end."""
    serve_one(messages, {"make": make})


def make(*, name: str, file: str | None, data: str, drawn: bool) -> Message:
    """A report that is made, and drawn, here: ``{"made": …}`` as plain data, or ``{"why": …}`` there is none."""
    from fgbench.plugins.files import add_plugin_files
    from fgbench.plugins.reports import make_reports, render_reports
    from fgbench_reports.plain import to_plain
    from fgbench_reports.plots.style import import_seaborn_alone

    broken: list[Any] = []
    saved: Data = pickle.loads(Path(data).read_bytes())  # this program wrote it
    if file is not None:
        add_plugin_files([file], broken.append)
    if drawn:
        import_seaborn_alone()
    made = [] if broken else make_reports([name], saved, broken.append)
    parts = render_reports(made, broken.append) if drawn else [None]
    if broken:
        return {"why": broken[0].why}
    plain = to_plain(replace(made[0], rendered=parts[0]))
    json.dumps(plain, ensure_ascii=False).encode()  # raises for half a character, which no file takes
    return {"made": plain}
