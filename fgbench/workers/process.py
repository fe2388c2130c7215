"""One process that answers request after request, for work that lasts hours and writes large files, as training does.

Workers of :mod:`fgbench.workers.pool` are forked, fresh and bounded, for code that may break; this one is started anew
and keeps what it has loaded.
"""

from __future__ import annotations

import faulthandler
import importlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, suppress
from typing import Any

from fgbench.errors import FgbenchError
from fgbench.results.records import Status
from fgbench.workers.forking import die_with
from fgbench.workers.messages import BadMessageError, ConnectionEndedError, Message, Messages
from fgbench.workers.pool import WorkerFailed, describe_exit, last_words, tail
from fgbench_selectors.plugins import describe

# With the import path of this process: "-m" would put the working directory before it, and whatever lies there.
START = (
    "import sys; descriptor, parent, module, *sys.path = sys.argv[1:]; "
    "from fgbench.workers.process import main; main(int(descriptor), int(parent), module)"
)
END_S = 30.0  # at most, from the signal to the exit code

Tell = Callable[[Message], None]
Requests = Mapping[str, Callable[..., Message]]  # functions (tell, **fields) → result


class Process(AbstractContextManager["Process"]):
    """A process that answers requests. It is started with the first one, and again where it died.

    Args:
        module: The module whose ``REQUESTS`` it answers: functions by name, which take a function that tells how far
            they are, and the fields of the request.
        environment: Variables that it has beside those of this process.
    """

    def __init__(self, module: str, environment: Mapping[str, str] | None = None) -> None:
        self._module, self._environment = module, dict(environment or {})
        self._process: subprocess.Popen[bytes] | None = None
        self._messages: Messages | None = None
        self._log = tempfile.TemporaryFile()  # noqa: SIM115  # it is closed with the process

    def __exit__(self, *_: object) -> None:
        self.close()

    def ask(self, do: str, tell: Tell = lambda _: None, **fields: Any) -> Message:
        """Send a request, and wait for its result for as long as it takes.

        Args:
            do: The name of the request.
            tell: Receives how far it is.
            fields: The fields of the request, as JSON has them.

        Raises:
            WorkerFailed: A refusal, an exception, or the end of the process.

        """
        messages = self._started()
        try:
            messages.send({"do": do, **fields})
            while isinstance((answer := messages.receive()).get("now"), dict):
                tell(answer["now"])
        except (ConnectionEndedError, BadMessageError) as error:
            reason = (
                self._how_it_ended() if isinstance(error, ConnectionEndedError) else f"it answered garbage: {error}"
            )
            log = tail(self._log)
            self.end()
            raise WorkerFailed(Status.CRASHED, reason, log=log) from error
        if isinstance(answer.get("done"), dict):
            return dict(answer["done"])
        status, refused = Status(answer["failed"]), answer.get("refused") is True
        raise WorkerFailed(status, str(answer["reason"]), refused=refused, log=tail(self._log))

    def _started(self) -> Messages:
        if self._messages is None or self._process is None or self._process.poll() is not None:
            self.end()
            ours, theirs = socket.socketpair()
            with theirs:
                self._process = subprocess.Popen(
                    [sys.executable, "-c", START, str(theirs.fileno()), str(os.getpid()), self._module, *sys.path],
                    stdin=subprocess.DEVNULL,
                    stdout=self._log,
                    stderr=self._log,
                    pass_fds=[theirs.fileno()],
                    env={**os.environ, **self._environment},
                    start_new_session=True,  # Ctrl-C is for the process that asks
                )
            self._messages = Messages(ours)
        return self._messages

    def _how_it_ended(self) -> str:
        assert self._process is not None
        try:
            words = describe_exit(self._process.wait(END_S))
        except subprocess.TimeoutExpired:
            words = "the worker closed its connection, and was killed"
        said = last_words(tail(self._log))
        return words + (f"; its last words: {said}" if said else "")

    def end(self) -> None:
        """Kill the process and all that it started; the next request starts another one."""
        if self._process is not None:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        if self._messages is not None:
            self._messages.close()
        self._process = self._messages = None

    def close(self) -> None:
        """End for good."""
        self.end()
        self._log.close()


def main(descriptor: int, parent: int, module: str) -> None:
    """Answer requests until the connection ends.

    Args:
        descriptor: Of the socket that requests come on.
        parent: Number of the process that asks; this one dies with it.
        module: The module whose ``REQUESTS`` are answered.
    """
    die_with(parent)
    faulthandler.enable()
    os.set_inheritable(descriptor, False)  # a program that this one starts must not keep it open
    messages = Messages(socket.socket(fileno=descriptor))
    requests: Requests = importlib.import_module(module).REQUESTS
    with suppress(ConnectionEndedError):
        while True:
            messages.send(_answer(requests, messages, **messages.receive()))


def _answer(requests: Requests, messages: Messages, do: str, **fields: Any) -> Message:
    try:
        return {"done": requests[do](lambda now: messages.send({"now": now}), **fields)}
    except ConnectionEndedError:
        raise
    except BaseException as error:  # sys.exit in a plug-in as well
        traceback.print_exc()  # into the log
        known = isinstance(error, FgbenchError)
        return {"failed": Status.ERROR, "reason": str(error) if known else describe(error), "refused": known}
