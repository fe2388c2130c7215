"""What a node does for a cluster: it measures and trains with processes of its own, as one machine does by itself.

The driver asks one thing at a time, and takes its news until it is done. A thread that lives as long as the host does
the work: the system ends processes with the thread that started them.
"""

from __future__ import annotations

import os
import tempfile
import traceback
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, cast

from fgbench.cluster.code import whole_code
from fgbench.cluster.kept_rows import KeptRows
from fgbench.cluster.travel import Files, content_of, unpack, unpack_message
from fgbench.errors import FgbenchError, LeftOutNotice
from fgbench.measure.points import PointGroup
from fgbench.results.environment import NODE
from fgbench.results.records import Status
from fgbench.sweep.context import SweepContext, open_sweep
from fgbench.sweep.parts import read_by
from fgbench.sweep.request import SweepRequest
from fgbench.sweep.selector_request import SelectionRequest
from fgbench.sweep.selector_sweep import SelectorSweep
from fgbench.sweep.sweep import Event, Sweep
from fgbench.workers.messages import Message
from fgbench.workers.pool import WorkerFailed, WorkerPool
from fgbench.workers.process import Process
from fgbench_selectors.plugins import describe

if TYPE_CHECKING:
    from fgbench.results.store import Store


class Host:
    """Answers one request at a time by :meth:`start` and :meth:`news`.

    Args:
        node: Its name, for rows.
        environment: Variables of the driver that change how many threads are used; None: it is not set there.
        by_gpu: Whether it has a GPU; another one may be there, and is somebody else's.

    """

    def __init__(self, node: str, environment: Mapping[str, str | None], *, by_gpu: bool) -> None:
        for name, value in environment.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value
        os.environ[NODE] = node
        if not by_gpu:
            os.environ["CUDA_VISIBLE_DEVICES"] = ""
        self._thread = ThreadPoolExecutor(1)
        self._news: SimpleQueue[Message] = SimpleQueue()
        self._pool: WorkerPool | None = None
        self._context: SweepContext | None = None
        self._selectors: SelectorSweep | None = None
        self._process: Process | None = None
        self._module = ""

    def about(self) -> Message:
        """The code of fgbench here, and its version."""
        return whole_code()

    def start(self, do: str, fields: Mapping[str, Any]) -> None:
        """Begin a request: one of :data:`REQUESTS` by its name."""
        self._thread.submit(self._work, do, fields)

    def news(self, wait_s: float) -> list[Message]:
        """Wait for news; all that there is, or nothing after so many seconds."""
        news: list[Message] = []
        with suppress(Empty):
            news.append(self._news.get(timeout=wait_s))
            while True:
                news.append(self._news.get_nowait())
        return news

    def _work(self, do: str, fields: Mapping[str, Any]) -> None:
        try:
            answer: Message = {"done": REQUESTS[do](self, **fields)}
        except WorkerFailed as failure:
            answer = {"failed": failure.status, "reason": failure.reason, "refused": failure.refused}
        except BaseException as error:
            known = isinstance(error, FgbenchError)
            if not known:
                traceback.print_exc()  # into the log of the node
            answer = {"failed": Status.ERROR, "reason": str(error) if known else describe(error), "refused": known}
        self._news.put(answer)

    def tell(self, **now: Any) -> None:
        """Tell how far the work is."""
        self._news.put({"now": now})

    @property
    def pool(self) -> WorkerPool:
        """Workers of sweeps; their process starts with the first one."""
        if self._pool is None:
            self._pool = WorkerPool()
        return self._pool

    def open_sweep(self, request: SweepRequest, files: Files) -> Message:
        """Describe the engines on this node, and check the request against them."""
        problems: list[Message] = []
        request = replace(unpack(request, files), again=False, retry=False, budget_s=None)
        context = open_sweep(request, self.pool, lambda error: problems.append(as_message(error)))
        self._context = context
        return {
            "platforms": context.platforms,
            "cases": list(dict.fromkeys(group.case for group in context.groups)),
            "batch_sizes": context.batch_sizes,
            "pictures": context.pictures,
            "read_by": read_by() if request.end_to_end is not None else None,
            "problems": problems,
        }

    def measure(self, group: PointGroup, batch_sizes: Sequence[int], known: Mapping[str, Message]) -> Message:
        """Measure the points of a group; every row is told at once.

        Args:
            group: The group.
            batch_sizes: Images of its points.
            known: Rows by their keys: points of which only parts are wanted.

        """
        assert self._context is not None, "open_sweep comes first"
        context = replace(self._context, groups=[group], batch_sizes=tuple(batch_sizes))
        dropped: list[str] = []

        def progress(event: Event) -> None:
            if event.row is None:
                self.tell(what=event.what, latency_s=event.latency_s)

        Sweep(
            context=context,
            store=cast("Store", KeptRows(known, lambda *row: self.tell(row=row))),
            pool=self.pool,
            tell=progress,
            on_problem=lambda error: dropped.append(str(error)),
        ).run()
        return {"dropped": dropped}

    def open_selection(self, request: SelectionRequest, files: Files) -> Message:
        """Describe this node for selectors by themselves: the points of a request with their keys."""
        problems: list[Message] = []
        self._selectors = SelectorSweep(
            request=replace(unpack(request, files), again=False, retry=False),
            store=cast("Store", KeptRows({}, lambda *row: self.tell(row=row))),
            pool=self.pool,
            on_problem=lambda error: problems.append(as_message(error)),
        )
        return {"points": self._selectors.keys(), "problems": problems}

    def measure_selection(self, number: int) -> Message:
        """Measure a selector by itself, or a kernel: the point of this number."""
        assert self._selectors is not None, "open_selection comes first"
        problems: list[str] = []
        self._selectors.on_problem = lambda error: problems.append(str(error))
        self._selectors.measure(self._selectors.points[number])
        return {"problems": problems}

    def train(
        self, module: str, do: str, request: Message, files: Files, known: bytes | None, **fields: Any
    ) -> Message:
        """Have a process of trainings answer a request, with a store of its own, whose content is told.

        Args:
            module: The module whose ``REQUESTS`` it answers.
            do: The request.
            request: What is trained, as a message.
            files: That it names.
            known: A store with rows that the driver has.
            **fields: The other fields of the request.

        """
        if self._process is None or self._module != module:
            self._process, self._module = Process(module), module
        process = self._process
        with tempfile.TemporaryDirectory(prefix="fgbench-store-") as folder:
            store = Path(folder) / "rows.db"
            if known is not None:
                store.write_bytes(known)

            def tell(now: Message) -> None:
                self.tell(**now, **({"store": content_of(store)} if "epoch" in now else {}))

            try:
                answer = process.ask(do, tell, request=unpack_message(request, files), store=str(store), **fields)
            except WorkerFailed:
                if store.exists():
                    self.tell(store=content_of(store))  # rows of runs that were finished before
                raise
            except BaseException:
                process.end()  # it may still answer, and the next request would take that for its own
                raise
            return {**answer, "store": content_of(store)}


def train_together(host: Host, processes: int, by_gpu: bool, needs: dict[str, float], **config: Any) -> Message:
    """Have several processes answer a request of trainings: see :func:`fgbench.cluster.together.train_together`."""
    from fgbench.cluster.together import train_together as train  # Ray is loaded there

    return train(lambda now: host.tell(**now), processes, by_gpu, config, needs)


def as_message(error: FgbenchError) -> Message:
    """A problem that does not end the work, as a message."""
    return {"text": str(error), "notice": isinstance(error, LeftOutNotice)}


REQUESTS: dict[str, Callable[..., Message]] = {
    "open_sweep": Host.open_sweep,
    "measure": Host.measure,
    "open_selection": Host.open_selection,
    "measure_selection": Host.measure_selection,
    "train": Host.train,
    "train_together": train_together,
}
