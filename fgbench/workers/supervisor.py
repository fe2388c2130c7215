"""The other side of workers: start them, ask them, outlive whatever happens to them."""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import IO, Any

from fgbench.errors import CannotMeasureError
from fgbench.workers.channel import Channel, ChannelClosed, Garbage, Message
from fgbench.workers.host import FORK, SWEEPS

# With the path that this process imports from: "-m" would put the working directory before it, and whatever lies there.
BEGIN = (
    "import sys; descriptor, parent, serving, loading, *sys.path = sys.argv[1:]; "
    "from fgbench.workers.host import main; main(int(descriptor), int(parent), serving, loading.split())"
)
START_S = 300.0  # torch from a cold network disk
END_S = 60.0  # at most, between a worker's last word and the news of its end
TICK_S = 5.0  # between looks at whether somebody wants something else
LOOKED_AT = 32768  # bytes at the end of a log that are searched for the reason
KEPT = 2000  # characters of it that are kept with a row
FATAL = "Fatal Python error:"  # begins the report that Python writes when it is killed from inside


class WorkerFailed(Exception):  # noqa: N818  # it is a result of its point
    """A request that has no result. ``status`` is a row's; ``refused`` where the request itself was wrong."""

    def __init__(self, status: str, reason: str, *, refused: bool = False, log: str = "") -> None:
        super().__init__(reason)
        self.status, self.reason, self.refused, self.log = status, reason, refused, excerpt(log)


class WorkerPool:
    """The process that workers are forked from; it is started when the first one is needed, and again if it dies.

    ``serving`` is the module whose ``serve(sock)`` is a worker's life, ``loading`` others that it will want.
    """

    def __init__(self, serving: str = SWEEPS, loading: Sequence[str] = ()) -> None:
        self._serving, self._loading = serving, " ".join(loading)
        self._process: subprocess.Popen[bytes] | None = None
        self._channel: Channel | None = None

    def __enter__(self) -> WorkerPool:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def start(self) -> None:
        """Load the modules in a process of its own. Raises :class:`CannotMeasureError` where that fails."""
        ours, theirs = socket.socketpair()
        log = tempfile.TemporaryFile()  # noqa: SIM115  # it lives as long as the process that writes to it
        words = [sys.executable, "-c", BEGIN, str(theirs.fileno()), str(os.getpid())]
        words += [self._serving, self._loading, *sys.path]
        self._process = subprocess.Popen(
            words,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            pass_fds=[theirs.fileno()],
            start_new_session=True,  # Ctrl-C is for the sweep, which ends its workers itself
        )
        theirs.close()
        self._channel = Channel(ours)
        try:
            self._channel.receive(START_S)
        except (ChannelClosed, Garbage, TimeoutError) as error:
            self.close()
            raise CannotMeasureError(
                "the process that starts workers did not start:", last_line(tail(log)) or None
            ) from error
        finally:
            log.close()

    def fork(self) -> WorkerProcess:
        """A fresh worker. Raises :class:`WorkerFailed` where there is none even from a new host."""
        try:
            return self._fork()
        except (OSError, ChannelClosed, Garbage, KeyError):
            self.close()
        try:
            return self._fork()
        except (OSError, ChannelClosed, Garbage, KeyError) as error:
            self.close()
            raise WorkerFailed("crashed", "no worker can be forked: the process that does it dies") from error

    def _fork(self) -> WorkerProcess:
        if self._process is None or self._process.poll() is not None:
            self.close()
            self.start()
        assert self._channel is not None
        ours, theirs = socket.socketpair()
        log = tempfile.TemporaryFile()  # noqa: SIM115  # it lives as long as the worker
        try:
            socket.send_fds(self._channel.sock, [FORK], [theirs.fileno(), log.fileno()])
            while "ended" in (answer := self._channel.receive(END_S)):
                pass  # late news of a worker before this one
            pid = answer["worker"]
        except BaseException:
            log.close()
            ours.close()
            raise
        finally:
            theirs.close()
        return WorkerProcess(pid, Channel(ours), self._channel, log)

    def close(self) -> None:
        """End the process and its worker."""
        if self._channel is not None:
            self._channel.close()
        if self._process is not None:
            with suppress(ProcessLookupError):
                self._process.kill()  # its worker goes with it
            self._process.wait()
        self._process = self._channel = None


