"""A worker that answers one request, and ends."""

from __future__ import annotations

import contextlib
import os
import resource
from collections.abc import Callable, Mapping
from typing import Any

from fgbench.workers.channel import Channel, ChannelClosed, Message
from fgbench_selectors.interrupts import interrupts_noted
from fgbench_selectors.plugins import describe

FILE_BYTES = 256 * 2**20  # of what foreign code prints, and of any file that it writes


def bound_files() -> None:
    """Have this process write no large file: what it prints goes to one, too."""
    _, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (FILE_BYTES if most < 0 else min(FILE_BYTES, most), most))


def serve_one(sock: Any, requests: Mapping[str, Callable[..., Message]]) -> None:
    """The life of a worker that runs foreign code. Only this process answers, never a copy that such code forks."""
    here, channel = os.getpid(), Channel(sock)
    bound_files()
    answer: Message
    with contextlib.suppress(ChannelClosed):
        request = channel.receive()
        try:
            with interrupts_noted():
                answer = {"done": requests[request.pop("do")](**request)}
        except BaseException as error:
            answer = {"failed": "error", "reason": describe(error)}
        if os.getpid() == here:
            channel.send(answer)
    os._exit(0)
