"""The process that forks workers, and how a worker begins: all modules are loaded once, and every worker is fresh.

The process never touches a GPU, runs no operator and loads no plug-in, so that a worker finds everything as after an
import. ``multiprocessing.forkserver`` does not serve here. It looks for modules in the working directory first, ignores
an import that fails, prints to the terminal and takes its Ctrl-C, collects a worker's exit code before the worker's
children can be killed by its number, leaves its own descriptors open in workers, and a worker and its server keep each
other alive when the program above them is killed.
"""

from __future__ import annotations

import contextlib
import ctypes
import faulthandler
import importlib
import os
import resource
import signal
import socket
import sys
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path

from fgbench.workers.messages import ConnectionEndedError, Message, Messages
from fgbench_selectors.interrupts import interrupts_noted
from fgbench_selectors.plugins import describe

FORK = b"f"  # the request for a worker; three descriptors come with it: the worker's messages, its end, its log
PR_SET_PDEATHSIG = 1
FILE_BYTES = 256 * 2**20  # that foreign code may write to one file; what it prints goes to one, too


def main(control: int, parent: int, module: str, preload: str) -> None:
    """Load modules, say so, and fork a worker at every request until the connection ends.

    Args:
        control: Descriptor of the socket that requests come on.
        parent: Number of the process that asks; this one dies with it.
        module: Module whose ``serve(messages)`` is what a worker does.
        preload: Other modules that workers need, separated by spaces.
    """
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    die_with(parent, signal.SIGTERM)
    requests = socket.socket(fileno=control)
    serve = importlib.import_module(module).serve
    for name in preload.split():
        importlib.import_module(name)
    Messages(requests).send({"ready": os.getpid()})
    while True:
        request, descriptors, *_ = socket.recv_fds(requests, 1, 3)
        if request != FORK or len(descriptors) != 3:
            return
        _run_worker(requests, serve, *descriptors)


def _run_worker(
    requests: socket.socket, serve: Callable[[Messages], None], messages: int, status: int, log: int
) -> None:
    """Fork a worker and wait for its end; its number and then its exit code are sent on ``status``."""
    this_process = os.getpid()
    pid = os.fork()
    if pid == 0:
        try:
            requests.close()
            os.close(status)
            _become_worker(this_process, log)
            os.set_inheritable(messages, False)  # a program that the worker starts must not keep it open
            asked = Messages(socket.socket(fileno=messages))
            place = asked.receive()
            if place["folder"] is not None:
                os.chdir(place["folder"])
            sys.path[:] = place["path"]
            serve(asked)
        except ConnectionEndedError:  # the main process is gone
            pass
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)  # whatever its threads still do

    def kill_all(*_: object) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(pid, signal.SIGKILL)

    def end(*_: object) -> None:
        kill_all()
        os._exit(1)

    signal.signal(signal.SIGTERM, end)  # the parent has died
    os.close(messages)
    os.close(log)
    with contextlib.closing(Messages(socket.socket(fileno=status))) as news, contextlib.suppress(ConnectionEndedError):
        news.send({"pid": pid})
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)  # it is dead, and its number is still its own
        kill_all()  # and so is everything that it started
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        _, ended = os.waitpid(pid, 0)
        news.send({"exit_code": os.waitstatus_to_exitcode(ended)})


def die_with(parent: int, by: signal.Signals = signal.SIGKILL) -> None:
    """Let the system send this process a signal when its parent dies, however that happens (Linux)."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, by)
    if os.getppid() != parent:  # it died before the line above
        os._exit(1)


def _become_worker(parent: int, log: int) -> None:
    """Take a session of its own, die with the parent, be killed first where memory runs out, print to the log."""
    os.setsid()
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    die_with(parent)
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000", encoding="ascii")
    nothing = os.open(os.devnull, os.O_RDONLY)
    for descriptor, stream in ((nothing, 0), (log, 1), (log, 2)):
        os.dup2(descriptor, stream)
    os.close(nothing)
    os.close(log)
    faulthandler.enable()


def bound_files() -> None:
    """Have this process write no large file."""
    _, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (FILE_BYTES if most < 0 else min(FILE_BYTES, most), most))


def serve_one(messages: Messages, requests: Mapping[str, Callable[..., Message]]) -> None:
    """Answer one request by foreign code, and end. A copy of the process that such code forks does not answer.

    Args:
        messages: The connection to the process that asks.
        requests: Functions by the name of the request; they take its other fields.
    """
    this_process = os.getpid()
    bound_files()
    request = messages.receive()
    answer: Message
    try:
        with interrupts_noted():
            answer = {"done": requests[request.pop("do")](**request)}
    except BaseException as error:
        answer = {"failed": "error", "reason": describe(error)}
    if os.getpid() == this_process:
        messages.send(answer)
    os._exit(0)
