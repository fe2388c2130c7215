"""Whole processes without the ten seconds that torch takes to load: forked from one that has it loaded.

What is forked is a process as any other: ``python -m MODULE`` with arguments, environment, folder, streams, signals and
an end of its own. Only what it would import is there already, so what tests the start itself starts a new interpreter.

    python warm_process.py SOCKET PARENT        the process that forks
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import importlib
import json
import os
import runpy
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO

LOADED = ("torch", "torchvision", "timm", "accelerate", "pandas", "fgbench.cli.program", "fgbench.training.training")
LONGEST = 2**17  # bytes of one request, environment included


class WarmHost:
    """The process that is forked from; it is started with the first one that is wanted, and ends with the tests."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._sock: socket.socket

    def __enter__(self) -> WarmHost:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            self._sock.close()
            self._process.wait()

    def start(
        self,
        *words: str,
        module: str = "fgbench",
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
    ) -> WarmProcess:
        """``python -m MODULE WORDS…``, whose streams are pipes."""
        if self._process is None:
            self._sock, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            path = os.pathsep.join(filter(None, sys.path))
            self._process = subprocess.Popen(
                [sys.executable, __file__, str(theirs.fileno()), str(os.getpid())],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
                start_new_session=True,  # Ctrl-C is for the tests, with which all of it ends
            )
            theirs.close()
        asked = {"module": module, "words": words, "cwd": str(cwd or Path.cwd()), "env": dict(env or os.environ)}
        told, theirs = socket.socketpair()
        out, write_out = os.pipe()
        err, write_err = os.pipe()
        socket.send_fds(self._sock, [json.dumps(asked).encode()], [theirs.fileno(), write_out, write_err])
        for descriptor in (theirs.detach(), write_out, write_err):
            os.close(descriptor)
        return WarmProcess(told, os.fdopen(out), os.fdopen(err))

    def run(self, *words: str, **options: object) -> subprocess.CompletedProcess[str]:
        """Start, and wait for the end."""
        process = self.start(*words, **options)  # type: ignore[arg-type]
        out, err = process.communicate(timeout=900)
        return subprocess.CompletedProcess(words, process.returncode, out, err)


class WarmProcess:
    """As much of ``subprocess.Popen`` as tests want of a process."""

    def __init__(self, told: socket.socket, stdout: IO[str], stderr: IO[str]) -> None:
        self._told, self.stdout, self.stderr = told.makefile("r"), stdout, stderr
        told.close()
        self.pid = int(self._told.readline())
        self.returncode: int | None = None

    def wait(self) -> int:
        if self.returncode is None:
            self.returncode = int(self._told.readline())
            self._told.close()  # until now its number was its own
        return self.returncode

    def send_signal(self, number: int) -> None:
        if self.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def communicate(self, timeout: float) -> tuple[str, str]:
        """What is left of both streams, and the end; whoever takes longer is killed, as the return code says."""
        late = threading.Timer(timeout, self.kill)
        late.start()
        try:
            with ThreadPoolExecutor() as readers, self.stdout, self.stderr:
                out, err = readers.map(lambda stream: stream.read(), (self.stdout, self.stderr))
            self.wait()
        finally:
            late.cancel()
        return out, err


def serve(sock: socket.socket, parent: int) -> dict[str, object]:
    """Fork as often as it is asked for; returns in what is forked, with what that is to be."""
    from fgbench.workers.forking import die_with

    die_with(parent)
    told = dict(os.environ)
    for name in LOADED:
        importlib.import_module(name)
    os.environ.clear()
    os.environ.update(told)  # torch sets variables of its own
    from fgbench.plugins.kinds import KINDS

    for kind in KINDS:
        vars(kind.registry).pop("_installed", None)  # what is forked has another path
    gc.freeze()  # else a collection of what is forked copies it all
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    while True:
        message, descriptors, *_ = socket.recv_fds(sock, LONGEST, 3)
        if not message:
            os._exit(0)
        mine = os.getpid()
        if os.fork() == 0:
            sock.close()
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            die_with(mine)
            attend(*descriptors)
            return json.loads(message)
        for descriptor in descriptors:
            os.close(descriptor)


def attend(answer: int, stdout: int, stderr: int) -> None:
    """Fork once more; returns in the child, whose end the parent waits for and tells."""
    from fgbench.workers.forking import die_with

    mine = os.getpid()
    child = os.fork()
    if child == 0:
        die_with(mine)
        os.dup2(stdout, 1)
        os.dup2(stderr, 2)
    for descriptor in (stdout, stderr):
        os.close(descriptor)
    if child == 0:
        os.close(answer)
        return
    with socket.socket(fileno=answer) as told:
        told.send(f"{child}\n".encode())
        ended = os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
        assert ended is not None
        told.send(f"{ended.si_status if ended.si_code == os.CLD_EXITED else -ended.si_status}\n".encode())
        told.recv(1)  # whoever waits for it has heard of its end
    os._exit(0)


def become(module: str, words: list[str], cwd: str, env: dict[str, str]) -> None:
    """What ``python -m`` does with what is given to it."""
    os.environ.clear()
    os.environ.update(env)
    os.chdir(cwd)
    sys.path[:1] = [cwd, *filter(None, env.get("PYTHONPATH", "").split(os.pathsep))]
    sys.argv = [module, *words]
    sys.stdout = sys.__stdout__ = open(1, "w", closefd=False)  # noqa: SIM115  # the parent's know what its were
    sys.stderr = sys.__stderr__ = open(2, "w", buffering=1, errors="backslashreplace", closefd=False)  # noqa: SIM115
    code: object = 0
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    except SystemExit as end:
        code = end.code or 0
    except BaseException:
        sys.excepthook(*sys.exc_info())
        code = 1
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(ValueError):  # a plug-in closed it
            stream.flush()
    assert isinstance(code, int), code
    os._exit(code)  # to take everything apart that was loaded would take a second more


if __name__ == "__main__":
    become(**serve(socket.socket(fileno=int(sys.argv[1])), int(sys.argv[2])))  # type: ignore[arg-type]
