"""Workers for tests of the pool: one function per request, each with the fault in its name."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from fgbench.workers.messages import Messages


def serve(messages: Messages) -> None:
    while True:
        request = messages.receive()
        globals()[request.pop("do")](messages, **request)


def working_folder() -> str | None:
    """None where it was removed, which ``/proc/self/cwd`` does not say."""
    try:
        return os.getcwd()  # noqa: PTH109
    except FileNotFoundError:
        return None


def describes_itself(messages: Messages) -> None:
    usual = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: signal.SIG_DFL, signal.SIGCHLD: signal.SIG_DFL}
    folder = Path("/proc/self/fd")
    facts = {
        "folder": working_folder(),
        "path": sys.path,
        "session": os.getsid(0),
        "parent": os.getppid(),
        "oom_score_adj": int(Path("/proc/self/oom_score_adj").read_text()),
        "descriptors": sorted(int(path.name) for path in folder.iterdir() if path.exists()),  # one lists the others
        "messages": messages._sock.fileno(),
        "handlers_are_usual": all(signal.getsignal(number) == handler for number, handler in usual.items()),
        "blocked": len(signal.pthread_sigmask(signal.SIG_BLOCK, ())),
        "stdin": str(folder.joinpath("0").readlink()),
    }
    messages.send({"done": facts})


def answers(messages: Messages, answer: object) -> None:
    messages._sock.sendall(str(answer).encode())


def counts(messages: Messages, up_to: int) -> None:
    for number in range(up_to):
        messages.send({"now": {"number": number}})
    messages.send({"done": {}})


def exits(messages: Messages, code: int) -> None:
    os.write(2, b"no more paper\n")
    os._exit(code)


def segfaults(messages: Messages) -> None:
    ctypes.string_at(0)


def sleeps(messages: Messages) -> None:
    time.sleep(3600)


def closes_its_connection(messages: Messages) -> None:
    messages.close()
    time.sleep(3600)


def starts_a_program(messages: Messages) -> None:
    child = subprocess.Popen(["sleep", "3600"])
    messages.send({"done": {"pid": child.pid}})


def leaves_a_copy_with_half_a_message(messages: Messages) -> None:
    """The copy has a session of its own and holds the connection open; this process dies."""
    child = os.fork()
    if child == 0:
        os.setsid()
        time.sleep(3600)
    os.write(2, f"{child}\n".encode())
    answers(messages, '{"half": ')
    os._exit(4)


def passes_its_connection_on(messages: Messages) -> None:
    """Whether a program that the worker starts has the connection as well."""
    number = messages._sock.fileno()
    script = "import os, sys; sys.exit(os.path.exists(f'/proc/self/fd/{sys.argv[1]}'))"
    passed_on = subprocess.run([sys.executable, "-c", script, str(number)], close_fds=False, check=False)
    messages.send({"done": {"passed_on": bool(passed_on.returncode)}})
