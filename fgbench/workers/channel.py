"""Messages between processes: a JSON object per line on a socket of their own, which nobody prints on by accident."""

from __future__ import annotations

import json
import socket
import time
from typing import Any

from fgbench.results.reading import parse_json

Message = dict[str, Any]
LONGEST = 64 * 2**20  # bytes; no message of ours comes near it


class ChannelClosed(Exception):  # noqa: N818  # it is an end, not always an error
    """The other side is gone."""


class Garbage(Exception):  # noqa: N818  # named for what came
    """Something came that is no message."""


class Channel:
    """One end of a conversation."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self._pending = b""

    @property
    def pending(self) -> bool:
        """Whether a message is here already, so that the socket itself may stay silent."""
        return b"\n" in self._pending

    def send(self, message: Message) -> None:
        """Send a message. Raises :class:`ChannelClosed` where nobody listens, ValueError for NaN and infinity."""
        try:
            self.sock.settimeout(None)
            self.sock.sendall(json.dumps(message, allow_nan=False).encode() + b"\n")
        except OSError as error:
            raise ChannelClosed from error

    def receive(self, timeout_s: float | None = None) -> Message:
        """The next message.

        Raises :class:`TimeoutError` where none comes in time, :class:`ChannelClosed` where none will ever come, and
        :class:`Garbage` for anything that is no JSON object.
        """
        until = None if timeout_s is None else time.monotonic() + timeout_s
        while b"\n" not in self._pending:
            left = None if until is None else until - time.monotonic()
            if left is not None and left <= 0:
                raise TimeoutError
            try:
                self.sock.settimeout(left)
                more = self.sock.recv(65536)
            except TimeoutError:
                raise
            except OSError as error:
                raise ChannelClosed from error
            if not more:
                raise ChannelClosed
            self._pending += more
            if len(self._pending) > LONGEST:
                raise Garbage(f"{len(self._pending)} bytes without an end")
        line, _, self._pending = self._pending.partition(b"\n")
        try:
            message = parse_json(line)
        except ValueError as error:
            raise Garbage(repr(line[:80])) from error
        if not isinstance(message, dict):
            raise Garbage(repr(line[:80]))
        return message

    def close(self) -> None:
        """Close this end; the other one sees it."""
        self.sock.close()
