"""Workers seen from outside: start them, ask them, and outlive whatever happens to them."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from typing import IO, Any

from fgbench.errors import CannotMeasureError
from fgbench.results.record_base import STATUSES, Status
from fgbench.workers.forking import FORK
from fgbench.workers.messages import BadMessageError, ConnectionEndedError, Message, Messages

SWEEP = "fgbench.sweep.worker"  # what workers do where no module is named
# With the import path of this process: "-m" would put the working directory before it, and whatever lies there.
START = (
    "import sys; control, parent, module, preload, *sys.path = sys.argv[1:]; "
    "from fgbench.workers.forking import main; main(int(control), int(parent), module, preload)"
)
START_S = 300.0  # torch from a cold network disk
END_S = 60.0  # at most, from a worker's end to its exit code
CLOSED_S = 20.0  # from the end of its connection to its exit code, where it ends by itself
NO_NEWS = (ConnectionEndedError, BadMessageError, KeyError)  # the process that forks is gone as well
TICK_S = 5.0  # between calls of ``tick``
SEARCHED_BYTES = 32768  # at the end of a log, for the reason of an end
EXCERPT_LENGTH = 2000  # characters of a log that are kept with a row
SIGNALS = {
    "SIGKILL": "as the system does when memory runs out",
    "SIGSEGV": "a segmentation fault",
    "SIGABRT": "an abort",
    "SIGBUS": "a bus error",
    "SIGFPE": "an arithmetic error",
    "SIGILL": "an illegal instruction",
}
FATAL = "Fatal Python error:"  # begins the report that Python writes when it is killed by a signal


class WorkerFailed(Exception):  # noqa: N818  # it is the result of a point
    """A request that has no result.

    Attributes:
        status: The status of a row: ``TIMEOUT``, ``CRASHED``, or what the worker says: ``OOM`` or ``ERROR``.
        reason: Why there is no result, in one line.
        refused: Whether the request itself was wrong.
        log: The part of the worker's output that is worth keeping.
    """

    def __init__(self, status: Status, reason: str, *, refused: bool = False, log: str = "") -> None:
        super().__init__(reason)
        self.status, self.reason, self.refused, self.log = status, reason, refused, excerpt(log)


def failure_of(message: Message) -> WorkerFailed:
    """The failure that a message says, which a host of workers has sent on."""
    return WorkerFailed(Status(message["failed"]), str(message["reason"]), refused=message.get("refused") is True)


class WorkerPool(AbstractContextManager["WorkerPool"]):
    """Forks workers, one at a time, from a process that has their modules loaded.

    The process is started with the first worker, again where it died, and ends with the pool.

    Args:
        module: Module whose ``serve(messages)`` is what a worker does.
        preload: Other modules that workers need.
    """

    def __init__(self, module: str = SWEEP, preload: Sequence[str] = ()) -> None:
        self._module, self._preload = module, " ".join(preload)
        self._process: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None

    def __exit__(self, *_: object) -> None:
        self.close()

    def start(self) -> None:
        """Load the modules in a process of their own.

        Raises:
            CannotMeasureError: The process does not start, with its last line.
        """
        self._control, theirs = socket.socketpair()
        with tempfile.TemporaryFile() as log:
            with theirs:
                self._process = self._start_process(theirs, log)
            try:
                Messages(self._control).receive(START_S)
            except (ConnectionEndedError, BadMessageError, TimeoutError) as error:
                self.close()
                reason = last_line(tail(log)) or None
                raise CannotMeasureError("the process that starts workers did not start:", reason) from error

    def _start_process(self, control: socket.socket, log: IO[bytes]) -> subprocess.Popen[bytes]:
        words = [str(control.fileno()), str(os.getpid()), self._module, self._preload, *sys.path]
        return subprocess.Popen(
            [sys.executable, "-c", START, *words],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            pass_fds=[control.fileno()],
            start_new_session=True,  # Ctrl-C is for this process, which ends its workers itself
        )

    def fork(self) -> Worker:
        """Fork a fresh worker, with the working directory and the import path of this process.

        Raises:
            WorkerFailed: The process that forks dies, even when it is started again.
            CannotMeasureError: The process that forks cannot be started.
        """
        for _ in range(2):
            try:
                return self._fork()
            except (OSError, *NO_NEWS) as error:
                cause = error
                self.close()
        raise WorkerFailed(Status.CRASHED, "no worker can be forked: the process that does it dies") from cause

    def _fork(self) -> Worker:
        if self._process is None or self._process.poll() is not None:
            self.close()
            self.start()
        assert self._control is not None
        folder = None
        with suppress(OSError):  # it was removed
            folder = os.getcwd()  # noqa: PTH109  # it is sent as text
        with ExitStack() as ours, ExitStack() as theirs:
            log = ours.enter_context(tempfile.TemporaryFile())
            pairs = [socket.socketpair() for _ in range(2)]
            messages, status = (Messages(ours.enter_context(here)) for here, _ in pairs)
            descriptors = [theirs.enter_context(there).fileno() for _, there in pairs]
            socket.send_fds(self._control, [FORK], [*descriptors, log.fileno()])
            theirs.close()
            pid = int(status.receive(END_S)["pid"])
            messages.send({"folder": folder, "path": sys.path}, END_S)
            return Worker(pid, messages, status, log, ours.pop_all())

    def close(self) -> None:
        """End the process and its worker."""
        if self._control is not None:
            self._control.close()
        if self._process is not None:
            self._process.terminate()  # it kills its worker, and what that started
            try:
                self._process.wait(END_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._process = self._control = None


class Worker(AbstractContextManager["Worker"]):
    """A worker process; :class:`WorkerPool` makes them."""

    def __init__(self, pid: int, messages: Messages, status: Messages, log: IO[bytes], opened: ExitStack) -> None:
        self.pid, self._messages, self._status, self._log, self._opened = pid, messages, status, log, opened
        self._ended = False

    def __exit__(self, *_: object) -> None:
        self.close()

    def ask(
        self,
        do: str,
        limit_s: float,
        progress: Callable[[Message], None] = lambda _: None,
        tick: Callable[[], None] = lambda: None,
        **arguments: Any,
    ) -> Message:
        """Send a request and wait for its result. After a refusal or an exception the worker can be asked again.

        Args:
            do: Name of the request.
            limit_s: Seconds that it may take.
            progress: Called with every figure so far that the worker sends.
            tick: Called every few seconds.
            **arguments: Fields of the request, as JSON has them.

        Raises:
            WorkerFailed: A refusal, an exception, a crash, garbage, or no result within the limit.
        """
        until = time.monotonic() + limit_s
        try:
            self._messages.send({"do": do, **arguments}, limit_s)
            while isinstance((answer := self._next_answer(until, tick)).get("now"), dict):
                progress(answer["now"])
            return self._result(answer)
        except TimeoutError:
            status, reason = Status.TIMEOUT, f"no result within {limit_s:g} s"
        except BadMessageError as error:
            status, reason = Status.CRASHED, f"the worker answered garbage: {error}"
        except ConnectionEndedError:
            status, reason = Status.CRASHED, self._how_it_ended()
        self.kill()
        raise WorkerFailed(status, reason, log=self.log())

    def _next_answer(self, until: float, tick: Callable[[], None]) -> Message:
        while (left_s := until - time.monotonic()) > 0:
            with suppress(TimeoutError):
                return self._messages.receive(min(left_s, TICK_S), self._status)
            tick()
        raise TimeoutError

    def _result(self, answer: Message) -> Message:
        if isinstance(answer.get("done"), dict):
            return dict(answer["done"])
        status, reason = answer.get("failed"), answer.get("reason")
        if status in STATUSES and isinstance(reason, str):
            raise WorkerFailed(Status(status), reason, refused=answer.get("refused") is True, log=self.log())
        raise BadMessageError(repr(answer)[:80])

    def _how_it_ended(self) -> str:
        try:
            words = describe_exit(self._wait(CLOSED_S))
        except TimeoutError:
            words = "the worker closed its connection, and was killed"
        except NO_NEWS:
            words = "the worker ended in a way that nobody saw"
        said = last_words(self.log())
        return words + (f"; its last words: {said}" if said else "")

    def kill(self) -> None:
        """End the worker and everything that it started."""
        if not self._ended:
            for end in (os.killpg, os.kill):
                with suppress(ProcessLookupError, PermissionError):
                    end(self.pid, signal.SIGKILL)
            with suppress(TimeoutError, *NO_NEWS):
                self._wait(END_S)
            self._ended = True

    def _wait(self, timeout_s: float) -> int:
        """Wait for the exit code, which is negative for a signal; raises what ``receive`` does."""
        code = self._status.receive(timeout_s)["exit_code"]
        self._ended = True
        return int(code)

    def log(self) -> str:
        """The end of what the worker printed."""
        return tail(self._log)

    def close(self) -> None:
        """End the worker; nothing of it is left behind."""
        self.kill()
        self._opened.close()


PoolFor = Callable[[str, Sequence[str]], WorkerPool]


_shared: list[PoolFor] = []  # of the outermost shared_pools; empty outside of all


@contextmanager
def shared_pools() -> Iterator[PoolFor]:
    """Give a function that returns the pool of a module and its preloaded modules.

    Each pool is made when it is first asked for; contexts inside this one share it, and it ends with this one.
    """
    if _shared:
        yield _shared[0]
        return
    pools: dict[tuple[str, tuple[str, ...]], WorkerPool] = {}
    with ExitStack() as stack:

        def pool_for(module: str, preload: Sequence[str]) -> WorkerPool:
            key = module, tuple(preload)
            if key not in pools:
                pools[key] = stack.enter_context(WorkerPool(*key))
            return pools[key]

        _shared.append(pool_for)
        stack.callback(_shared.clear)
        yield pool_for


def describe_exit(code: int) -> str:
    """Say in words how a process ended, by its exit code, which is negative for a signal."""
    if code >= 0:
        return f"the worker left with exit code {code}"
    names = {each.value: each.name for each in signal.Signals}
    name = names.get(-code, f"signal {-code}")
    return f"the worker was killed by {name}" + (f" ({SIGNALS[name]})" if name in SIGNALS else "")


def tail(log: IO[bytes]) -> str:
    """The end of a file that another process writes to."""
    size = os.fstat(log.fileno()).st_size
    return os.pread(log.fileno(), SEARCHED_BYTES, max(0, size - SEARCHED_BYTES)).decode("utf-8", "replace")


def excerpt(log: str) -> str:
    """The part of a log that is kept: the report of a fatal error from its beginning, or else the end."""
    return log[log.rindex(FATAL) :][:EXCERPT_LENGTH] if FATAL in log else log[-EXCERPT_LENGTH:]


def last_words(log: str) -> str:
    """The last line of a log; of Python's report of a fatal error, where it happened."""
    _, fatal, report = log.rpartition(FATAL)
    frames = [line.strip() for line in report.splitlines() if line.startswith('  File "')] if fatal else []
    return frames[0] if frames else last_line(log)


def last_line(text: str) -> str:
    """The last line that is not empty, printable and not too long."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return "".join(c for c in lines[-1] if c.isprintable())[:300] if lines else ""
