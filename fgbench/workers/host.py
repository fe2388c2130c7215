"""A process that has all modules loaded and only forks: every worker is fresh, and starts at once.

It never touches a GPU, runs no operator and loads no plug-in, so that a worker finds everything as after an import.
"""

from __future__ import annotations

import contextlib
import faulthandler
import importlib
import os
import signal
import socket
from collections.abc import Sequence

from fgbench.workers.channel import Channel
from fgbench.workers.lifeline import be_killed_first, die_with

FORK = b"f"
SWEEPS = "fgbench.sweep.worker"  # what workers do where nobody says otherwise


def main(descriptor: int, parent: int, serving: str = SWEEPS, loading: Sequence[str] = ()) -> None:
    """Fork a worker whenever a pair of descriptors is sent: its channel, its log.

    ``serving`` is the module whose ``serve(sock)`` is a worker's life, ``loading`` others that it will want.
    """
    die_with(parent)
    sock = socket.socket(fileno=descriptor)
    channel = Channel(sock)

    worker = importlib.import_module(serving)
    for module in loading:  # torch takes seconds, once
        importlib.import_module(module)
    channel.send({"ready": os.getpid()})
    while True:
        message, descriptors, *_ = socket.recv_fds(sock, 1, 2)
        if message != FORK or len(descriptors) != 2:
            return
        mine = os.getpid()
        child = os.fork()
        if child == 0:
            sock.close()
            _become_worker(mine, *descriptors)
            worker.serve(socket.socket(fileno=descriptors[0]))
        for number in descriptors:
            os.close(number)
        channel.send({"worker": child})
        os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)  # it is dead, and its number is still its own
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(child, signal.SIGKILL)  # and so is everything that it started
        _, status = os.waitpid(child, 0)
        channel.send({"ended": os.waitstatus_to_exitcode(status)})


def _become_worker(parent: int, channel: int, log: int) -> None:
    """What it prints goes to its log; it can be killed with all its children, and does not outlive its host."""
    os.setsid()
    die_with(parent)
    be_killed_first()
    os.set_inheritable(channel, False)  # what it starts must not keep the line open when it is dead itself
    nothing = os.open(os.devnull, os.O_RDONLY)
    for number, stream in ((nothing, 0), (log, 1), (log, 2)):
        os.dup2(number, stream)
    for number in (nothing, log):
        os.close(number)
    faulthandler.enable()