class WorkerProcess:
    """One worker: requests go in, results come out, and if it dies there is a reason."""

    def __init__(self, pid: int, channel: Channel, host: Channel, log: IO[bytes]) -> None:
        self.pid, self._channel, self._host, self._log = pid, channel, host, log
        self._ended = False

    def __enter__(self) -> WorkerProcess:
        return self

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
        """The result of a request; ``tick`` is called every few seconds while it is awaited.

        Raises :class:`WorkerFailed` for a refusal, an exception, a crash, or no result within the limit; only after
        a refusal or an exception can the worker be asked again.
        """
        until = time.monotonic() + limit_s
        try:
            self._channel.send({"do": do, **arguments})
            while "now" in (answer := self._next_answer(until, tick)):
                progress(answer["now"])
        except TimeoutError as error:
            self.kill()
            raise WorkerFailed("timeout", f"no result within {limit_s:g} s", log=self.log()) from error
        except Garbage as error:
            self.kill()
            raise WorkerFailed("crashed", f"the worker answered garbage: {error}", log=self.log()) from error
        except ChannelClosed as error:
            raise WorkerFailed("crashed", self._how_it_ended(), log=self.log()) from error
        if "done" in answer:
            return dict(answer["done"])
        raise WorkerFailed(
            answer.get("failed", "error"),
            answer.get("reason", ""),
            refused=answer.get("refused", False),
            log=self.log(),
        )

    def _next_answer(self, until: float, tick: Callable[[], None]) -> Message:
        while True:
            left = until - time.monotonic()
            ready, _, _ = select.select([self._channel.sock, self._host.sock], [], [], max(0.0, min(left, TICK_S)))
            if self._channel.sock in ready or self._channel.pending:
                return self._channel.receive(max(0.0, left))
            if ready:  # it is dead, though something that it started keeps its channel open
                raise ChannelClosed
            tick()
            if left <= TICK_S and time.monotonic() >= until:
                raise TimeoutError

    def _how_it_ended(self) -> str:
        code = self._end()
        said = last_words(self.log())
        words = "the worker ended in a way that nobody saw" if code is None else describe_exit(code)
        return words + (f"; its last words: {said}" if said else "")

    def kill(self) -> None:
        """End the worker and everything that it started."""
        if not self._ended:
            for end in (os.killpg, os.kill):
                with suppress(ProcessLookupError, PermissionError):
                    end(self.pid, signal.SIGKILL)
            self._end()

    def _end(self) -> int | None:
        """Wait for the news of its end: an exit code, a negative signal, or None where the host is gone as well."""
        if self._ended:
            return None
        self._ended = True
        try:
            return int(self._host.receive(END_S)["ended"])
        except (ChannelClosed, Garbage, KeyError, TimeoutError):
            return None

    def log(self) -> str:
        """The end of what it printed."""
        return tail(self._log)

    def close(self) -> None:
        """End the worker; nothing of it is left behind."""
        self.kill()
        self._channel.close()
        self._log.close()


def describe_exit(code: int) -> str:
    """How a process ended, in words."""
    if code >= 0:
        return f"the worker left with exit code {code}"
    known = {
        signal.SIGKILL: "as the system does when memory runs out",
        signal.SIGSEGV: "a segmentation fault",
        signal.SIGABRT: "an abort",
        signal.SIGBUS: "a bus error",
        signal.SIGFPE: "an arithmetic error",
        signal.SIGILL: "an illegal instruction",
    }
    try:
        name = signal.Signals(-code)
    except ValueError:
        return f"the worker was killed by signal {-code}"
    return f"the worker was killed by {name.name}" + (f" ({known[name]})" if name in known else "")


def tail(log: IO[bytes]) -> str:
    """The last characters of a file that another process writes to."""
    size = os.fstat(log.fileno()).st_size
    return os.pread(log.fileno(), LOOKED_AT, max(0, size - LOOKED_AT)).decode("utf-8", "replace")


def excerpt(log: str) -> str:
    """What is worth keeping of a log: the report of a fatal error from its beginning, or else the end."""
    return log[log.rindex(FATAL) :][:KEPT] if FATAL in log else log[-KEPT:]


def last_words(log: str) -> str:
    """What a process said at its end; of Python's report of a fatal error, where it happened."""
    _, fatal, report = log.rpartition(FATAL)
    frames = [line.strip() for line in report.splitlines() if line.startswith('  File "')] if fatal else []
    return frames[0] if frames else last_line(log)


def last_line(text: str) -> str:
    """The last line that says something, printable and not too long."""
    lines = [line for line in text.splitlines() if line.strip()]
    return "".join(c for c in lines[-1].strip() if c.isprintable())[:200] if lines else ""
